// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What the server must know after a restart: since when its mappings are whole (the epoch), and which there are, with
 * their nonces. A file of JSON lines, one appended for each change before the client is answered, written anew when
 * most of it is past. It lives in /run and is of one boot, as the mappings are.
 */
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { CtnatError } from '../errors.js';
import { mappingJson, mappingKey, mappingOfJson, type PcpMapping } from './mapping.js';

/** Lines that may be past before the file is written anew, besides as many as it has mappings. */
const PAST_LINES = 1024;

export interface Remembered {
  /** Milliseconds of CLOCK_MONOTONIC at which the epoch began; undefined: nothing is remembered. */
  readonly epochMs: number | undefined;
  readonly mappings: readonly PcpMapping[];
}

interface Line {
  readonly boot?: string;
  readonly epochMs?: number;
  readonly put?: ReturnType<typeof mappingJson>;
  readonly delete?: string;
}

type ReadLine = Omit<Line, 'put'> & { readonly put?: PcpMapping };

export class Journal {
  readonly #path: string;
  readonly #boot: string;
  #lines = 0;
  /** A line may have been written in part. */
  #isTorn = false;

  constructor(path: string, boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()) {
    this.#path = path;
    this.#boot = boot;
  }

  /** What is remembered of this boot. A line that was cut off by a crash was never answered for. */
  read(): Remembered {
    const mappings = new Map<string, PcpMapping>();
    let epochMs: number | undefined;
    for (const line of this.#readLines()) {
      if (line.boot !== undefined && line.boot !== this.#boot) return { epochMs: undefined, mappings: [] };
      if (line.epochMs !== undefined) epochMs = line.epochMs;
      if (line.delete !== undefined) mappings.delete(line.delete);
      if (line.put) mappings.set(mappingKey(line.put.inside), line.put);
    }
    return { epochMs, mappings: [...mappings.values()] };
  }

  *#readLines(): Generator<ReadLine> {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw this.#failed('read', error);
    }
    for (const line of text.split('\n')) {
      const read = line === '' ? undefined : readLine(line);
      if (read) yield read;
    }
  }

  /** Writes the file anew. */
  write(epochMs: number, mappings: Iterable<PcpMapping>): void {
    const lines: Line[] = [{ boot: this.#boot, epochMs }];
    for (const mapping of mappings) lines.push({ put: mappingJson(mapping) });
    const beside = `${this.#path}.new`;
    try {
      writeFileSync(beside, lines.map(lineText).join(''), { mode: 0o600 });
      renameSync(beside, this.#path);
    } catch (error) {
      throw this.#failed('write', error);
    }
    this.#lines = lines.length;
  }

  put(mapping: PcpMapping): void {
    this.#append({ put: mappingJson(mapping) });
  }

  delete(key: string): void {
    this.#append({ delete: key });
  }

  /** Whether so much of the file is past that it is to be written anew. */
  isLong(mappings: number): boolean {
    return this.#lines > 2 * mappings + PAST_LINES;
  }

  #append(line: Line): void {
    try {
      appendFileSync(this.#path, `${this.#isTorn ? '\n' : ''}${lineText(line)}`);
    } catch (error) {
      this.#isTorn = true;
      throw this.#failed('write', error);
    }
    this.#isTorn = false;
    this.#lines++;
  }

  #failed(action: string, cause: unknown): CtnatError {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return new CtnatError(`can not ${action} ${this.#path}, where PCP's mappings are remembered: ${code}`, {
      cause,
    });
  }
}

/** undefined: it was cut off, or somebody else wrote it. */
function readLine(text: string): ReadLine | undefined {
  try {
    const { put, ...line } = JSON.parse(text) as Line;
    return put ? { ...line, put: mappingOfJson(put) } : line;
  } catch {
    return undefined;
  }
}

function lineText(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}
