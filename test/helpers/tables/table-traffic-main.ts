// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What other CPUs do to the tables while a test reads them. Prints `begun`, works until SIGTERM, and prints what
// it did as JSON.
// usage: node table-traffic-main.js PINPATH create|signal PID|rewrite FIRST COUNT|prolong FIRST COUNT|sweep|race FLOWS|
//   insert FIRST COUNT|status FIRST COUNT
import { join } from 'node:path';
import { BpfMap } from 'libbpf-ts';
import { Datapath } from '../../../src/datapath.js';
import { parseFilter } from '../../../src/filter.js';
import { FlowTable } from '../../../src/flow-table.js';
import { Counter, CtStatus, FLOW, FLOW_EXTRA, FLOW4 } from '../../../src/generated/layouts.gen.js';
import { KernelFlowEditor } from '../../../src/kernel-flow-editor.js';
import { Sweeper } from '../../../src/sweeper.js';
import { nowTicks, tickDifference } from '../../../src/ticks.js';
import { readRequest } from '../../bench/bench-request.js';
import { iface } from '../datapath/settings.js';
import { CLIENT, frame, ROUTER_WAN, SERVER, udp } from '../packet.js';
import { elapse } from '../wait.js';
import { newFlow } from './new-flow.js';
import { openPinnedSource, sendPackets } from './packet-source.js';

const LOOPBACK = 1;
/** Packets between two looks at the clock and at signals. */
const TURN = 50;
/** Ticks that a prolonged flow gets: far less than the time that a sweep leaves it after that (TICK_GRACE). */
const SHORT = 3;
const LATE = 50;

const [pinPath = '', kind = '', ...rest] = process.argv.slice(2);
const [first = 0, count = 0] = rest.map(Number);
const datapath = Datapath.open(pinPath);
const did: Record<string, number | number[]> = {};
let stopped = false;
let done = false;
process.on('SIGTERM', () => {
  stopped = true;
});

const KINDS: Record<string, () => () => void> = {
  ...{ create, rewrite, prolong, signal, sweep, race },
  ...{ insert, status },
};
const turn = KINDS[kind]!();
let begun = false;
while (!stopped) {
  turn();
  if (!begun) console.log('begun');
  begun = true;
  if (done) break;
  // a sweep takes a millisecond: it is to come at every moment, and to leave the processor to the packets
  if (kind === 'sweep') await elapse(5);
  else await new Promise((resolve) => setImmediate(resolve));
}
console.log(JSON.stringify(did));
datapath.close();

/** Flows come by packets through the egress hook of lo, and go by the delete command. */
function create(): () => void {
  datapath.maps.ifaces.set(LOOPBACK, iface('lo', { masquerade: 4, ip4: ROUTER_WAN.ip4 }));
  const program = datapath.program('ct_egress');
  const table = new FlowTable(datapath);
  let created = 0;
  let deleted = 0;
  return () => {
    for (let i = 0; i < TURN; i++) {
      const sport = 2000 + (created++ % 1000);
      program.testRun({ data: frame(CLIENT, SERVER, udp({ sport, dport: 53 })) });
    }
    deleted += table.delete(parseFilter({ src: CLIENT.ip4, dport: '53' }));
    Object.assign(did, { created, deleted });
  };
}

/** Slots change hands as bpf/slot.h says, and each flow's numbers all follow from its generation. */
function rewrite(): () => void {
  const { flows4, extras4 } = datapath.maps;
  const [words, extras] = [flows4, extras4].map(({ map }) => {
    const { buffer, byteOffset, length } = map.mmap().buffer;
    return new Int32Array(buffer, byteOffset, length / 4);
  }) as [Int32Array, Int32Array];
  const stride = FLOW4.size / 4;
  let rewritten = 0;
  return () => {
    for (let i = 0; i < TURN * 100; i++) {
      const slot = first + (i % count);
      const start = slot * stride;
      const use = start + FLOW.offset.gen / 4;
      const gen = ((words[use]! & 0xffff) + 1) & 0xffff;
      Atomics.store(words, use, words[use]! & 0xffff);
      Atomics.store(words, use, gen);
      Atomics.store(extras, (slot * FLOW_EXTRA.size + FLOW_EXTRA.offset.mark) / 4, gen);
      for (const at of [FLOW4.offset.tuple, FLOW4.offset.tuple + 20]) {
        Atomics.store(words, start + at / 4, gen);
      }
      Atomics.store(words, use, (CtStatus.CONFIRMED << 16) | gen);
    }
    rewritten += TURN * 100;
    did.rewritten = rewritten;
  };
}

