// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { CommandFunction } from './command.js';

/** `ctnat run`: signals become the agent's events. */
export const run: CommandFunction = async ({ host, options, product }) => {
  const file = options.config as string | undefined;
  const { loadConfig } = await import('../config/load.js');
  // A wrong file is told before anything is touched.
  if (file !== undefined) await loadConfig(file);
  const stop = new AbortController();
  const reloads: (() => void)[] = [];
  const onStop = () => stop.abort();
  const onReload = () => {
    for (const listener of reloads) listener();
  };
  host.signals.on('SIGTERM', onStop);
  host.signals.on('SIGINT', onStop);
  host.signals.on('SIGHUP', onReload);
  try {
    const agent = await product();
    await agent.runAgent({
      ...(file !== undefined && { readConfig: () => loadConfig(file) }),
      stop: stop.signal,
      onReload: (listener) => reloads.push(listener),
    });
  } finally {
    host.signals.off('SIGTERM', onStop);
    host.signals.off('SIGINT', onStop);
    host.signals.off('SIGHUP', onReload);
  }
};
