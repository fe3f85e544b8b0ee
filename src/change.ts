// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** One change of what is attached and in force: under the lock, from the state that holds to another one. */
import { prepareBpffs } from './bpffs.js';
import { Datapath, NotAttachedError } from './datapath.js';
import { CtnatError } from './errors.js';
import { Hooks } from './hooks.js';
import type { InterfaceConfig } from './interface-config.js';
import { requireKernel } from './kernel-support.js';
import { Ledger } from './ledger.js';
import type { LoadOptions } from './load.js';
import { withChangeLock } from './lock.js';
import { findNetns, type Network, readNetwork } from './network.js';
import { purge } from './purge.js';
import { type Settled, settle, type Workplace } from './settle.js';
import type { Attachment, State } from './state.js';
import { prepareXdp } from './xdp-mode.js';

export class Change implements Workplace {
  readonly datapath: Datapath;
  readonly hooks: Hooks;
  readonly ledger: Ledger;
  readonly network: Network;
  /** What holds: the ledger's state, with the interfaces as they are now. */
  readonly state: State;
  /** Nothing was loaded before. */
  readonly isNew: boolean;

  private constructor(pinPath: string, action: string, isNew = false) {
    this.isNew = isNew;
    this.datapath = Datapath.open(pinPath);
    this.hooks = new Hooks(pinPath);
    this.network = readNetwork();
    let ledger: Ledger | undefined;
    try {
      // before anything is changed
      this.datapath.check();
      ledger = Ledger.open(pinPath);
      this.ledger = ledger;
      this.state = currentState(ledger.read(), this.network, this.hooks, action);
    } catch (error) {
      this.datapath.close();
      ledger?.close();
      throw error;
    }
  }

  /**
   * Works on what is loaded.
   * @param action as it follows "can not"
   * @throws NotAttachedError if nothing is
   */
  static ofLoaded<T>(pinPath: string, action: string, work: (change: Change) => T): Promise<T> {
    if (!Datapath.isLoaded(pinPath)) return Promise.reject(new NotAttachedError(pinPath));
    return withChangeLock(pinPath, () => using(new Change(pinPath, action), work));
  }

  /**
   * Works on what is loaded, and loads it first if nothing is; if the work fails then, nothing stays loaded.
   * @param interfaces those that the work will attach, for what their modes need besides
   */
  static async loading<T>(
    pinPath: string,
    action: string,
    load: Partial<LoadOptions>,
    interfaces: readonly InterfaceConfig[],
    work: (change: Change) => T,
  ): Promise<T> {
    if (!Datapath.isLoaded(pinPath)) requireKernel(action);
    prepareBpffs(pinPath);
    return await withChangeLock(pinPath, async () => {
      const isNew = !Datapath.isLoaded(pinPath);
      if (isNew) (await Datapath.load(pinPath, load)).close();
      try {
        await prepareXdp(pinPath, interfaces);
        return using(new Change(pinPath, action, isNew), work);
      } catch (error) {
        if (isNew) await purge(pinPath);
        throw error;
      }
    });
  }

  /** Makes the state hold, all or nothing. */
  settle(wanted: State): Settled {
    return settle(this, this.state, wanted);
  }

  close(): void {
    this.datapath.close();
    this.hooks.close();
    this.ledger.close();
  }
}

function using<T>(change: Change, work: (change: Change) => T): T {
  try {
    return work(change);
  } finally {
    change.close();
  }
}

/**
 * The remembered state with the interfaces as they are in the network: one that was renamed has its new name, one that
 * came back has its new index, one that is not there has index 0.
 * @throws CtnatError if the interfaces are those of another network namespace
 */
export function currentState(state: State, network: Network, hooks: Hooks, action: string): State {
  if (state.netns !== 0 && state.netns !== network.netns) {
    const alive = state.interfaces.filter((each) => isAliveElsewhere(each, state.netns, hooks));
    if (alive.length > 0) throw otherNetnsError(action, alive, state.netns);
  }
  const isHere = state.netns === network.netns;
  return {
    ...state,
    interfaces: state.interfaces.map((each) =>
      currentAttachment(isHere ? each : { ...each, ifindex: 0 }, network, hooks),
    ),
  };
}

function currentAttachment(attachment: Attachment, network: Network, hooks: Hooks): Attachment {
  const { name, ifindex } = attachment;
  const same = network.links.find((link) => link.ifindex === ifindex);
  if (same && (same.name === name || hooks.on(ifindex).length > 0)) return { ...attachment, name: same.name };
  const back = network.links.find((link) => link.name === name);
  return { ...attachment, ifindex: back?.ifindex ?? 0, madeQdisc: false };
}

/** A filter cannot be asked for from outside: it is there as long as its namespace is. */
function isAliveElsewhere({ ifindex, hook }: Attachment, netns: number, hooks: Hooks): boolean {
  return hook === 'tcx' ? hooks.isLinkAlive(ifindex) : findNetns(netns) !== undefined;
}

function otherNetnsError(action: string, alive: readonly Attachment[], netns: number): CtnatError {
  const path = findNetns(netns);
  const names = alive.map(({ name }) => name).join(', ');
  const where = path === undefined ? 'the one that has them' : path.replace(/^\/run\/netns\//, '');
  return new CtnatError(
    `can not ${action}: ${names} of another network namespace ${alive.length === 1 ? 'is' : 'are'} attached; ` +
      `use --netns ${where}, or another --pin-path for this one`,
  );
}
