// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { TimeoutPreset } from '../defaults.js';
import { UsageError } from '../errors.js';
import { parseTimeouts, timeoutLabel } from '../timeout-change.js';
import { TIMEOUT_NAMES, type Timeouts, timeoutsJson } from '../timeouts.js';
import type { CommandFunction, Context } from './command.js';
import { printObject } from './print.js';
import { tableText } from './table.js';

/** `ctnat timeouts list`. */
export const timeoutsList: CommandFunction = async (context) => {
  const product = await context.product();
  await printTimeouts(context, await product.timeouts());
};

/** `ctnat timeouts set`: prints what holds from now on. */
export const timeoutsSet: CommandFunction = async (context) => {
  const preset = context.options.preset as TimeoutPreset | undefined;
  const timeouts = readTimeouts(context.arguments);
  if (preset === undefined && Object.keys(timeouts).length === 0) {
    throw new UsageError('which timeout? give a name and a duration such as tcp.established 1h, or --preset');
  }
  const product = await context.product();
  await printTimeouts(context, await product.setTimeouts({ ...(preset && { preset }), timeouts }));
};

function readTimeouts(words: readonly string[]): Partial<Timeouts> {
  try {
    return parseTimeouts(words);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

async function printTimeouts(context: Context, timeouts: Timeouts): Promise<void> {
  const rows = TIMEOUT_NAMES.map((name) => [timeoutLabel(name), `${timeouts[name] / 1000}s`]);
  const colour = context.out.isTerminal;
  await printObject(context, timeoutsJson(timeouts), () =>
    tableText(['TIMEOUT', 'VALUE'], rows, { numbers: [1], colour }),
  );
}
