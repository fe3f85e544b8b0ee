// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Attaches interfaces, or gives those that are attached new options. */
import { Change } from './change.js';
import { bestHookKind } from './hooks.js';
import type { InterfaceConfig, InterfaceOptions } from './interface-config.js';
import { interfaceStatus } from './interface-status.js';
import { type Network, readNetwork, requireLink } from './network.js';
import { requireCapabilities } from './privileges.js';
import type { InterfaceStatus } from './product.js';
import type { Attachment, State } from './state.js';

/** See Product.attach(). */
export async function attach(
  pinPath: string,
  names: readonly string[],
  options: InterfaceOptions,
): Promise<InterfaceStatus[]> {
  const action = `attach ${names.join(' ')}`;
  requireCapabilities(action, 'CAP_BPF', 'CAP_NET_ADMIN');
  const configs = names.map((name) => ({ ...options, name }));
  // before anything is loaded for nothing
  const network = readNetwork();
  for (const name of names) requireLink(network, name, 'attach');
  return await Change.loading(pinPath, action, {}, configs, (change) => {
    const { state } = change.settle(withInterfaces(change, configs));
    return names.map((name) => {
      const attachment = state.interfaces.find((each) => each.name === name)!;
      return interfaceStatus(attachment, change.hooks.on(attachment.ifindex));
    });
  });
}

function withInterfaces({ state, network }: Change, configs: readonly InterfaceConfig[]): State {
  const attached = configs.map((config) => attachmentOf(config, state, network));
  const others = state.interfaces.filter(
    (each) => !attached.some(({ name, ifindex }) => name === each.name || ifindex === each.ifindex),
  );
  return { ...state, interfaces: [...others, ...attached] };
}

/** An interface with the options it shall have, as it is found in the network; with index 0 if it is not there. */
export function attachmentOf(config: InterfaceConfig, state: State, network: Network): Attachment {
  const ifindex = network.links.find(({ name }) => name === config.name)?.ifindex ?? 0;
  // what it is attached by already stays
  const before = ifindex === 0 ? undefined : state.interfaces.find((each) => each.ifindex === ifindex);
  return {
    ...config,
    ifindex,
    hook: before?.hook ?? bestHookKind(),
    madeQdisc: before?.madeQdisc ?? false,
  };
}
