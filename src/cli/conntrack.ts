// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { text } from 'node:stream/consumers';
import { runConntrack } from '../conntrack/run.js';
import type { CommandFunction } from './command.js';

/** `ctnat conntrack`. */
export const conntrack: CommandFunction = async (context) => {
  const { arguments: words, format, host, out } = context;
  const status = await runConntrack(format === 'text' ? words : [...words, '-o', format], {
    product: (options) => context.product(options),
    write: (chunk) => out.write(chunk),
    tell: (line) => context.tell(line),
    signals: host.signals,
    readInput: () => text(host.stdin),
  });
  context.exit(status);
};
