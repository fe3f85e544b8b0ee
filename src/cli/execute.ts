// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Runs one command line: parses, does it, and turns every outcome into an exit status. */
import { DEFAULT_PIN_PATH } from '../defaults.js';
import { CtnatError, errorLine, UsageError } from '../errors.js';
import type { Filter, FilterText } from '../filter.js';
import type { GlobalOptions, Product } from '../product.js';
import { version } from '../version.js';
import {
  type CommandSpec,
  type ExitStatus,
  type GroupSpec,
  isGroup,
  type OptionValues,
  type OutputFormat,
} from './command.js';
import { PROGRAM } from './commands.js';
import type { Host } from './host.js';
import { GLOBAL_OPTIONS, OUTPUT_OPTION } from './options.js';
import { Output, OutputClosed } from './output.js';
import { buildProgram, HelpShown } from './program.js';

/** Does what the arguments (without node and the script) ask for. Never throws. */
export async function execute(argv: readonly string[], host: Host): Promise<ExitStatus> {
  const out = new Output(host.stdout);
  const err = new Output(host.stderr);
  let help = '';
  let status: ExitStatus = 0;
  const { words, raw } = withoutRaw(argv);
  const program = buildProgram(
    PROGRAM,
    async (spec, args, options) => {
      status = await runCommand(spec, { args: spec.isRaw ? raw : args, options, host, out, err });
    },
    (text) => {
      help += text;
    },
  );
  program.version(version(), '-V, --version', 'show the version');
  try {
    if (argv.length === 0) {
      await tell(err, program.helpInformation());
      return 2;
    }
    try {
      await program.parseAsync(withBareValues(words), { from: 'user' });
    } catch (error) {
      if (!(error instanceof HelpShown)) throw error;
    }
    await out.write(help);
    return status;
  } catch (error) {
    return await tellError(error, err, host);
  }
}

/** A reader that has had enough is none of our failures. */
async function tellError(error: unknown, err: Output, { env }: Host): Promise<ExitStatus> {
  if (error instanceof OutputClosed) return 0;
  const isOurs = error instanceof CtnatError || (error as { code?: unknown }).code !== undefined;
  const kind = isOurs || !(error instanceof Error) ? '' : `internal error: ${error.name}: `;
  await tell(err, `ctnat: ${kind}${errorLine(error)}\n`);
  if (env.CTNAT_DEBUG && error instanceof Error) await tell(err, `${error.stack}\n`);
  return error instanceof CtnatError ? error.status : 1;
}

/** Where stderr is gone too, nobody can be told. */
function tell(err: Output, text: string): Promise<void> {
  return err.write(text).catch(() => {});
}

interface Call {
  readonly args: readonly string[];
  readonly options: OptionValues;
  readonly host: Host;
  readonly out: Output;
  readonly err: Output;
}

async function runCommand(spec: CommandSpec, { args, options, host, out, err }: Call): Promise<ExitStatus> {
  const filter = spec.hasFilter ? await readFilter(options) : {};
  const globals = globalOptions(options, host);
  if (options.output !== undefined && options.output !== 'text' && !spec.hasOutput) {
    throw new UsageError(`${spec.name} prints no state: it has no --output`);
  }
  const command = await spec.load();
  let product: Promise<Product> | undefined;
  const notes: Promise<void>[] = [];
  let status: ExitStatus = 0;
  try {
    await command({
      host,
      arguments: args,
      options,
      filter,
      format: (options.output as OutputFormat | undefined) ?? 'text',
      out,
      product: (more) => {
        product ??= host.openProduct({ ...globals, ...more });
        return product;
      },
      note: (text) => notes.push(tell(err, `ctnat: ${text}\n`)),
      tell: (text) => tell(err, text),
      exit: (given) => {
        status = given;
      },
    });
    return status;
  } finally {
    await Promise.all(notes);
    await product?.then(
      (opened) => opened.close(),
      () => {},
    );
  }
}

/** The parser of addresses is loaded only by those commands that need it. */
async function readFilter(options: OptionValues): Promise<Filter> {
  const { parseFilter } = await import('../filter.js');
  return parseFilter(options as FilterText);
}

function globalOptions(options: OptionValues, { env }: Host): GlobalOptions {
  const given = options.pinPath as string | undefined;
  const pinPath = given ?? (env.CTNAT_PIN_PATH || DEFAULT_PIN_PATH);
  if (!pinPath.startsWith('/')) {
    const source = given === undefined ? 'CTNAT_PIN_PATH' : '--pin-path';
    throw new UsageError(`${source}: expected an absolute path, got "${pinPath}"`);
  }
  const netns = options.netns as string | undefined;
  if (netns === '') throw new UsageError('--netns: expected a name or a path');
  return { pinPath, ...(netns !== undefined && { netns }) };
}

/** Options before a command whose value is a word of its own. */
const VALUE_OPTIONS = new Set(
  [OUTPUT_OPTION, ...GLOBAL_OPTIONS].flatMap(
    ({ flags }) => flags.match(/(?<![\w-])--?[A-Za-z][A-Za-z-]*/g) ?? [],
  ),
);

/** Takes away what stands behind a command that reads it by itself. */
function withoutRaw(argv: readonly string[]): { words: readonly string[]; raw: readonly string[] } {
  let at = 0;
  while (argv[at]?.startsWith('-')) at += VALUE_OPTIONS.has(argv[at]!) ? 2 : 1;
  const command = PROGRAM.commands.find(({ name }) => name === argv[at]);
  if (!command || isGroup(command) || !command.isRaw) return { words: argv, raw: [] };
  return { words: argv.slice(0, at + 1), raw: argv.slice(at + 1) };
}

/**
 * Gives options whose value may be left out that value, so that the word behind them stays an argument:
 * in `attach --masquerade eth0`, eth0 is the interface.
 */
function withBareValues(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, i) => {
    if (end >= 0 && i > end) return word;
    const option = BARE_OPTIONS.get(word);
    if (!option || option.choices.includes(argv[i + 1] ?? '')) return word;
    return `${word}=${option.bare}`;
  });
}

const BARE_OPTIONS = new Map(
  [...commandSpecs(PROGRAM)]
    .flatMap((spec) => spec.options ?? [])
    .flatMap(({ flags, bare, choices = [] }) =>
      bare === undefined ? [] : [[/--[a-z-]+/.exec(flags)![0], { bare, choices }] as const],
    ),
);

/** Every command of a group, at any depth. */
function* commandSpecs(group: GroupSpec): Iterable<CommandSpec> {
  for (const child of group.commands) {
    if (isGroup(child)) yield* commandSpecs(child);
    else yield child;
  }
}
