// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Errors that a user is meant to read: one line that says what could not be done, to what, why, and what to do. */

/** A command could not be done. `status` is the exit status that the command line gives for it. */
export class CtnatError extends Error {
  override readonly name: string = 'CtnatError';
  /** Exit status: 1, it could not be done; 2, wrong usage. */
  readonly status: 1 | 2 = 1;
}

/** The command line itself is wrong: exit status 2. */
export class UsageError extends CtnatError {
  override readonly name = 'UsageError';
  override readonly status = 2;
}

/** A configuration file cannot be used. The message begins with file:line:column where a place is known. */
export class ConfigError extends CtnatError {
  override readonly name = 'ConfigError';
}

/** What to print for any thrown value, on one line and without control characters. */
export function errorLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  const line = text.replace(/\s*[\r\n]+\s*/g, ' ');
  return printable(line).trim();
}

/** Replaces control characters, so that no file or name can drive the terminal through a message. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** A value as it may stand in a message: quoted, printable and not longer than a line. */
export function quoted(value: string): string {
  const short = value.length > 60 ? `${value.slice(0, 57)}...` : value;
  return `"${printable(short)}"`;
}
