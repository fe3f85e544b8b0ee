// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The datapath's counters in Prometheus' text format. Names and units follow its naming guide. */
import { Counter, Gauge, Registry } from 'prom-client';
import { Datapath } from './datapath.js';
import { Counter as Event } from './generated/layouts.gen.js';
import { readMetrics, readRetries } from './metrics-table.js';
import { readClasses } from './packet-classes.js';
import type { PcpCounts } from './pcp/server.js';
import { SlotReader } from './slot-reader.js';

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** Reads everything now. A registry of its own each time: the kernel keeps the counts. */
export async function renderMetrics(pinPath: string, pcp?: PcpCounts): Promise<string> {
  using datapath = Datapath.open(pinPath);
  const registry = new Registry();
  addPackets(registry, datapath);
  addClasses(registry, datapath);
  addFlows(registry, datapath);
  addEvents(registry, datapath);
  addRetries(registry, datapath);
  if (pcp) addPcp(registry, pcp);
  return await registry.metrics();
}

function addPackets(registry: Registry, datapath: Datapath): void {
  const labelNames = ['reason', 'direction'] as const;
  const registers = [registry];
  const packets = new Counter({
    name: 'ctnat_packets_total',
    help: 'Packets at the hooks by what became of them; drops begin with drop_',
    labelNames,
    registers,
  });
  const bytes = new Counter({ name: 'ctnat_bytes_total', help: 'Their bytes', labelNames, registers });
  for (const { reason, direction, ...count } of readMetrics(datapath)) {
    packets.inc({ reason, direction }, count.packets);
    bytes.inc({ reason, direction }, count.bytes);
  }
}

function addClasses(registry: Registry, datapath: Datapath): void {
  const labelNames = ['class', 'direction'] as const;
  const registers = [registry];
  const packets = new Counter({
    name: 'ctnat_class_packets_total',
    help: 'Packets at the hooks by what they are to tracking: NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED',
    labelNames,
    registers,
  });
  const bytes = new Counter({ name: 'ctnat_class_bytes_total', help: 'Their bytes', labelNames, registers });
  for (const { class: name, direction, ...count } of readClasses(datapath)) {
    packets.inc({ class: name, direction }, count.packets);
    bytes.inc({ class: name, direction }, count.bytes);
  }
}

function addFlows(registry: Registry, { maps }: Datapath): void {
  const labelNames = ['family'] as const;
  const registers = [registry];
  const live = new Gauge({ name: 'ctnat_flows', help: 'Live flows', labelNames, registers });
  const most = new Gauge({ name: 'ctnat_flows_max', help: 'Flows that fit', labelNames, registers });
  for (const family of [4, 6] as const) {
    const { map } = maps[`flows${family}`];
    live.set({ family: `ipv${family}` }, new SlotReader(maps, family).countLive());
    most.set({ family: `ipv${family}` }, map.maxEntries);
  }
}

function addEvents(registry: Registry, { maps }: Datapath): void {
  const events = new Counter({
    name: 'ctnat_flow_events_total',
    help: 'Flows created, and by what they ended',
    labelNames: ['event'],
    registers: [registry],
  });
  for (const [name, index] of Object.entries(Event)) {
    if (name === 'COUNT') continue;
    const cpus = maps.counters.getPerCpu(index) ?? [];
    events.inc({ event: name.toLowerCase() }, Number(cpus.reduce((sum, value) => sum + value, 0n)));
  }
}

/** A histogram that the kernel has filled: prom-client's own can only observe one by one. */
function addRetries(registry: Registry, datapath: Datapath): void {
  const { retries, refused } = readRetries(datapath);
  const allocations = new Counter({
    name: 'ctnat_port_allocations_total',
    help: 'Allocations of external ports, by how many ports were tried in vain before',
    labelNames: ['retries'],
    registers: [registry],
  });
  for (const [count, value] of retries.entries()) allocations.inc({ retries: String(count) }, value);
  new Counter({
    name: 'ctnat_port_allocations_refused_total',
    help: 'Allocations that found no port',
    registers: [registry],
  }).inc(refused);
}

function addPcp(registry: Registry, { mappings, answers }: PcpCounts): void {
  const registers = [registry];
  const live = new Gauge({
    name: 'ctnat_pcp_mappings',
    help: 'Mappings that inside hosts have asked for',
    registers,
  });
  const results = new Counter({
    name: 'ctnat_pcp_requests_total',
    help: 'Requests for mappings by their result; dropped: not answered',
    labelNames: ['result'] as const,
    registers,
  });
  live.set(mappings);
  for (const [result, count] of answers) results.inc({ result }, count);
}
