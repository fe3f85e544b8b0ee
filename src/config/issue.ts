// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What is wrong in a configuration file, and where. */
import { ConfigError } from '../errors.js';

/** Keys and indexes from the top of the file. */
export type Path = readonly (string | number)[];

export interface Issue {
  /** Character in the file, from 0. */
  readonly offset: number;
  readonly path: Path;
  readonly message: string;
}

/** `interfaces[0].name`. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text;
}

/** One error for all issues: it tells the first of the file, and how many there are behind it. */
export function configError(
  file: string,
  issues: readonly Issue[],
  position: (offset: number) => { line: number; col: number },
): ConfigError {
  const [first] = [...issues].sort((a, b) => a.offset - b.offset);
  if (!first) throw new TypeError('no issue to tell');
  const { line, col } = position(first.offset);
  const key = first.path.length === 0 ? '' : `${pathText(first.path)}: `;
  const rest = issues.length - 1;
  const more = rest === 0 ? '' : ` (and ${rest} more ${rest === 1 ? 'error' : 'errors'})`;
  return new ConfigError(`${file}:${line}:${col}: ${key}${first.message}${more}`);
}
