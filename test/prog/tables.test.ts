// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The tables over real maps: listing, filtering, counting, tearing down, sweeping and repairing, also while other
// CPUs change them.

import { type FeatureName, feature } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { parseFilter } from '../../src/filter.js';
import { FlowTable } from '../../src/flow-table.js';
import {
  CtStatus,
  CtTcpState,
  FLOW4,
  HookDir,
  NatType,
  Reason,
  TupleForm,
} from '../../src/generated/layouts.gen.js';
import { readMetrics, readRetries } from '../../src/metrics-table.js';
import { NatTable } from '../../src/nat-table.js';
import { SlotReader } from '../../src/slot-reader.js';
import { status } from '../../src/status.js';
import { Sweeper } from '../../src/sweeper.js';
import { verifyTables } from '../../src/table-check.js';
import { TableRepair } from '../../src/table-repair.js';
import { iface } from '../helpers/datapath/settings.js';
import { countKeys, forgetKeys } from '../helpers/tables/keys.js';
import type { Made } from '../helpers/tables/made-flow.js';
import { Tables } from '../helpers/tables/tables-fixture.js';
import { elapse, SLOW, slowly } from '../helpers/wait.js';

const FLOWS4 = 8192;
const FLOWS6 = 1024;

t.setTimeout(slowly(120_000));
const tables = await Tables.load(t, FLOWS4, FLOWS6);
const { datapath } = tables;
const table = new FlowTable(datapath);
const sweeper = new Sweeper(datapath);

/** A masqueraded flow whose ends differ from every other one's. */
function masqueraded(i: number, more: Partial<Made> = {}): Made {
  const host = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
  return {
    original: [`${host} 40000`, '192.0.2.9 80'],
    reply: ['192.0.2.9 80', `198.51.100.1 ${1024 + i}`],
    proto: 6,
    state: CtTcpState.ESTABLISHED,
    status: CtStatus.SEEN_REPLY | CtStatus.ASSURED | CtStatus.SRC_NAT,
    nat: NatType.MASQUERADE,
    gen: i & 0xffff,
    ...more,
  };
}

const PLAIN6: Made = { original: ['fd00::2 500', 'fd00::3 53'], proto: 17 };

function subtest(name: string, run: (t: Test) => Promise<void> | void): void {
  t.test(name, async (t) => {
    t.setTimeout(slowly(60_000));
    tables.clear();
    await run(t);
  });
}

/** What the kernel really can not do need not work. */
function lacks(t: Test, name: FeatureName): boolean {
  const { available, why } = feature(name);
  if (!available) t.pass(`this kernel has no ${name}: ${why}`);
  return !available;
}

const slots = (flows: Iterable<{ slot: number }>): number[] => [...flows].map(({ slot }) => slot);

for (const [mode, disable, needs] of [
  ['mmap', '', 'mmap'],
  ['batch', 'mmap', 'batch'],
  ['single', 'mmap,batch', undefined],
] as const) {
  subtest(`flows are listed and counted, read by ${mode}`, (t) => {
    const before = process.env.LIBBPF_TS_DISABLE;
    if (needs && lacks(t, needs)) return;
    process.env.LIBBPF_TS_DISABLE = disable;
    t.teardown(() => {
      if (before === undefined) delete process.env.LIBBPF_TS_DISABLE;
      else process.env.LIBBPF_TS_DISABLE = before;
    });
    tables.put(0, masqueraded(0, { mark: 1 }));
    tables.put(4095, masqueraded(1, { secondsLeft: -0.1, mark: 2 }));
    tables.put(4096, masqueraded(2, { mark: 3 }));
    tables.put(FLOWS4 - 1, masqueraded(3, { mark: 4 }));
    tables.put(FLOWS6 - 1, { ...PLAIN6, mark: 5 });

    const reader = new SlotReader(datapath.maps, 4);
    t.equal(reader.mode, mode);
    t.equal(reader.countHeld(), 4, 'the expired one as well');
    t.same(slots(table.flows()), [0, 4096, FLOWS4 - 1, FLOWS6 - 1], 'no expired one, IPv4 first');
    t.same(
      [...table.flows()].map(({ mark }) => mark),
      [1, 3, 4, 5],
      "each with its own slot's extra",
    );
    t.equal(new SlotReader(datapath.maps, 4).get(4095).mark, 2);
    t.equal(table.count(), 4);
    t.equal(table.count(parseFilter({ src: '10.0.0.2' })), 1);
    t.equal(table.count(parseFilter({ family: 'ipv6' })), 1);
    t.match([...table.flows(parseFilter({ dport: '53' }))], [{ proto: 'udp', original: { src: 'fd00::2' } }]);
    t.same(
      [...new SlotReader(datapath.maps, 4).generations()].filter((gen) => gen > 0),
      [1, 2, 3],
    );
  });
}

