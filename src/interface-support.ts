// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What of the options for interfaces this version can do. */
import { CtnatError } from './errors.js';
import type { InterfaceConfig } from './interface-config.js';

/**
 * Refuses what would otherwise be silently something else.
 * @throws CtnatError naming interface and option
 */
export function checkSupported({ name, mapping }: InterfaceConfig): void {
  const eim = Object.entries(mapping).find(([, each]) => each === 'eim');
  if (eim) {
    throw new CtnatError(
      `can not attach ${name}: mapping eim (${eim[0]}) is not supported by this version; use apdm`,
    );
  }
}
