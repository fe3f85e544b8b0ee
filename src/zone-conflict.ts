// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What interfaces with a zone can not have beside them, whatever the network is like. */
import { hasEim, type InterfaceConfig } from './interface-config.js';

/** An interface whose zone is refused, and why: as it follows "zone N". */
export interface ZoneConflict {
  /** Its place in the list. */
  readonly index: number;
  readonly why: string;
}

/**
 * What can not be had beside a zone, on the same interface or on another one. XDP mode finds flows by their addresses
 * alone; `auto` makes it TC mode then. So are endpoint-independent mappings found (bpf/endpoint.h): two customers'
 * same inside endpoint would share one.
 */
export function zoneConflicts(
  interfaces: readonly Pick<InterfaceConfig, 'name' | 'zone' | 'mode' | 'mapping'>[],
): ZoneConflict[] {
  const index = interfaces.findIndex(({ zone }) => zone);
  const zoned = interfaces[index];
  if (!zoned) return [];
  const xdp = interfaces.find(({ mode }) => mode === 'xdp');
  const eim = interfaces.find(({ mapping }) => hasEim(mapping));
  const whys = [
    xdp && `${xdp.name} is in mode xdp, which knows no zones; attach ${xdp.name} in mode tc or auto`,
    eim &&
      `${eim.name} has mapping eim, which knows no zones; ` +
        `attach ${eim.name} with mapping apdm, or ${zoned.name} without a zone`,
  ];
  return whys.filter((why) => why !== undefined).map((why) => ({ index, why: `while ${why}` }));
}
