// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Mappings on request in a real table: what is made, renewed, found busy or gone, and whose limit is met.
import t, { type Test } from 'tap';
import { parseAddress } from '../../src/address.js';
import { CtStatus, FlowFlags, FlowLock, SettingsFlags } from '../../src/generated/layouts.gen.js';
import { filteringFor } from '../../src/interface-config.js';
import type { Limits } from '../../src/limits.js';
import { KernelMapper } from '../../src/pcp/kernel-mapper.js';
import type { Held, Inside, Outside } from '../../src/pcp/mapper.js';
import { type Attachment, emptyState } from '../../src/state.js';
import { verifySubscribers } from '../../src/subscriber-check.js';
import { verifyTables } from '../../src/table-check.js';
import { nowTicks, ticksOfMs } from '../../src/ticks.js';
import { iface } from '../helpers/datapath/settings.js';
import { CLIENT, ROUTER_WAN } from '../helpers/packet.js';
import { Tables } from '../helpers/tables/tables-fixture.js';
import { slowly } from '../helpers/wait.js';

const LOOPBACK = 1;
const PORT = 45_000;

t.setTimeout(slowly(120_000));
const tables = await Tables.load(t, 1024, 16);
const { datapath } = tables;
const mapping = { tcp: 'eim', udp: 'eim', icmp: 'eim' } as const;
const wan: Attachment = {
  ...{ name: 'lo', ifindex: LOOPBACK, hook: 'clsact', madeQdisc: false, mode: 'tc' },
  ...{ masquerade: 4, mapping, filtering: filteringFor(mapping) },
};
const state = { ...emptyState('v5_3'), interfaces: [wan] };
const mapper = new KernelMapper(datapath, state, 'lo');

const insideAt = (port: number): Inside => ({ address: parseAddress(CLIENT.ip4), protocol: 17, port });

function subtest(name: string, run: (t: Test, outside: Outside) => void, limits: Limits = {}): void {
  t.test(name, (t) => {
    tables.clear();
    datapath.maps.subscribers.clear();
    const entry = iface('lo', { masquerade: 4, ip4: ROUTER_WAN.ip4, eim: 'apdf', limits });
    datapath.maps.ifaces.set(LOOPBACK, entry);
    datapath.updateSettings({ flags: SettingsFlags.EIM | SettingsFlags.LIMITS });
    run(t, mapper.outside(insideAt(PORT))!);
    t.same([...verifyTables(datapath), ...verifySubscribers(datapath)], [], 'both or neither');
    t.end();
  });
}

function opened(t: Test, outside: Outside, port = PORT, seconds = 600): Held {
  const held = mapper.open(insideAt(port), outside, port, seconds);
  if (typeof held === 'string') throw new Error(`it is not opened: ${held}`);
  t.equal(mapper.look(insideAt(port), held, seconds), 'held');
  return held;
}

/** Changes the slot behind the programs' back. */
function change({ slot }: Held, fields: { lock?: number; status?: number; deadline?: number }): void {
  const flow = datapath.maps.flows4.get(slot)!;
  datapath.maps.flows4.set(slot, { ...flow, head: { ...flow.head, ...fields } });
}

/** Does something behind each of the next runs of the program that edits, as a packet of another CPU might. */
function behindEdits(runs: number, act: () => void): () => number {
  const program = datapath.program('ct_edit4');
  const { testRun } = program;
  let left = runs;
  program.testRun = (options) => {
    const result = testRun.call(program, options);
    if (left-- > 0) act();
    return result;
  };
  return () => {
    program.testRun = testRun;
    return Math.max(0, left);
  };
}

subtest(
  'a packet that writes the deadline in the instant of a renewal has not the last word',
  (t, outside) => {
    const held = opened(t, outside);
    const inside = insideAt(PORT);
    const packets = {
      'its flow tells it a deadline': () => change(held, { deadline: nowTicks() + ticksOfMs(30_000) }),
      'its flow ends its time': () => change(held, { status: CtStatus.ENDPOINT }),
    };
    for (const [name, act] of Object.entries(packets)) {
      const done = behindEdits(3, act);
      t.equal(mapper.keep(inside, held, 900), 'kept', name);
      t.equal(done(), 0);
      t.equal(mapper.look(inside, held, 900), 'held', name);
    }
    const done = behindEdits(1000, packets['its flow ends its time']);
    t.equal(mapper.keep(inside, held, 900), 'busy', 'who loses always is not told that it is lost');
    done();
    t.equal(mapper.look(inside, held, 900), 'changed');
    t.equal(mapper.keep(inside, held, 900), 'kept');
  },
);

subtest('what is busy is not gone', (t, outside) => {
  const held = opened(t, outside);
  const inside = insideAt(PORT);
  change(held, { lock: FlowLock.CLAIM + FlowLock.KILL });
  t.equal(mapper.keep(inside, held, 900), 'busy');
  t.equal(mapper.release(inside, held), false);
  t.equal(mapper.look(inside, held, 600), 'held', 'it is as it was');
  change(held, { lock: FlowLock.CLAIM + FlowLock.KILL + FlowLock.OPENING });
  t.equal(mapper.keep(inside, held, 900), 'kept', 'being made is not being closed');
  change(held, { lock: FlowLock.CLAIM });
  t.equal(mapper.release(inside, held), true);
  t.equal(mapper.keep(inside, held, 900), 'gone');
  t.equal(mapper.look(inside, held, 900), 'gone');
  t.equal(mapper.release(inside, held), true, 'which is said once more');
});

subtest('one of another host is not touched, though its slot and generation are these', (t, outside) => {
  const held = opened(t, outside);
  t.equal(mapper.keep(insideAt(PORT + 1), held, 900), 'gone');
  t.equal(mapper.look(insideAt(PORT), held, 600), 'held');
});

subtest(
  'a subscriber at its limit of ports is told so',
  (t, outside) => {
    const held = opened(t, outside);
    t.equal(datapath.maps.flows4.get(held.slot)!.head.flags, FlowFlags.ENDPOINT);
    opened(t, outside, PORT + 1);
    t.equal(mapper.open(insideAt(PORT + 2), outside, PORT + 2, 600), 'limit');
    t.equal(mapper.open(insideAt(PORT + 3), outside, PORT, 600), 'limit', 'before whose the port is');
    t.equal(mapper.keep(insideAt(PORT), held, 900), 'kept', 'what it has it may renew');
    t.equal(mapper.release(insideAt(PORT), held), true);
    opened(t, outside, PORT + 2);
  },
  { ports: 2 },
);

subtest('a full table is looked through in parts', (t, outside) => {
  const { flows4 } = datapath.maps;
  const any = flows4.get(0)!;
  for (let slot = 0; slot < 1024; slot++) flows4.set(slot, { ...any, head: { ...any.head, lock: 1 } });
  t.equal(mapper.open(insideAt(PORT), outside, PORT, 600), 'full');
  flows4.set(700, any);
  opened(t, outside);
  tables.clear();
});
