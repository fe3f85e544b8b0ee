// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Flows that userspace makes and changes, over real maps: their keys, whom they give way to, and what becomes of
// them while other CPUs do the same.
import t, { type Test } from 'tap';
import { parseAddress } from '../../src/address.js';
import { FlowTable } from '../../src/flow-table.js';
import { CtStatus } from '../../src/generated/layouts.gen.js';
import { KernelFlowEditor } from '../../src/kernel-flow-editor.js';
import { LabelTable } from '../../src/label-table.js';
import { Sweeper } from '../../src/sweeper.js';
import { verifyTables } from '../../src/table-check.js';
import { countKeys } from '../helpers/tables/keys.js';
import { newFlow } from '../helpers/tables/new-flow.js';
import { Tables } from '../helpers/tables/tables-fixture.js';
import { SLOW, slowly } from '../helpers/wait.js';

const FLOWS4 = 4096;

t.setTimeout(slowly(180_000));
const tables = await Tables.load(t, FLOWS4, 1024);
const { datapath } = tables;
const table = new FlowTable(datapath);
const editor = new KernelFlowEditor(datapath);

function subtest(name: string, run: (t: Test) => Promise<void> | void): void {
  t.test(name, async (t) => {
    t.setTimeout(slowly(90_000));
    tables.clear();
    datapath.maps.labels.clear();
    await run(t);
    t.same(verifyTables(datapath), [], 'both or neither');
  });
}

const WAN = parseAddress('198.51.100.1');
const SNAT = { reply: { dst: WAN, dport: 50_000 } };

subtest('a flow that is made stands under its keys and is found by both tuples', (t) => {
  const flow = newFlow(1, SNAT);
  t.equal(editor.insert(flow), 'inserted');

  const [made] = [...table.flows()];
  t.match(made, {
    status: ['SRC_NAT'],
    natType: 'snat',
    iface: '',
    original: { sport: 40_000 },
    reply: { dport: 50_000 },
  });
  t.ok(made!.timeout >= 99 && made!.timeout <= 100);
  t.match(editor.find(flow.original), { slot: made!.slot });
  t.match(editor.find({ ...flow.original, ...flow.reply }), { slot: made!.slot });
  const { src, dst, sport, dport } = flow.original;
  t.equal(
    editor.find({ ...flow.original, src: dst, dst: src, sport: dport, dport: sport }),
    undefined,
    'turned round',
  );
});

subtest('each kind of translation has its keys', (t) => {
  t.equal(editor.insert(newFlow(1)), 'inserted');
  t.equal(editor.insert(newFlow(2, SNAT)), 'inserted');
  t.equal(editor.insert(newFlow(3, { reply: { src: parseAddress('10.9.9.9'), sport: 5353 } })), 'inserted');
  t.equal(editor.insert(newFlow(4, { reply: { src: parseAddress('10.9.9.9'), dst: WAN } })), 'inserted');
  const ping = { protonum: 1, icmpType: 8, sport: 77, dport: 77 };
  t.equal(editor.insert(newFlow(5, { original: ping, reply: { dst: WAN } })), 'inserted');
  const six = { src: parseAddress('fd00::2'), dst: parseAddress('2001:db8::9') };
  t.equal(
    editor.insert(newFlow(6, { original: six, reply: { dst: parseAddress('2001:db8::1') } })),
    'inserted',
  );

  t.equal(countKeys(datapath.maps, 4), 1 + 2 + 2 + 3 + 2);
  t.equal(countKeys(datapath.maps, 6), 2);
  const types = [...table.flows()].map(({ original, natType }) => `${original.src} ${natType}`).sort();
  t.same(types, [
    '10.0.0.1 none',
    '10.0.0.2 snat',
    '10.0.0.3 dnat',
    '10.0.0.4 snat',
    '10.0.0.5 snat',
    'fd00::2 snat',
  ]);
});

subtest('a tuple that is taken is not made twice, and nothing is left of the try', (t) => {
  editor.insert(newFlow(1, SNAT));

  t.equal(editor.insert(newFlow(1, SNAT)), 'exists', 'both');
  t.equal(editor.insert(newFlow(1, { reply: { dst: WAN, dport: 50_001 } })), 'exists', 'the original');
  t.equal(editor.insert(newFlow(2, SNAT)), 'exists', 'the outside port');
  t.equal(editor.insert(newFlow(2, { ...SNAT, anyPort: true })), 'inserted', 'another port will do');
  t.equal(editor.insert(newFlow(1, { ...SNAT, anyPort: true })), 'exists', 'no port helps the original');
  t.equal(countKeys(datapath.maps, 4), 4);
});

subtest('the same addresses in another zone are another flow', (t) => {
  editor.insert(newFlow(1));
  t.equal(editor.insert(newFlow(1, { original: { zone: 5 } })), 'inserted');
  t.match(editor.find(newFlow(1, { original: { zone: 5 } }).original), { zone: 5 });
});

subtest('an expired flow gives way to the one that is made', (t) => {
  tables.put(7, { original: ['10.0.0.1 40000', '192.0.2.9 53'], proto: 17, secondsLeft: -0.1 });
  t.equal(editor.insert(newFlow(1)), 'inserted');
  t.equal(table.count(), 1);
});

subtest('a full table takes no more, and what has ended makes room', (t) => {
  const results = Array.from({ length: FLOWS4 + 1 }, (_, i) => editor.insert(newFlow(i)));

  t.equal(results.filter((result) => result === 'inserted').length, FLOWS4);
  t.equal(results.at(-1), 'full');
  t.ok(editor.delete([...table.flows()][99]!));
  t.equal(editor.insert(newFlow(FLOWS4)), 'inserted');
});

