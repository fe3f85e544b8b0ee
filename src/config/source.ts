// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Reads a configuration file's text, and nothing that could be none. */
import { open } from 'node:fs/promises';
import { ConfigError } from '../errors.js';

/** The rules and prefixes that the schema allows need less than this. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/**
 * The text of a file, which may also be a pipe.
 * @throws ConfigError if it can't be read, is larger than MAX_CONFIG_BYTES, or is no UTF-8 text
 */
export async function readSource(file: string): Promise<string> {
  const bytes = await readBounded(file);
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw new ConfigError(
      `${file}: larger than ${MAX_CONFIG_BYTES} bytes: this is no configuration of ctnat`,
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ConfigError(`${file}: not UTF-8 text; save it as UTF-8`, { cause: error });
  }
  const control = /[^\t\n\r\P{Cc}]/u.exec(text);
  if (control) {
    const before = text.slice(0, control.index).split('\n');
    const code = control[0].charCodeAt(0).toString(16).padStart(2, '0');
    const place = `${before.length}:${before.at(-1)!.length + 1}`;
    throw new ConfigError(`${file}:${place}: control character 0x${code}; a configuration is plain text`);
  }
  return text;
}

async function readBounded(file: string): Promise<Buffer> {
  try {
    await using handle = await open(file, 'r');
    const buffer = Buffer.alloc(MAX_CONFIG_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } catch (error) {
    throw new ConfigError(`can not read ${file}: ${reason(error)}`, { cause: error });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is no folder',
};

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const text = code === undefined ? undefined : REASONS[code];
  return text === undefined ? message : `${text} (${code})`;
}