subtest('interfaces have the name that they were attached by, the one they have now, or a number', (t) => {
  datapath.maps.ifaces.set(7000, iface('wan0', {}));
  tables.put(0, masqueraded(0, { ifindex: 7000 }));
  tables.put(1, masqueraded(1, { ifindex: 1 }));
  tables.put(2, masqueraded(2, { ifindex: 7001 }));

  t.same(
    [...new FlowTable(datapath).flows()].map(({ iface }) => iface),
    ['wan0', 'lo', 'if7001'],
  );
  t.same(slots(new FlowTable(datapath).flows(parseFilter({ iface: 'wan0' }))), [0]);
});

subtest('delete tears down what matches, with its keys, and counts what it has torn down', (t) => {
  for (let i = 0; i < 100; i++) tables.put(i, masqueraded(i));
  tables.put(100, masqueraded(5000, { original: ['10.1.0.1 1', '192.0.2.9 80'], secondsLeft: -0.1 }));
  tables.put(9, PLAIN6);

  t.equal(table.delete(parseFilter({ src: '10.0.0.0/27' })), 32);
  t.equal(table.delete(parseFilter({ src: '10.0.0.0/27' })), 0);
  t.equal(table.delete(parseFilter({ src: '10.1.0.0/16' })), 0, 'an expired flow matches nothing');
  t.equal(table.count(), 69);
  t.equal(countKeys(datapath.maps, 4), (100 - 32 + 1) * 2);
  t.equal(table.delete(parseFilter({ family: 'ipv6' })), 1);
  t.equal(countKeys(datapath.maps, 6), 0);
  t.same(verifyTables(datapath), []);
});

subtest('a flow is not torn down for one that had its slot before', (t) => {
  tables.put(3, masqueraded(3));

  t.notOk(sweeper.deleteOne(4, 3, 2), 'another generation');
  t.notOk(sweeper.deleteOne(4, 4, 3), 'a free slot');
  t.equal(table.count(), 1);
  t.ok(sweeper.deleteOne(4, 3, 3));
  t.notOk(sweeper.deleteOne(4, 3, 3), 'only once');
  t.equal(table.count(), 0);
});

subtest('flush empties both tables', (t) => {
  for (let i = 0; i < FLOWS4; i++) tables.put(i, masqueraded(i));
  for (let i = 0; i < 10; i++) tables.put(i, { ...PLAIN6, original: [`fd00::2 ${i}`, 'fd00::3 53'] });

  t.equal(table.flush(), FLOWS4 + 10);
  t.equal(table.count(), 0);
  t.equal(countKeys(datapath.maps, 4) + countKeys(datapath.maps, 6), 0);
  t.equal(table.flush(), 0);
});

subtest('mappings are listed and flushed with their flows', (t) => {
  const nat = new NatTable(datapath);
  tables.put(0, masqueraded(0));
  tables.put(1, masqueraded(1));
  tables.put(2, { original: ['10.0.0.1 1', '10.0.0.9 2'] });

  t.match(
    [...nat.mappings(parseFilter({ sport: '40000', src: '10.0.0.1' }))],
    [
      {
        type: 'masquerade',
        internal: { address: '10.0.0.1', port: 40000 },
        external: { address: '198.51.100.1', port: 1025 },
        remote: { address: '192.0.2.9', port: 80 },
        flows: 1,
      },
    ],
  );
  t.equal([...nat.mappings()].length, 2, 'an untranslated flow is none');
  t.equal(nat.flush(parseFilter({ src: '10.0.0.0' })), 1);
  t.equal(nat.flush(), 1);
  t.same(slots(table.flows()), [2], 'the untranslated flow goes on');
});

