// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Reads a conntrack(8) command line. */

import { DCCP } from '../protocol.js';
import { checkDraft } from './check.js';
import { Draft } from './draft.js';
import { getopt, type Switch } from './getopt.js';
import { CONNLABEL_FILE } from './labels.js';
import { COMMANDS, type CommandLetter, OPTIONS, type OptionDefinition } from './option-table.js';
import { ALL_PROTOCOL_OPTIONS, protocolOptions, readProtocol } from './protocol-options.js';
import type { FlowOptions, MaskedAddress, Request } from './request.js';
import { readState } from './values.js';

interface CommandSwitch extends Switch {
  readonly command: CommandLetter;
}

/** The table's name may stand behind a command. */
const COMMAND_SWITCHES: readonly CommandSwitch[] = COMMANDS.map(({ letter, long }) => ({
  key: `command ${letter}`,
  command: letter,
  short: letter,
  long,
  argument: 'table',
}));

/** Those of ctnat that may stand behind `conntrack` too. */
const OWN_OPTIONS: readonly Switch[] = ['netns', 'pin-path'].map((key) => ({
  key,
  long: [key],
  argument: 'required',
  isExact: true,
}));

const MAIN: readonly Switch[] = [...COMMAND_SWITCHES, ...OPTIONS, ...OWN_OPTIONS];

export interface ParseOptions {
  /** Where label names are read. */
  readonly labelFile?: string;
  /** Gets each line that is to go to stderr whatever becomes of the command. */
  readonly warn?: (line: string) => void;
}

/**
 * Reads the words behind `conntrack`.
 * @throws ConntrackUsageError, ConntrackError
 */
export function parse(words: readonly string[], options: ParseOptions = {}): Request {
  const draft = new Draft(options.labelFile ?? CONNLABEL_FILE, options.warn ?? (() => {}));
  for (const { option, value } of getopt(words, [...MAIN, ...optionsOfProtocols(words)])) {
    if ('command' in option) draft.takeCommand(option.command as CommandLetter, value);
    else draft.takeOption(option.key, value);
  }
  checkDraft(draft);
  const { command, table, given, outputs, events, own } = draft;
  return {
    command,
    table,
    flow: finishFlow(draft),
    outputs,
    events,
    zero: given.has('zero'),
    labelNames: draft.knownLabelNames,
    ...own,
  };
}

/** The options of the protocols that `-p` names, wherever it stands: conntrack(8) knows them only behind it. */
function optionsOfProtocols(words: readonly string[]): readonly OptionDefinition[] {
  const given = protocolsOf(words);
  try {
    if (given.length === 1) return protocolOptions(readProtocol(given[0]!));
    const options = given.flatMap((value) => protocolOptions(readProtocol(value)));
    return [...new Map(options.map((each) => [each.key, each])).values()];
  } catch {
    return []; // told when the words are read in earnest
  }
}

/** What `-p` names; the usual spelling is looked for first, which is enough for a file of a million lines. */
function protocolsOf(words: readonly string[]): string[] {
  const at = words.indexOf('-p');
  if (at >= 0 && at === words.lastIndexOf('-p') && words[at + 1] !== undefined) return [words[at + 1]!];
  const given: string[] = [];
  try {
    for (const { option, value } of getopt(words, [...MAIN, ...ALL_PROTOCOL_OPTIONS])) {
      if (option.key === 'protonum') given.push(value!);
    }
  } catch {
    // told when the words are read in earnest
  }
  return given;
}

function finishFlow({ flow, masks, stateText }: Draft): FlowOptions {
  const masked = (end: 'src' | 'dst'): MaskedAddress | undefined => {
    const given = flow[end];
    const mask = masks[end];
    return given && mask ? { address: given.address, mask } : given;
  };
  const src = masked('src');
  const dst = masked('dst');
  return {
    ...flow,
    ...(src && { src }),
    ...(dst && { dst }),
    ...stateOf(stateText, flow.proto),
  };
}

/** DCCP's states are read, so that a wrong one is told, and stand for nothing: no flow of it has any. */
function stateOf(text: string | undefined, proto: number | undefined): Pick<FlowOptions, 'state'> {
  if (text === undefined || proto === undefined) return {};
  const state = readState(text, proto);
  return proto === DCCP ? {} : { state };
}
