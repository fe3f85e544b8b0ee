// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * A file that events are appended to, or standard output. What it is renamed to is still written until it is opened
 * anew: whoever rotates it renames it and sends the agent a SIGHUP.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { EventSink } from '../config/config.js';
import { CtnatError } from '../errors.js';
import { type EventEncoder, encodeAll, eventEncoder } from './encoder.js';
import type { CtEvent } from './event.js';

/** Readable for the group, as logs are. */
const MODE = 0o640;

export class FileSink {
  readonly types: EventSink['types'];
  readonly #name: string;
  readonly #encode: EventEncoder;
  /** Undefined: standard output. */
  readonly #file: FileHandle | undefined;

  private constructor(sink: EventSink, encode: EventEncoder, file: FileHandle | undefined) {
    this.types = sink.types;
    this.#name = sink.file;
    this.#encode = encode;
    this.#file = file;
  }

  /** Opens the file, and makes it if it is not there. @throws CtnatError naming it */
  static async open(sink: EventSink): Promise<FileSink> {
    const encode = await eventEncoder(sink.format);
    if (sink.file === 'stdout') return new FileSink(sink, encode, undefined);
    try {
      return new FileSink(sink, encode, await open(sink.file, 'a', MODE));
    } catch (error) {
      throw failure('open', sink.file, error);
    }
  }

  /** Appends those of the events that it is for; returns when the system has them. @throws CtnatError naming the file */
  async write(events: readonly CtEvent[]): Promise<void> {
    const own = events.filter(({ type }) => type === 'lost' || this.types.includes(type));
    if (own.length === 0) return;
    const bytes = encodeAll(own, this.#encode);
    try {
      if (this.#file) await this.#file.appendFile(bytes);
      else await writeStdout(bytes);
    } catch (error) {
      throw failure('write events to', this.#name, error);
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

function writeStdout(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

function failure(action: string, name: string, error: unknown): CtnatError {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const reason: Readonly<Record<string, string>> = {
    EACCES: 'permission denied (EACCES)',
    EISDIR: 'it is a folder (EISDIR); give a file',
    ENOENT: 'its folder is not there (ENOENT); make it first',
    ENOSPC: 'no space is left on the device (ENOSPC)',
    EROFS: 'the file system is read-only (EROFS)',
  };
  return new CtnatError(`can not ${action} ${name}: ${reason[code] ?? message}`, { cause: error });
}
