// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Takes a command line apart as getopt_long(3) does: short options in one word, values in the same word or the
 * next one, long options by any unambiguous beginning, `--` before plain words. Options and plain words may be
 * mixed. conntrack's own rule is added: an optional value, and the table's name behind a command, may be the next
 * word unless that begins with a dash.
 */
import { ConntrackUsageError } from './failure.js';
import type { ArgumentKind } from './option-table.js';

/** What getopt needs to know of an option. */
export interface Switch {
  /** Equal for all spellings of one option. */
  readonly key: string;
  readonly short?: string;
  readonly long: readonly string[];
  readonly argument: ArgumentKind;
  /** Only the whole name will do: it is none of conntrack(8)'s and takes no beginning away from those. */
  readonly isExact?: boolean;
}

export interface Found<S extends Switch> {
  readonly option: S;
  readonly value: string | undefined;
}

/**
 * The options in their order. What stands between them is passed over.
 * @throws ConntrackUsageError for an unknown option, or one whose value is missing
 */
export function* getopt<S extends Switch>(
  words: readonly string[],
  options: readonly S[],
): Generator<Found<S>, void, undefined> {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--') return;
    if (!word.startsWith('-') || word === '-') continue;
    const found = word.startsWith('--') ? [longOption(word, options)] : shortOptions(word, options);
    for (const { option, value } of found) {
      if ((value !== undefined && option.argument !== 'table') || option.argument === 'none') {
        yield { option, value };
        continue;
      }
      const next = words[i + 1];
      if (option.argument !== 'required') {
        const follows = next !== undefined && !next.startsWith('-');
        yield { option, value: follows ? words[++i]! : undefined };
        continue;
      }
      if (next === undefined) throw new ConntrackUsageError(`option \`${word}' requires an argument`);
      yield { option, value: words[++i]! };
    }
  }
}

function longOption<S extends Switch>(word: string, options: readonly S[]): Found<S> {
  const equals = word.indexOf('=');
  const name = word.slice(2, equals < 0 ? undefined : equals);
  const value = equals < 0 ? undefined : word.slice(equals + 1);
  const option = byName(name, options);
  if (!option || (value !== undefined && option.argument === 'none')) throw unknown(word);
  return { option, value };
}

/** The option of that name, or of the only names that begin so. */
function byName<S extends Switch>(name: string, options: readonly S[]): S | undefined {
  const exact = options.find(({ long }) => long.includes(name));
  if (exact) return exact;
  const begun = options.filter(({ long, isExact }) => !isExact && long.some((each) => each.startsWith(name)));
  return begun.every(({ key }) => key === begun[0]?.key) ? begun[0] : undefined;
}

function* shortOptions<S extends Switch>(word: string, options: readonly S[]): Generator<Found<S>> {
  for (let at = 1; at < word.length; at++) {
    const option = options.find(({ short }) => short === word[at]);
    if (!option) throw unknown(word);
    const rest = word.slice(at + 1);
    if (option.argument === 'none' || rest === '') {
      yield { option, value: undefined };
      continue;
    }
    yield { option, value: rest };
    return;
  }
}

function unknown(word: string): ConntrackUsageError {
  return new ConntrackUsageError(`unknown option \`${word}'`);
}
