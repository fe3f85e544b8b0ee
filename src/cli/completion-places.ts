// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What can stand at every place of a command line, for both shells' scripts. */
import { FILTER_STATES } from '../flow.js';
import { PROTOCOL_NAMES } from '../protocol.js';
import {
  type ArgumentSpec,
  type CommandSpec,
  type GroupSpec,
  isGroup,
  type OptionSpec,
  type ValueKind,
} from './command.js';
import { FILTER_OPTIONS, GLOBAL_OPTIONS, OUTPUT_OPTION, outputOption } from './options.js';

export interface Word {
  readonly word: string;
  readonly meaning: string;
}

/** Where a value comes from: fixed words, or something on the machine. */
export interface Values {
  readonly words: readonly string[];
  readonly kind: ValueKind;
}

export interface ValueOption extends Values {
  /** `-o` and `--output`. */
  readonly names: readonly string[];
}

export interface Place {
  /** Words that lead here: `bpf ct`. */
  readonly path: string;
  readonly commands: readonly Word[];
  readonly options: readonly Word[];
  /** Of the options, those that a value follows as a word of its own. */
  readonly valueOptions: readonly ValueOption[];
  /** What an argument may be; the last argument's values serve for the ones behind it. */
  readonly argument: Values;
}

const NOTHING: Values = { words: [], kind: 'none' };
const HELP: OptionSpec = { flags: '-h, --help', description: 'show help' };
const VERSION: OptionSpec = { flags: '-V, --version', description: 'show the version' };

/** Every place of the program, the program itself first. */
export function completionPlaces(root: GroupSpec): Place[] {
  return [...places(root, [])];
}

function* places(spec: GroupSpec | CommandSpec, path: readonly string[]): Iterable<Place> {
  const options = optionsOf(spec, path.length === 0);
  yield {
    path: path.join(' '),
    commands: isGroup(spec)
      ? spec.commands.map(({ name, summary }) => ({ word: name, meaning: summary }))
      : [],
    options: options.flatMap(({ flags, description, bare, choices = [] }) => {
      const words = flagNames(flags).map((word) => ({ word, meaning: description }));
      const long = words.at(-1)!.word;
      const forms = bare === undefined ? [] : choices.map((value) => `${long}=${value}`);
      return [...words, ...forms.map((word) => ({ word, meaning: description }))];
    }),
    valueOptions: options
      .filter(({ flags }) => flags.includes('<'))
      .map((option) => ({ names: flagNames(option.flags), ...valuesOf(option) })),
    argument: isGroup(spec) ? NOTHING : valuesOf(spec.arguments?.at(-1)),
  };
  if (isGroup(spec)) for (const child of spec.commands) yield* places(child, [...path, child.name]);
}

function optionsOf(spec: GroupSpec | CommandSpec, isRoot: boolean): readonly OptionSpec[] {
  const common = [...GLOBAL_OPTIONS, HELP];
  if (isGroup(spec)) return isRoot ? [OUTPUT_OPTION, ...common, VERSION] : common;
  return [
    ...(spec.options ?? []),
    ...(spec.hasFilter ? FILTER_OPTIONS : []),
    ...(spec.hasOutput ? [outputOption(spec)] : []),
    ...common,
  ];
}

function flagNames(flags: string): string[] {
  return flags.match(/(?<![\w-])--?[A-Za-z][A-Za-z-]*/g) ?? [];
}

function valuesOf(spec: OptionSpec | ArgumentSpec | undefined): Values {
  if (!spec) return NOTHING;
  if (spec.choices) return { words: spec.choices, kind: 'none' };
  if (spec.kind === 'protocol') return { words: PROTOCOL_NAMES, kind: 'none' };
  if (spec.kind === 'state') return { words: FILTER_STATES, kind: 'none' };
  return { words: [], kind: spec.kind ?? 'none' };
}
