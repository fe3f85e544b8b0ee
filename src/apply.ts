// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Makes what is attached and in force equal to a configuration. */
import { attachmentOf } from './attach.js';
import { Change } from './change.js';
import type { Config } from './config/config.js';
import { CtnatError } from './errors.js';
import { isSameRule } from './nat-rule.js';
import { type Network, readNetwork, requireLink } from './network.js';
import { requireCapabilities } from './privileges.js';
import { refusalText, refusedFlavours } from './refused-flavour.js';
import { freeId } from './rules.js';
import type { State } from './state.js';
import { stateChanges } from './state-changes.js';
import { isSameTrackRule } from './track-rule.js';

export interface ApplyOptions {
  /** Interfaces that are not there are attached when they come (the agent's way), instead of being an error. */
  readonly mayBeAbsent?: boolean;
}

/**
 * See Product.apply().
 */
export async function apply(
  pinPath: string,
  config: Config,
  { mayBeAbsent = false }: ApplyOptions = {},
): Promise<readonly string[]> {
  requireCapabilities('apply a configuration', 'CAP_BPF', 'CAP_NET_ADMIN');
  const network = readNetwork();
  if (!mayBeAbsent) for (const { name } of config.interfaces) requireLink(network, name, 'attach');
  return await Change.loading(
    pinPath,
    'apply a configuration',
    config.tables,
    config.interfaces,
    (change) => {
      checkTables(config, change);
      const wanted = wantedState(config, change.state, change.network);
      const changes = stateChanges(change.state, wanted);
      // also where nothing differs: entries may have been left behind by what happened meanwhile
      change.settle(wanted);
      return [...(change.isNew ? refusedFlavours(change.state).map(refusalText) : []), ...changes];
    },
  );
}

/** Tables cannot grow or shrink under live flows. */
function checkTables({ tables }: Config, { datapath }: Change): void {
  for (const [family, flows] of [
    [4, tables.flows4],
    [6, tables.flows6],
  ] as const) {
    const { maxEntries } = datapath.maps[`flows${family}`].map;
    if (flows === undefined || flows === maxEntries) continue;
    throw new CtnatError(
      `can not apply tables.flows: ${flows} IPv${family} flows are asked for, and a table of ${maxEntries} is loaded; ` +
        'its flows would be lost: run ctnat detach --all --purge first, or ask for as many',
    );
  }
}

function wantedState(config: Config, state: State, network: Network): State {
  return {
    ...state,
    interfaces: config.interfaces.map((each) => attachmentOf(each, state, network)),
    rules: withIds(config.rules, state.rules, isSameRule),
    track: withIds(config.track, state.track, isSameTrackRule),
    exempt: config.exempt,
    timeouts: config.timeouts,
  };
}

/** A rule that was there keeps its id. */
export function withIds<T extends { readonly id: number }>(
  wanted: readonly T[],
  old: readonly T[],
  isSame: (a: T, b: T) => boolean,
): T[] {
  const kept = wanted.map((rule) => old.find((each) => isSame(each, rule)));
  const taken = kept.filter((rule) => rule !== undefined);
  return wanted.map((rule, i) => {
    const same = kept[i];
    if (same) return same;
    const added = { ...rule, id: freeId(taken) };
    taken.push(added);
    return added;
  });
}