/** Flows are about to end, and then get a new deadline shortly after the old one, as by a packet that came just before. */
function prolong(): () => void {
  const memory = datapath.maps.flows4.map.mmap();
  const view = memory.view();
  const late = new Set<number>();
  let prolonged = 0;
  const begun = nowTicks();
  for (let slot = first; slot < first + count; slot++)
    view.setUint32(slot * FLOW4.size + FLOW.offset.deadline, (begun + SHORT) >>> 0, true);
  return () => {
    const now = nowTicks();
    for (let slot = first; slot < first + count; slot++) {
      const at = slot * FLOW4.size + FLOW.offset.deadline;
      const overdue = tickDifference(now, view.getUint32(at, true));
      // this process was kept waiting for longer than a packet can be on its way
      if (overdue > LATE) late.add(slot);
      if (overdue < LATE / 2 || late.has(slot)) continue;
      view.setUint32(at, (now + SHORT) >>> 0, true);
      prolonged++;
    }
    Object.assign(did, { prolonged, late: [...late] });
  };
}

/** A signal that is handled interrupts system calls. */
function signal(): () => void {
  return () => {
    for (let i = 0; i < TURN; i++) process.kill(first, 'SIGUSR2');
    did.signals = ((did.signals as number | undefined) ?? 0) + TURN;
  };
}

/** What the agent does, more often. */
function sweep(): () => void {
  const sweeper = new Sweeper(datapath);
  let sweeps = 0;
  let deleted = 0;
  return () => {
    for (const map of sweeper.sweep().maps) deleted += map.deleted;
    sweeps++;
    Object.assign(did, { sweeps, deleted });
  };
}

/**
 * First packets of flows, from a source that another process sends from as well, as soon as it is told to begin.
 * Ends when all flows had theirs and two have met; at half as many flows more it gives up.
 */
function race(): () => void {
  const source = openPinnedSource(pinPath);
  const request = BpfMap.openPinned(join(pinPath, 'request'));
  const joined = (): boolean =>
    datapath.maps.counters.getPerCpu(Counter.CLASH_JOINED)!.some((count) => count > 0n);
  let sent = 0;
  return () => {
    const { cursor, flows } = readRequest(request);
    if (flows === 0) return; // not yet
    sendPackets(source, TURN * 10);
    sent += TURN * 10;
    did.sent = sent;
    done = cursor >= first && (joined() || cursor >= 1.5 * first);
  };
}

/** The same flows are made by whoever comes first; each once. */
function insert(): () => void {
  const editor = new KernelFlowEditor(datapath);
  let next = first;
  let inserted = 0;
  return () => {
    if (next === first + count) return;
    for (let i = 0; i < TURN && next < first + count; i++, next++) {
      if (editor.insert(newFlow(next)) === 'inserted') inserted++;
    }
    if (next === first + count) console.log('all tried');
    Object.assign(did, { inserted });
  };
}

/** A packet's own bit is set again and again, as flow_set_status does: what was read, and the bit. */
function status(): () => void {
  const memory = datapath.maps.flows4.map.mmap();
  const view = memory.view();
  let set = 0;
  return () => {
    for (let i = 0; i < TURN * 100; i++) {
      const at = (first + (i % count)) * FLOW4.size + FLOW.offset.status;
      view.setUint16(at, view.getUint16(at, true) | CtStatus.SEEN_REPLY, true);
      set++;
    }
    did.set = set;
  };
}
