// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the command table is made of. Help, completion and parsing are all derived from it. */
import type { Filter } from '../filter.js';
import type { GlobalOptions, Product } from '../product.js';
import type { Host } from './host.js';
import type { Output } from './output.js';

/** What a value may be, for the shell's completion. */
export type ValueKind = 'interface' | 'netns' | 'file' | 'folder' | 'protocol' | 'state' | 'none';

export interface OptionSpec {
  /** In commander's form: `-s, --src <cidr>`. */
  readonly flags: string;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly isRequired?: boolean;
  /** The value that the option has when it is given without one. */
  readonly bare?: string;
  readonly kind?: ValueKind;
}

export interface ArgumentSpec {
  /** In commander's form: `<iface...>`, `[scope]`. */
  readonly name: string;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly kind?: ValueKind;
}

/** A command line and what it is good for. */
export type Example = readonly [line: string, meaning: string];

interface Named {
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
}

/** A word that only leads to other commands. */
export interface GroupSpec extends Named {
  readonly commands: readonly (GroupSpec | CommandSpec)[];
}

export interface CommandSpec extends Named {
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  /** The command takes the filter's options. */
  readonly hasFilter?: boolean;
  /** The command prints state, in the form that -o says. */
  readonly hasOutput?: boolean;
  /** Forms that -o takes beside text, json and jsonl. */
  readonly moreFormats?: readonly string[];
  /** -o means something else here: only the long --output chooses the form. */
  readonly hasOwnO?: boolean;
  /** The command reads the words behind it by itself; its options here are only for the shell's completion. */
  readonly isRaw?: boolean;
  /** Paragraphs behind the options in the help. */
  readonly details?: string;
  readonly examples: readonly Example[];
  /** Loads the function that does it. */
  readonly load: () => Promise<CommandFunction>;
}

/** Exit statuses: done, could not be done, wrong usage. */
export type ExitStatus = 0 | 1 | 2;

export type OutputFormat = 'text' | 'json' | 'jsonl';

/** Values of options as commander names them: `--reply-src` is replySrc. */
export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

/** What a command works with. */
export interface Context {
  readonly host: Host;
  readonly arguments: readonly string[];
  readonly options: OptionValues;
  readonly filter: Filter;
  readonly format: OutputFormat;
  readonly out: Output;
  /** Opens the product on the first call; `options` come before those that stand before the command. */
  product(options?: Partial<GlobalOptions>): Promise<Product>;
  /** Tells something on stderr that is neither data nor an error. */
  note(text: string): void;
  /** Writes to stderr as it is. */
  tell(text: string): Promise<void>;
  /** Sets the exit status of a command that has told by itself why it is not 0. */
  exit(status: ExitStatus): void;
}

export type CommandFunction = (context: Context) => Promise<void>;

export function isGroup(spec: GroupSpec | CommandSpec): spec is GroupSpec {
  return 'commands' in spec;
}
