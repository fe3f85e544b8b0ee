// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What conntrack(8) says on stderr: whoever parses it finds here what it looks for. */

/** The release of conntrack-tools whose words, options and statuses are followed. */
export const FOLLOWED_VERSION = '1.4.7';

/** What `conntrack -V` prints, and every line on stderr begins with. */
export const BANNER = `conntrack v${FOLLOWED_VERSION} (conntrack-tools)`;

/** A line as it stands on stderr. */
export function told(text: string): string {
  return `${BANNER}: ${text}\n`;
}

/** The command line is wrong: exit status 2, and where help is to be found. */
export class ConntrackUsageError extends Error {
  override readonly name = 'ConntrackUsageError';
  readonly status = 2;

  get lines(): string {
    return `${told(this.message)}Try \`conntrack -h' or 'conntrack --help' for more information.\n`;
  }
}

/** The command could not be done: exit status 1. */
export class ConntrackError extends Error {
  override readonly name: string = 'ConntrackError';
  readonly status = 1;

  get lines(): string {
    return told(this.message);
  }
}

/** The table refused; `reason` as strerror(3) or conntrack(8) words it. */
export class OperationError extends ConntrackError {
  override readonly name = 'OperationError';

  constructor(reason: string, options?: ErrorOptions) {
    super(`Operation failed: ${reason}`, options);
  }
}
