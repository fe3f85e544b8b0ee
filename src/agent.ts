// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The agent: applies the configuration, sweeps, follows interfaces, addresses and rules, serves metrics. The datapath works
 * without it. It holds the kernel's objects only while it does something with them, so that they are gone when
 * somebody purges them; it ends then.
 */
import { once } from 'node:events';
import { type NetworkEvent, type NetworkWatch, watch } from 'libbpf-ts';
import { AgentEvents } from './agent-events.js';
import { openLog } from './agent-log.js';
import { AgentPcp } from './agent-pcp.js';
import { AgentSweep } from './agent-sweep.js';
import { apply } from './apply.js';
import type { Config } from './config/config.js';
import { Datapath, NotAttachedError } from './datapath.js';
import { errorLine } from './errors.js';
import type { FileSink } from './events/file-sink.js';
import { concerns, followNetwork, rememberedState } from './follow.js';
import { lockAgent, lockRunning } from './lock.js';
import { MetricsServer } from './metrics-server.js';
import { requireCapabilities } from './privileges.js';
import type { AgentOptions } from './product.js';
import { SharedWays } from './shared-ways.js';

/** See Product.runAgent(). */
export async function runAgent(pinPath: string, options: AgentOptions): Promise<void> {
  requireCapabilities('run the agent', 'CAP_BPF', 'CAP_NET_ADMIN');
  const lock = lockAgent(pinPath);
  try {
    await new Agent(pinPath, options).run();
  } finally {
    lock.release();
  }
}

class Agent {
  readonly #pinPath: string;
  readonly #options: AgentOptions;
  readonly #log = openLog();
  readonly #sweep: AgentSweep;
  readonly #events: AgentEvents;
  readonly #pcp: AgentPcp;
  readonly #ways: SharedWays;
  readonly #failed = new AbortController();
  #metrics: MetricsServer | undefined;

  constructor(pinPath: string, options: AgentOptions) {
    this.#pinPath = pinPath;
    this.#options = options;
    this.#sweep = new AgentSweep(pinPath, this.#log);
    this.#events = new AgentEvents(pinPath, this.#log, (error) => this.#failed.abort(error));
    this.#pcp = new AgentPcp(pinPath, this.#log);
    this.#ways = new SharedWays(pinPath);
  }

  async run(): Promise<void> {
    const { readConfig, stop, onReload } = this.#options;
    const failed = this.#failed;
    const until = AbortSignal.any([stop, failed.signal]);
    // from here on no change is missed
    using network = watch({ links: true, addresses: true, rules: true }, until);
    try {
      if (readConfig) await this.#configure(await readConfig());
      else if (!Datapath.isLoaded(this.#pinPath)) throw new NotAttachedError(this.#pinPath);
      await followNetwork(this.#pinPath, this.#log, { isFirst: true });
      await this.#pcp.follow();
      onReload(() => this.#enqueue(() => this.#reload()));
      using _running = await lockRunning(this.#pinPath);
      this.#log.info(`running for ${this.#pinPath}`);
      const parts = [this.#sweep.run(until), this.#follow(network), this.#ways.keep(until)];
      // the first that fails ends the others
      for (const part of parts) part.catch((error: unknown) => failed.abort(error));
      if (!until.aborted) await once(until, 'abort');
      await Promise.allSettled([...parts, this.#queue]);
      if (failed.signal.aborted) throw failed.signal.reason;
      this.#log.info('stopped; the datapath goes on');
    } finally {
      this.#pcp.close();
      await this.#events.close();
      await this.#metrics?.close();
    }
  }

  /** What changes the state, one after the other. */
  #queue: Promise<void> = Promise.resolve();

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /** All or nothing: what can fail comes before what is kept. */
  async #configure(config: Config): Promise<void> {
    const { metrics: listen } = config;
    const old = this.#metrics;
    const isSame = old && listen && old.listen.host === listen.host && old.listen.port === listen.port;
    const next = isSame
      ? old
      : listen && (await MetricsServer.start(this.#pinPath, listen, this.#log, () => this.#pcp.counts));
    let files: readonly FileSink[] = [];
    try {
      files = await AgentEvents.open(config.events);
      for (const change of await apply(this.#pinPath, config, { mayBeAbsent: true })) this.#log.info(change);
    } catch (error) {
      await AgentEvents.close(files);
      if (next !== old) await next?.close();
      throw error;
    }
    this.#metrics = next;
    if (next !== old) await old?.close();
    await this.#events.use(files);
    await this.#pcp.use(config.pcp);
    this.#sweep.setBounds(config.gc);
    for (const { name, ifindex } of rememberedState(this.#pinPath).interfaces) {
      if (ifindex === 0) this.#log.warn(`${name} is not there; it is attached when it comes`);
    }
  }

  async #reload(): Promise<void> {
    const { readConfig } = this.#options;
    if (!readConfig) {
      this.#log.warn('nothing to reload: the agent was started without a configuration');
      return;
    }
    try {
      await this.#configure(await readConfig());
      this.#log.info('reloaded the configuration');
    } catch (error) {
      this.#log.error(`kept the old configuration: ${errorLine(error)}`);
    }
  }

  /**
   * Ends with the watch. Events that come while one lot is worked on are the next lot. What fails is told and left: an
   * interface may have gone away again meanwhile, of which another event tells.
   */
  async #follow(network: NetworkWatch): Promise<void> {
    let waiting: NetworkEvent[] = [];
    for await (const event of network) {
      if (event.type === 'rule' || event.type === 'resync') this.#ways.rulesChanged();
      if (event.type === 'rule') continue;
      waiting.push(event);
      if (waiting.length > 1) continue;
      this.#enqueue(async () => {
        const events = waiting;
        waiting = [];
        if (!concerns(events, rememberedState(this.#pinPath))) return;
        await followNetwork(this.#pinPath, this.#log);
        await this.#pcp.follow();
      }).catch((error: unknown) => this.#log.error(`can not follow the network: ${errorLine(error)}`));
    }
  }
}
