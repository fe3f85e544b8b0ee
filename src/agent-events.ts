// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The agent's event files: one reader for all of them, whose types are those that any file wants. */
import type { AgentLog } from './agent-log.js';
import type { EventSink } from './config/config.js';
import { errorLine } from './errors.js';
import { EVENT_TYPES, type EventType } from './events/event.js';
import { FileSink } from './events/file-sink.js';
import type { EventSource } from './events/source.js';

/** A file that can not be written is complained about so often. */
const COMPLAINT_MS = 60_000;

export class AgentEvents {
  readonly #pinPath: string;
  readonly #log: AgentLog;
  readonly #failed: (error: unknown) => void;
  #sinks: readonly FileSink[] = [];
  #source: EventSource | undefined;
  #running: Promise<void> = Promise.resolve();
  #complaintAt = 0;

  /** @param failed is called when the events have ended without being told to */
  constructor(pinPath: string, log: AgentLog, failed: (error: unknown) => void) {
    this.#pinPath = pinPath;
    this.#log = log;
    this.#failed = failed;
  }

  /** Opens the files, those that are open already as well: they may have been renamed. @throws CtnatError naming one */
  static async open(sinks: readonly EventSink[]): Promise<readonly FileSink[]> {
    const opened: FileSink[] = [];
    try {
      for (const sink of sinks) opened.push(await FileSink.open(sink));
      return opened;
    } catch (error) {
      await AgentEvents.close(opened);
      throw error;
    }
  }

  static async close(sinks: readonly FileSink[]): Promise<void> {
    for (const sink of sinks) await sink.close();
  }

  /** From now on events go to these files and no others; none is lost between. */
  async use(sinks: readonly FileSink[]): Promise<void> {
    const types = EVENT_TYPES.filter((type) => sinks.some((sink) => sink.types.includes(type)));
    const old = this.#sinks;
    if (types.length === 0) await this.#end();
    this.#sinks = sinks;
    if (types.length > 0) await this.#want(types);
    await this.#writing;
    await AgentEvents.close(old);
  }

  async #want(types: readonly EventType[]): Promise<void> {
    if (this.#source) return await this.#source.want(types);
    const { openEvents } = await import('./events/kernel-source.js');
    this.#source = await openEvents(this.#pinPath, { types });
    this.#running = this.#run(this.#source);
    this.#log.info(`events: listening to ${types.join(', ')}`);
  }

  async #run(source: EventSource): Promise<void> {
    try {
      for await (const batch of source.batches()) {
        for (const event of batch) {
          if (event.type === 'lost') this.#log.warn(`${event.count} events lost, ${event.total} in all`);
        }
        this.#writing = this.#write(batch);
        await this.#writing;
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  #writing: Promise<void> = Promise.resolve();

  /** What a file does not take is lost for it, and for no other. */
  async #write(batch: Parameters<FileSink['write']>[0]): Promise<void> {
    for (const sink of this.#sinks) {
      try {
        await sink.write(batch);
      } catch (error) {
        if (performance.now() < this.#complaintAt) continue;
        this.#complaintAt = performance.now() + COMPLAINT_MS;
        this.#log.error(errorLine(error));
      }
    }
  }

  async #end(): Promise<void> {
    this.#source?.stop();
    await this.#running;
    this.#source = undefined;
  }

  /** Writes what has come until now, and ends. */
  async close(): Promise<void> {
    await this.use([]);
  }
}