subtest('a sweep counts exactly what it looked at, found alive and deleted', (t) => {
  for (let i = 0; i < 300; i++) tables.put(i, masqueraded(i, { secondsLeft: -5 }));
  for (let i = 300; i < 400; i++) tables.put(i, masqueraded(i, { secondsLeft: 60 }));
  tables.put(FLOWS4 - 1, masqueraded(400, { secondsLeft: -0.1 }));
  tables.put(5, { ...PLAIN6, secondsLeft: -5 });

  const { maps, durationMs } = sweeper.sweep();

  t.strictSame(maps, [
    // the one that has just expired is not matched, but not swept either: a packet may be on its way
    { name: 'flows4', looked: FLOWS4, live: 101, deleted: 300 },
    { name: 'flows6', looked: FLOWS6, live: 0, deleted: 1 },
  ]);
  t.ok(durationMs > 0);
  t.equal(table.count(), 100);
  t.same(verifyTables(datapath), []);
});

subtest('status tells the used slots of each family, expired ones too', async (t) => {
  tables.put(7, masqueraded(0));
  tables.put(8, masqueraded(1, { secondsLeft: -5 }));
  tables.put(9, masqueraded(2));
  tables.put(5, PLAIN6);
  const entries = Object.fromEntries(
    status(datapath.pinPath).maps.map(({ name, entries }) => [name, entries]),
  );
  t.match(entries, { flows4: 3, extras4: 3, flows6: 1, extras6: 1 });
});

subtest('flows are counted exactly though signals interrupt the runs', async (t) => {
  let signals = 0;
  const listener = () => {
    signals++;
  };
  process.on('SIGUSR2', listener);
  t.teardown(() => process.off('SIGUSR2', listener));
  const sender = await tables.traffic('signal', process.pid);

  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < FLOWS4; i++) tables.put(i, masqueraded(i, { secondsLeft: -5 }));
    t.match(sweeper.sweep().maps[0], { looked: FLOWS4, live: 0, deleted: FLOWS4 });
    await elapse(0); // signals are told to JavaScript between two turns
  }

  await sender.stop();
  t.ok(signals > 0, `${signals} signals`);
});

subtest('flows that stay are listed exactly once while others come and go', async (t) => {
  const STAYING = 500;
  for (let i = 0; i < STAYING; i++) tables.put(FLOWS4 - 1 - i * 16, masqueraded(i));
  const traffic = await tables.traffic('create');

  const began = performance.now();
  let others = 0;
  let wrong = 0;
  for (let pass = 0; pass < 20 || performance.now() - began < 1000 * SLOW; pass++) {
    const seen = new Set<number>();
    let twice = 0;
    for (const { slot, original, reply } of table.flows()) {
      if (original.dport === 53) {
        others++;
        if (original.src !== '10.0.0.2' || reply.dst !== '198.51.100.1' || reply.sport !== 53) wrong++;
      } else if (seen.has(slot)) twice++;
      else seen.add(slot);
    }
    if (seen.size !== STAYING || twice > 0) t.fail(`pass ${pass}: ${seen.size} flows, ${twice} twice`);
  }
  await traffic.stop();

  const did = JSON.parse(traffic.output.split('\n').at(-2)!) as { created: number; deleted: number };
  t.ok(others > 0, `${others} flows seen that came and went, ${did.created} created, ${did.deleted} deleted`);
  t.equal(wrong, 0, 'each as it was made');
  t.equal(table.count(), STAYING);
  t.same(verifyTables(datapath), [], 'no half of a pair is left');
});

