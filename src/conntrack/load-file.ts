// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-R`: the command lines of a file, such as `-o save` writes. All are read before the first is done. */
import { readFile } from 'node:fs/promises';
import { ConntrackUsageError } from './failure.js';
import { type ParseOptions, parse } from './parse.js';
import type { Request } from './request.js';
import type { Session } from './session.js';

const ALLOWED = 'IADUF';

/** The words of a line, with blanks between them; quotes hold blanks together. A # is a word like others. */
export function wordsOf(line: string): string[] {
  return (line.match(/(?:"[^"]*"|[^\s"])+/g) ?? []).map((word) => word.replaceAll('"', ''));
}

/**
 * The requests of a file, `-` for standard input. Lines without a command stand for nothing.
 * @throws ConntrackUsageError if it can not be read, or for the first line that is wrong
 */
export async function readRequests(
  file: string,
  session: Session,
  options: ParseOptions,
): Promise<Request[]> {
  const content = file === '-' ? await session.readInput() : await read(file);
  const requests: Request[] = [];
  for (const line of content.split('\n')) {
    const words = wordsOf(line);
    if (words.length === 0) continue;
    const request = parse(words, options);
    if (request.command === undefined) continue;
    if (!ALLOWED.includes(request.command)) {
      throw new ConntrackUsageError(`Cannot use command \`-${request.command}' with --load-file`);
    }
    requests.push(request);
  }
  return requests;
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new ConntrackUsageError(`Failed to open file ${file} for reading`, { cause: error });
  }
}
