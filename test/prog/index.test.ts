// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The index (bpf/index.h): rows without room, whose keys go into the tuple maps, and keys that are somebody's. All keys
// have one row in common here. Two CPUs that want one at once: race.test.ts.
import { type IndexCell, Layout, maps, SweepMode } from '../../src/generated/layouts.gen.js';
import { sweepFlows } from '../helpers/datapath/control.js';
import { isCompiledWith } from '../helpers/datapath/load.js';
import { samePacket, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { bytes, CLIENT, frame, frame6, ROUTER_WAN, SERVER, udp } from '../helpers/packet.js';

const FAMILIES = [
  { family: 4, build: frame },
  { family: 6, build: frame6 },
] as const;
type Family = (typeof FAMILIES)[number];

const CELLS = 7;
const FLOWS = 100;
const PORT = 40_000;

const query = ({ build }: Family, port: number) =>
  build(CLIENT, SERVER, udp({ sport: port, dport: 53 }), bytes(9));
const left = ({ build }: Family, port: number) =>
  build(ROUTER_WAN, SERVER, udp({ sport: port, dport: 53 }), bytes(9));
const answer = ({ build }: Family, port: number) =>
  build(SERVER, ROUTER_WAN, udp({ sport: 53, dport: port }), bytes(9));
const answered = ({ build }: Family, port: number) =>
  build(SERVER, CLIENT, udp({ sport: 53, dport: port }), bytes(9));

/** One row for all keys. @returns false where no atomic operation says what was there before it, and no row is read */
function oneRow(datapath: Datapath): boolean {
  datapath.configure();
  const heads = datapath.map(maps.index_head);
  const head = heads.get(0)!;
  if (head.rows > 0) heads.set(0, { ...head, rows: 1 });
  return head.rows > 0;
}

/** All rows again. */
function allRows(datapath: Datapath): void {
  const heads = datapath.map(maps.index_head);
  heads.set(0, { ...heads.get(0)!, rows: [...datapath.map(maps.tuple_index).keys()].length });
}

const row = (datapath: Datapath) => datapath.map(maps.tuple_index).get(0)!;

function setCells(datapath: Datapath, cells: IndexCell[], spilled = 0): void {
  datapath.map(maps.tuple_index).set(0, { lock: { val: 0 }, spilled, cells });
}

/** Keys in the tuple maps, as the row has counted them. */
const spilled = (datapath: Datapath) => row(datapath).spilled & Layout.SPILLED_MASK;

function inTupleMap(datapath: Datapath, { family }: Family): number {
  return (family === 4 ? datapath.map(maps.tuples4) : datapath.map(maps.tuples6)).count();
}

withDatapath(async (t, datapath) => {
  const flowsOf = ({ family }: Family) => (family === 4 ? datapath.flows(4) : datapath.flows(6));
  if (!oneRow(datapath)) {
    t.notOk(isCompiledWith(datapath.flavour, 'CTNAT_FETCH'), 'keys are in the tuple maps before 5.12 only');
    return;
  }
  t.teardown(() => allRows(datapath));

  for (const each of FAMILIES) {
    await t.test(`IPv${each.family}: what finds no room in its row is in the tuple map`, async (t) => {
      oneRow(datapath);
      for (let port = PORT; port < PORT + FLOWS; port++) {
        samePacket(t, walk(datapath, 'out', query(each, port)).packet, left(each, port), `query ${port}`);
      }
      t.equal(datapath.keys(each.family), 2 * FLOWS, 'each flow has its two keys');
      t.equal(inTupleMap(datapath, each), 2 * FLOWS - CELLS);
      t.equal(spilled(datapath), 2 * FLOWS - CELLS, 'and the row knows how many it misses');
      for (let port = PORT; port < PORT + FLOWS; port++) {
        samePacket(
          t,
          walk(datapath, 'back', answer(each, port)).packet,
          answered(each, port),
          `answer ${port}`,
        );
        samePacket(t, walk(datapath, 'out', query(each, port)).packet, left(each, port), `again ${port}`);
      }
      t.equal(flowsOf(each).length, FLOWS, 'none was begun twice');
      t.strictSame(datapath.reasons().drop_race, undefined);

      t.equal(sweepFlows(datapath, each.family, SweepMode.ALL), FLOWS);
      t.equal(datapath.keys(each.family), 0);
      const { cells } = row(datapath);
      t.strictSame(
        [spilled(datapath), ...cells.map(({ tag }) => tag)],
        [0, ...Array<bigint>(CELLS).fill(0n)],
      );
    });

    await t.test(
      `IPv${each.family}: where neither row nor map has room, a flow leaves nothing behind`,
      async (t) => {
        oneRow(datapath);
        const { map } = each.family === 4 ? datapath.map(maps.tuples4) : datapath.map(maps.tuples6);
        const room = CELLS + map.maxEntries;
        let flows = 0;
        while (walk(datapath, 'out', query(each, PORT + flows)).verdict === 'pass' && flows < room) flows++;
        for (let i = 1; i < 5; i++)
          t.equal(walk(datapath, 'out', query(each, PORT + flows + i)).verdict, 'drop');
        t.match(datapath.reasons(), { 'DROP_TUPLE_MAP egress': 5 });
        t.equal(flows, Math.floor(room / 2));
        t.equal(datapath.keys(each.family), 2 * flows);
        t.equal(flowsOf(each).length, flows);
        t.equal(spilled(datapath), 2 * flows - CELLS);
        samePacket(
          t,
          walk(datapath, 'back', answer(each, PORT)).packet,
          answered(each, PORT),
          'the others go on',
        );

        t.equal(sweepFlows(datapath, each.family, SweepMode.ONE, flowsOf(each)[0]!.slot), 1);
        const last = PORT + flows;
        samePacket(
          t,
          walk(datapath, 'out', query(each, last)).packet,
          left(each, last),
          'there is room again',
        );
      },
    );

    await t.test(`IPv${each.family}: a cell that becomes free is taken before the map`, async (t) => {
      oneRow(datapath);
      for (let port = PORT; port < PORT + 4; port++) walk(datapath, 'out', query(each, port));
      t.equal(inTupleMap(datapath, each), 1);
      t.equal(sweepFlows(datapath, each.family, SweepMode.ONE, flowsOf(each)[0]!.slot), 1);
      walk(datapath, 'out', query(each, PORT + 9));
      t.equal(inTupleMap(datapath, each), 1);
      t.equal(spilled(datapath), 1);
    });

    await t.test(`IPv${each.family}: nobody takes a key that is another flow's`, async (t) => {
      // one whose slot has been used since, as of a flow that another CPU is just ending
      const ref = (0x99n << 32n) | (1n << 48n) | (each.family === 6 ? 1n << 56n : 0n);
      for (const which of [0, CELLS - 1]) {
        oneRow(datapath);
        walk(datapath, 'out', query(each, PORT));
        const tags = row(datapath).cells.map(({ tag }) => tag);
        for (const tag of tags.filter((tag) => tag !== 0n)) {
          oneRow(datapath);
          setCells(
            datapath,
            Array.from({ length: CELLS }, (_, i) => ({ tag: i === which ? tag : 0n, ref })),
          );
          const { verdict, packet } = walk(datapath, 'out', query(each, PORT));
          // the outside port: another one; the tuple as it came: the packet is lost
          if (verdict === 'pass') t.notSame(packet, left(each, PORT));
          const now = row(datapath).cells;
          t.equal(now.filter((cell) => cell.tag === tag).length, 1, 'the tag is there once');
          t.strictSame(now[which], { tag, ref }, 'and is who came first');
          t.equal(now.filter((cell) => cell.tag !== 0n).length, datapath.keys(each.family));
          setCells(
            datapath,
            now.map((cell, i) => (i === which ? { tag: 0n, ref: 0n } : cell)),
          );
          if (verdict === 'drop')
            samePacket(
              t,
              walk(datapath, 'out', query(each, PORT)).packet,
              left(each, PORT),
              'then it is free',
            );
        }
      }
    });

    await t.test(
      `IPv${each.family}: nobody waits for a CPU that has counted a key and not yet put it into the map`,
      async (t) => {
        oneRow(datapath);
        const cells = Array.from({ length: CELLS }, () => ({ tag: 0n, ref: 0n }));
        setCells(datapath, cells, 3 * Layout.SPILLED_COME + 1);
        for (let port = PORT; port < PORT + 4; port++) {
          samePacket(t, walk(datapath, 'out', query(each, port)).packet, left(each, port), `query ${port}`);
          samePacket(
            t,
            walk(datapath, 'back', answer(each, port)).packet,
            answered(each, port),
            `answer ${port}`,
          );
        }
        t.strictSame([inTupleMap(datapath, each), spilled(datapath)], [1, 2]);
        t.equal(sweepFlows(datapath, each.family, SweepMode.ALL), 4);
        t.strictSame([inTupleMap(datapath, each), spilled(datapath)], [0, 1]);
      },
    );

    await t.test(`IPv${each.family}: another key of the same row and place is not this one`, async (t) => {
      oneRow(datapath);
      walk(datapath, 'out', query(each, PORT));
      const { cells } = row(datapath);
      setCells(
        datapath,
        cells.map(({ tag, ref }: IndexCell) => ({ tag: tag && tag ^ (1n << 63n), ref })),
      );
      t.equal(
        walk(datapath, 'in', answer(each, PORT)).packet.compare(answer(each, PORT)),
        0,
        'it is nobody’s',
      );
    });
  }
});