subtest('no line mixes two flows of one slot', async (t) => {
  if (lacks(t, 'mmap')) return;
  const REWRITTEN = 16;
  const TUPLES = FLOW4.offset.tuple / 4; // the word of the first address; the last one's is five behind
  for (let i = 0; i < REWRITTEN; i++) tables.put(i, masqueraded(i));
  const traffic = await tables.traffic('rewrite', 0, REWRITTEN);

  const began = performance.now();
  let listed = 0;
  const mixed: string[] = [];
  const reader = new SlotReader(datapath.maps, 4);
  while (performance.now() - began < 1000 * SLOW) {
    for (const raw of reader.used()) {
      const { gen, mark, words } = raw;
      const [from, to] = [words[TUPLES]!, words[TUPLES + 5]!];
      listed++;
      // a slot that was not rewritten yet has the addresses that it was put in with
      if (mark !== 0 && (mark !== gen || from !== gen || to !== gen))
        mixed.push(`${gen} ${mark} ${from} ${to}`);
    }
  }
  await traffic.stop();

  t.ok(listed > 100, `${listed} flows read`);
  t.same(mixed.slice(0, 3), [], `${mixed.length} mixed`);
});

subtest('a sweep never deletes a flow that was prolonged meanwhile', async (t) => {
  if (lacks(t, 'mmap')) return;
  const PROLONGED = 2000;
  /** Where the other process is kept waiting, its packets are too late for all flows at once: then it is tried again. */
  const ROUNDS = 10;
  let late = PROLONGED;
  for (let round = 0; late === PROLONGED && round < ROUNDS; round++) {
    tables.clear();
    // these live until the other process has begun, which cuts their lives short and prolongs them
    for (let i = 0; i < PROLONGED; i++) tables.put(i, masqueraded(i, { secondsLeft: slowly(60) }));
    for (let i = PROLONGED; i < 2 * PROLONGED; i++) tables.put(i, masqueraded(i, { secondsLeft: 0.4 }));
    const traffic = await tables.traffic('prolong', 0, PROLONGED);

    const began = performance.now();
    let deleted = 0;
    let sweeps = 0;
    while (performance.now() - began < 4000 * SLOW) {
      deleted += sweeper.sweep().maps[0]!.deleted;
      sweeps++;
      await elapse(1);
    }
    const alive = new Set<number>();
    for (const { slot } of new SlotReader(datapath.maps, 4).used()) alive.add(slot);
    await traffic.stop();

    const did = JSON.parse(traffic.output.split('\n').at(-2)!) as { prolonged: number; late: number[] };
    const lost = Array.from({ length: PROLONGED }, (_, i) => i).filter(
      (i) => !alive.has(i) && !did.late.includes(i),
    );
    late = did.late.length;
    t.same(lost, [], `${did.prolonged} times prolonged, ${late} too late, ${sweeps} sweeps`);
    t.ok(did.prolonged > 0, 'some were prolonged');
    t.ok(deleted >= PROLONGED, 'those that nobody prolonged are gone');
  }
  t.ok(late < PROLONGED, 'not all of them too late');
});

subtest('half pairs are found, and repaired by the second pass', (t) => {
  const repair = new TableRepair();
  const pass = () => {
    const steps = repair.steps(datapath);
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
    }
  };
  for (let i = 0; i < 10; i++) tables.put(i, masqueraded(i));
  tables.put(3, PLAIN6);
  t.same(verifyTables(datapath), []);
  t.same(
    [pass(), pass()],
    [
      { keys: 0, flows: 0 },
      { keys: 0, flows: 0 },
    ],
  );

  // slot 1's flow is gone, its keys are not; slot 2's flow has lost the one for replies
  datapath.maps.flows4.set(1, {
    ...datapath.maps.flows4.get(1)!,
    head: { ...datapath.maps.flows4.get(1)!.head, status: 0, gen: 2 },
  });
  forgetKeys(datapath.maps, 4, ({ slot, form }) => slot === 2 && (form & TupleForm.REPLY) !== 0);

  t.equal(verifyTables(datapath).length, 3);
  t.match(verifyTables(datapath).sort(), [
    /^flow in slot 2 .*198\.51\.100\.1 1026.* is missing/,
    /^key .*generation 2/,
    /^key /,
  ]);
  t.same(pass(), { keys: 0, flows: 0 }, 'one pass only suspects');
  t.equal(table.count(), 10);
  t.same(pass(), { keys: 2, flows: 1 });
  t.same(verifyTables(datapath), []);
  t.equal(table.count(), 9);
  t.same(pass(), { keys: 0, flows: 0 });
});

