// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Makes commander's program of the command table. */
import { Argument, Command, type CommanderError, Option } from 'commander';
import { UsageError } from '../errors.js';
import {
  type ArgumentSpec,
  type CommandSpec,
  type Example,
  type GroupSpec,
  isGroup,
  type OptionSpec,
} from './command.js';
import { FILTER_OPTIONS, GLOBAL_OPTIONS, OUTPUT_OPTION, outputOption } from './options.js';

/** Does what was parsed: the command, its arguments, and its options with those given before it. */
export type Runner = (
  spec: CommandSpec,
  args: readonly string[],
  options: Record<string, string | boolean | undefined>,
) => Promise<void>;

/** Help or a version was asked for and collected: there is nothing else to do. */
export class HelpShown extends Error {
  override readonly name = 'HelpShown';
}

/**
 * The program, which throws UsageError for what it does not understand, and HelpShown.
 * @param write gets the help's text
 */
export function buildProgram(root: GroupSpec, run: Runner, write: (text: string) => void): Command {
  const program = buildGroup(root, run, [OUTPUT_OPTION]);
  program
    .enablePositionalOptions()
    .configureOutput({ writeOut: write, writeErr: () => {}, outputError: () => {} })
    .addHelpText('after', '\nctnat COMMAND --help shows the options and examples of a command.');
  for (const command of allCommands(program)) {
    command.copyInheritedSettings(program);
    command.exitOverride((error) => leave(error, command));
  }
  return program;
}

function buildGroup(spec: GroupSpec, run: Runner, options: readonly OptionSpec[] = []): Command {
  const command = named(spec);
  addOptions(command, options);
  addOptions(command, GLOBAL_OPTIONS, 'Global options:');
  for (const child of spec.commands) {
    command.addCommand(isGroup(child) ? buildGroup(child, run) : buildCommand(child, run));
  }
  return command;
}

function buildCommand(spec: CommandSpec, run: Runner): Command {
  const command = named(spec);
  for (const argument of spec.arguments ?? []) command.addArgument(buildArgument(argument));
  if (!spec.isRaw) addOptions(command, spec.options ?? []);
  if (spec.hasFilter) addOptions(command, FILTER_OPTIONS, 'Filter:');
  if (spec.hasOutput) addOptions(command, [outputOption(spec)]);
  addOptions(command, GLOBAL_OPTIONS, 'Global options:');
  command.addHelpText('after', helpTail(spec));
  command.action(() => {
    const args = command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string');
    return run(spec, args, mergedOptions(command));
  });
  return command;
}

function named({ name, alias, summary }: GroupSpec | CommandSpec): Command {
  const command = new Command(name).description(summary).helpOption('-h, --help', 'show this help');
  return alias === undefined ? command : command.alias(alias);
}

function buildArgument({ name, description, choices }: ArgumentSpec): Argument {
  const argument = new Argument(name, description);
  return choices ? argument.choices(choices) : argument;
}

function addOptions(command: Command, options: readonly OptionSpec[], group?: string): void {
  for (const spec of options) {
    const option = new Option(spec.flags, spec.description);
    if (spec.choices) option.choices(spec.choices);
    if (spec.isRequired) option.makeOptionMandatory();
    if (group !== undefined) option.helpGroup(group);
    command.addOption(option);
  }
}

function* allCommands(command: Command): Iterable<Command> {
  yield command;
  for (const child of command.commands) yield* allCommands(child);
}

/** The command's options and those given before it, the nearest first. */
function mergedOptions(command: Command): Record<string, string | boolean | undefined> {
  return { ...(command.parent ? mergedOptions(command.parent) : {}), ...command.opts() };
}

/** The words that lead to a command: `ctnat bpf ct`. */
function commandPath(command: Command): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

/** Turns what commander would exit with into an error of ours. */
function leave(error: CommanderError, command: Command): never {
  if (error.exitCode === 0) throw new HelpShown();
  const path = commandPath(command);
  if (error.code === 'commander.help') {
    const names = command.commands.map((child) => child.name()).join(', ');
    throw new UsageError(`${path} needs a command: ${names}`);
  }
  const [first = '', ...rest] = error.message.split('\n');
  const message = [first.replace(/^error: /, '').replace(/\.$/, ''), ...rest].join(' ');
  throw new UsageError(`${message}; see ${path} --help`, { cause: error });
}

function helpTail({ details, examples }: CommandSpec): string {
  const lines = examples.map(exampleText).join('\n');
  return `${details === undefined ? '' : `\n${details}\n`}\nExamples:\n${lines}`;
}

function exampleText([line, meaning]: Example): string {
  return meaning === '' ? `  ${line}` : `  ${line}\n      ${meaning}`;
}