subtest('a change is of the flow that was meant', (t) => {
  editor.insert(newFlow(1, { mark: 0xff }));
  const [flow] = [...table.flows()];

  t.match(editor.update(flow!, { mark: { value: 0x10, mask: 0xf0 } }), { mark: 0x1f });
  t.match(editor.update(flow!, { status: CtStatus.ASSURED }), { status: ['ASSURED'], mark: 0x1f });
  t.match(editor.update(flow!, { timeout: 5000 }), { timeout: 5000 });
  editor.delete(flow!);
  t.equal(editor.update(flow!, { mark: { value: 1, mask: 1 } }), undefined, 'it is gone');
  editor.insert(newFlow(2));
  tables.put(flow!.slot, { original: ['10.8.0.1 1', '10.8.0.2 2'], proto: 17, gen: flow!.gen + 1, mark: 3 });
  t.equal(editor.update(flow!, { mark: { value: 1, mask: 0xff } }), undefined, 'the slot has another one');
  t.match(
    [...table.flows()].find(({ slot }) => slot === flow!.slot),
    { mark: 3 },
  );
});

subtest('a state is of TCP or of nothing', (t) => {
  const tcp = { original: { protonum: 6 } };
  t.equal(editor.insert(newFlow(1, { ...tcp, state: 'ESTABLISHED' })), 'inserted');
  t.equal(editor.insert(newFlow(2, { ...tcp, state: 'COOKIE_WAIT' })), 'invalid');
  const [flow] = [...table.flows()];
  t.match(editor.update(flow!, { state: 'CLOSE' }), { state: 'CLOSE' });
});

subtest('counters begin anew with what came after they were read', (t) => {
  tables.put(3, { original: ['10.0.0.1 1', '10.0.0.2 2'], proto: 17, packets: [10, 5], bytes: [1000, 500] });
  const [flow] = [...table.flows()];
  const later = datapath.maps.flows4.get(3)!;
  const [, original] = later.head.counts;
  original!.packets += 1n;
  original!.bytes += 60n;
  datapath.maps.flows4.set(3, later);

  editor.zero(flow!);

  t.match([...table.flows()], [{ original: { packets: 1, bytes: 60 }, reply: { packets: 0, bytes: 0 } }]);
});

subtest('labels are of one flow, and the sweep forgets those of flows that are gone', (t) => {
  const high = (1n << 127n) | 1n;
  editor.insert(newFlow(1, { labels: high }));
  editor.insert(newFlow(2));
  const [first, second] = [...table.flows()].sort((a, b) => (a.original.src < b.original.src ? -1 : 1));
  t.equal(editor.labelsOf(first!), high);
  t.equal(editor.labelsOf(second!), 0n);
  editor.update(second!, { labels: 6n });
  t.equal(editor.labelsOf(second!), 6n);
  editor.update(second!, { labels: 0n });
  t.equal(datapath.maps.labels.count(), 1);

  editor.delete(first!);
  t.equal(editor.labelsOf({ ...first!, gen: (first!.gen + 1) & 0xffff }), 0n, 'the next one has none');
  t.match(new Sweeper(datapath).sweep().maps.at(-1), { name: 'labels', looked: 1, live: 0, deleted: 1 });
  t.equal(datapath.maps.labels.count(), 0);
  t.same(new LabelTable(datapath).sweep(), { name: 'labels', looked: 0, live: 0, deleted: 0 });
});

subtest('two that make the same flows make each once', async (t) => {
  const count = 2000;
  const others = await Promise.all([tables.traffic('insert', 0, count), tables.traffic('insert', 0, count)]);
  await Promise.all(others.map((other) => other.printed(/all tried/, 60_000)));
  await Promise.all(others.map((other) => other.stop()));
  const did = others.map(
    (other) => JSON.parse(other.output.trim().split('\n').at(-1)!) as Record<string, number>,
  );

  t.equal(table.count(), count);
  t.equal(
    did.reduce((sum, { inserted }) => sum + inserted!, 0),
    count,
    JSON.stringify(did),
  );
});

subtest('a status bit stays although packets set their own at the same time', async (t) => {
  for (let i = 0; i < 50; i++)
    tables.put(i, { original: [`10.0.0.${i} 1`, '10.1.0.1 2'], proto: 17, secondsLeft: 500 });
  const traffic = await tables.traffic('status', 0, 50);
  for (let round = 0; round < Math.ceil(200 / SLOW); round++) {
    for (const flow of table.flows()) editor.update(flow, { status: CtStatus.ASSURED });
  }
  await traffic.stop();

  const lost = [...table.flows()].filter(({ status }) => !status.includes('ASSURED'));
  t.ok(lost.length <= 1, `${lost.length} lost it after the last look`);
});

subtest('the counts agree while flows come and go', async (t) => {
  const traffic = await tables.traffic('create');
  const lines = () =>
    [...table.flows()].map(({ original, reply }) =>
      JSON.stringify([original.src, original.sport, reply.dst, reply.dport]),
    );
  for (let i = 0; i < 30; i++) {
    const shown = lines();
    t.equal(new Set(shown).size, shown.length, 'no flow is shown twice');
  }
  await traffic.stop();

  const shown = lines();
  t.equal(shown.length, table.count());
  t.equal(new Set(shown).size, shown.length);
});