subtest('a flow that was made since the last pass is not taken for a stale key of its slot', (t) => {
  const repair = new TableRepair();
  const pass = () => {
    const steps = repair.steps(datapath);
    let step = steps.next();
    while (!step.done) {
      // between reading the generations and the keys, slot 0 changes hands, each time with the same tuples
      sweeper.deleteOne(4, 0, gen);
      gen++;
      tables.put(0, masqueraded(0, { gen }));
      step = steps.next();
    }
    return step.value;
  };
  let gen = 7;
  tables.put(0, masqueraded(0, { gen }));

  t.same([pass(), pass(), pass()], Array(3).fill({ keys: 0, flows: 0 }));
  t.same(verifyTables(datapath), []);
});

subtest('repair leaves traffic alone', async (t) => {
  const repair = new TableRepair();
  const traffic = await tables.traffic('create');
  const began = performance.now();
  let passes = 0;
  const repaired = { keys: 0, flows: 0 };
  while (passes < 20 || performance.now() - began < 1000 * SLOW) {
    const steps = repair.steps(datapath);
    let step = steps.next();
    while (!step.done) step = steps.next();
    repaired.keys += step.value.keys;
    repaired.flows += step.value.flows;
    passes++;
    await elapse(0);
  }
  await traffic.stop();

  t.same(repaired, { keys: 0, flows: 0 }, `${passes} passes`);
  t.same(verifyTables(datapath), []);
});

subtest('metrics name every reason in both directions, summed over the CPUs', (t) => {
  const cpus = datapath.maps.metrics.getPerCpu(0)!.length;
  const index = Reason.DROP_NO_PORT * HookDir.DIR_COUNT + HookDir.EGRESS;
  datapath.maps.metrics.setPerCpu(index, Array(cpus).fill({ packets: 3n, bytes: 2n ** 40n }));

  const metrics = readMetrics(datapath);

  t.equal(metrics.length, (Object.keys(Reason).length - 2) * 2, 'each reason twice, bounds are none');
  t.match(
    metrics.filter(({ reason }) => reason === 'drop_no_port'),
    [
      { direction: 'ingress', packets: 0, bytes: 0 },
      { direction: 'egress', packets: 3 * cpus, bytes: 2 ** 40 * cpus },
    ],
  );
  t.ok(metrics.some(({ reason }) => reason === 'forwarded'));
  t.equal(new Set(metrics.map(({ reason, direction }) => reason + direction)).size, metrics.length);
});

subtest('retries are a histogram, and what found nothing', (t) => {
  const cpus = datapath.maps.nat_retries.getPerCpu(0)!.length;
  for (const [i, value] of [
    [0, 5n],
    [32, 1n],
    [33, 2n],
  ] as const) {
    datapath.maps.nat_retries.setPerCpu(i, Array(cpus).fill(value));
  }

  const { retries, refused } = readRetries(datapath);

  t.equal(retries.length, 33);
  t.equal(retries[0], 5 * cpus);
  t.equal(retries[32], cpus);
  t.equal(refused, 2 * cpus);
});

subtest('a flow costs at most 320 bytes of kernel memory, both directions and its translation', (t) => {
  const { flows4, flows6, extras4, extras6, tuples4, tuples6, tuple_index, hints } = datapath.maps;
  const both = tuple_index.map.memoryBytes() + hints.map.memoryBytes();
  const all = flows4.map.maxEntries + flows6.map.maxEntries;
  for (const [family, flows, extras, tuples] of [
    [4, flows4.map, extras4.map, tuples4.map],
    [6, flows6.map, extras6.map, tuples6.map],
  ] as const) {
    // two keys a flow
    const bytes = flows.memoryBytes() + extras.memoryBytes() + tuples.memoryBytes();
    const each = bytes / flows.maxEntries + both / all;
    t.ok(each > (family === 4 ? 136 : 184) + 16, `IPv${family}: the kernel counts what is allocated`);
    // without compare-and-swap a key takes 112 bytes of a hash map (docs/decisions/0017)
    const most = family === 4 || tuple_index.map.maxEntries > 1 ? 320 : 416;
    t.ok(each <= most, `IPv${family}: ${each.toFixed(2)} bytes a flow`);
  }
});
