// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Reads arguments; what is wrong with them is wrong usage. */
import { UsageError } from '../errors.js';
import { checkInterfaceName } from '../interface-config.js';

/** What `read` returns; what it throws becomes a usage error that names the option. */
export function optionValue<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError(`${option}: ${(error as Error).message}`, { cause: error });
  }
}

/** Interface names, each once. */
export function interfaceNames(names: readonly string[]): string[] {
  return [...new Set(names)].map((name) => {
    try {
      return checkInterfaceName(name);
    } catch (error) {
      throw new UsageError((error as Error).message, { cause: error });
    }
  });
}

/** `1 flow`, `2 flows`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
