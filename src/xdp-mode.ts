// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Whether an interface works in XDP mode: then it has the program at XDP besides those of TC, which do what that one
 * leaves to them. `xdp` asks for it, `auto` takes it where it is certain to gain something and to bypass nothing.
 */
import { type Link, queryXdp, xdpFeatures } from 'libbpf-ts';
import { CtnatError, errorLine } from './errors.js';
import { firewallTable } from './firewall.js';
import { type FlavourName, hasXdp } from './flavours.js';
import { Hooks } from './hooks.js';
import { hasEim, type InterfaceConfig } from './interface-config.js';
import { Ledger } from './ledger.js';
import { isXdpLoaded, loadXdp } from './load-xdp.js';
import { readNetwork } from './network.js';

export interface ModeChoice {
  readonly runs: 'tc' | 'xdp';
  /** Why it is not XDP mode, or why `auto` chose that, as it follows "because". */
  readonly why?: string;
}

const ARPHRD_ETHER = 1;

/** Where XDP mode is decided on. */
export interface ModeSituation {
  readonly link: Link;
  readonly links: readonly Link[];
  readonly flavour: FlavourName;
  /** Whether the program on the interface's XDP hook, if there is one, is another's. */
  readonly isTaken: boolean;
}

/** Decides for one interface; never throws: where `xdp` can't be had it is TC mode, and says why. */
export function chooseMode(
  { mode, mapping }: Pick<InterfaceConfig, 'mode' | 'mapping'>,
  situation: ModeSituation,
): ModeChoice {
  if (mode === 'tc') return { runs: 'tc' };
  const obstacle =
    (hasEim(mapping) ? 'endpoint-independent mappings are made by the programs of TC mode' : undefined) ??
    obstacleToXdp(situation) ??
    (mode === 'auto' ? reasonAgainstXdp(situation.link) : undefined);
  if (obstacle !== undefined) return { runs: 'tc', why: obstacle };
  return mode === 'auto' ? { runs: 'xdp', why: 'its driver runs and forwards XDP' } : { runs: 'xdp' };
}

/** What keeps the program of XDP mode from being right on an interface. */
function obstacleToXdp({ link, links, flavour, isTaken }: ModeSituation): string | undefined {
  if (!hasXdp(flavour))
    return `XDP mode needs Linux 5.13, and the programs in use are those of flavour ${flavour}`;
  if (link.type !== ARPHRD_ETHER) return 'its packets have no Ethernet header';
  const vlan = links.find((each) => each.kind === 'vlan' && each.link === link.ifindex && !each.linkNetnsid);
  if (vlan) return `XDP may see packets of the VLAN ${vlan.name} above it without their tag`;
  if (isTaken) return 'another program is on its XDP hook';
  return undefined;
}

/** What makes TC mode the better choice where nobody has asked for XDP. */
function reasonAgainstXdp({ ifindex, kind, master }: Link): string | undefined {
  if (kind !== undefined) return `a ${kind} has no driver of its own for XDP`;
  if (master !== undefined) return 'it belongs to a bridge or bond, whose packets are not routed here';
  const can = xdpFeatures(ifindex);
  if (!can) return 'this kernel does not say what drivers can do with XDP (Linux 6.3)';
  if (!can.basic || !can.redirect) return 'its driver has no XDP that forwards';
  const table = firewallTable();
  if (table !== undefined) return `the firewall's rules (${table}) would not see what XDP forwards`;
  return undefined;
}

/** As chooseMode(), of an interface as it is. */
export function modeOf(
  config: InterfaceConfig,
  link: Link,
  { links, flavour, hooks }: { links: readonly Link[]; flavour: FlavourName; hooks: Hooks },
): ModeChoice {
  if (config.mode === 'tc') return { runs: 'tc' };
  const found = queryXdp(link.ifindex);
  const isTaken = found !== undefined && found.programId !== hooks.xdpProgramOn(link.ifindex);
  return chooseMode(config, { link, links, flavour, isTaken });
}

/**
 * Loads the programs of XDP mode if one of the interfaces will use them. The datapath is loaded, and the caller holds
 * its lock.
 * @throws CtnatError if one asks for XDP mode and can't have it
 */
export async function prepareXdp(pinPath: string, configs: readonly InterfaceConfig[]): Promise<void> {
  const candidates = configs.filter(({ mode }) => mode !== 'tc');
  if (candidates.length === 0) return;
  const { links } = readNetwork();
  const { flavour } = readState(pinPath);
  using hooks = new Hooks(pinPath);
  let isWanted = false;
  for (const config of candidates) {
    const link = links.find(({ name }) => name === config.name);
    const choice: ModeChoice = link ? modeOf(config, link, { links, flavour, hooks }) : { runs: 'tc' };
    if (config.mode === 'xdp' && choice.why !== undefined) {
      throw new CtnatError(`can not attach ${config.name} in mode xdp: ${choice.why}; use tc or auto`);
    }
    isWanted ||= choice.runs === 'xdp' || config.mode === 'xdp';
  }
  if (!isWanted || isXdpLoaded(pinPath)) return;
  try {
    await loadXdp(pinPath, flavour);
  } catch (error) {
    const asked = candidates.find(({ mode }) => mode === 'xdp');
    if (!asked) return; // settle() finds nothing loaded, and says so
    throw new CtnatError(`can not attach ${asked.name} in mode xdp: ${errorLine(error)}; use tc or auto`, {
      cause: error,
    });
  }
}

function readState(pinPath: string) {
  using ledger = Ledger.open(pinPath);
  return ledger.read();
}
