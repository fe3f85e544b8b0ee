// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Hints (bpf/hint.h) and homes (bpf/home.h): they are followed, and believed only of a slot that has just the packet's
// flow. A flow of the client is known by its key; another slot looks as if it had it, too, with another outside port,
// and every hint leads there, or it is the flow's home.
import type { Test } from 'tap';
import { CtStatus, FlowFlags, FlowLock, maps, SettingsFlags } from '../../src/generated/layouts.gen.js';
import { isCompiledWith } from '../helpers/datapath/load.js';
import { nowTicks, secondsToTicks } from '../helpers/datapath/settings.js';
import { samePacket, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { bytes, CLIENT, frame, frame6, ROUTER_WAN, SERVER, udp } from '../helpers/packet.js';

const FAMILIES = [
  { family: 4, frame },
  { family: 6, frame: frame6 },
] as const;
type Family = (typeof FAMILIES)[number];

/**
 * As bpf/hint.h has it: bits of the key's hash above, then the slot, and below, where there are no homes, which tuple and
 * which way round.
 */
interface Layout {
  readonly tagShift: number;
  readonly slotShift: number;
}
const WITH_HOMES: Layout = { tagShift: 25, slotShift: 0 };
const WITHOUT_HOMES: Layout = { tagShift: 27, slotShift: 2 };
const layoutOf = ({ flavour }: Datapath): Layout =>
  isCompiledWith(flavour, 'CTNAT_FETCH') ? WITH_HOMES : WITHOUT_HOMES;

/** Outside ports of the flow, and of the slot that looks like it. */
const [OWN, OTHER] = [40000, 50000];
const HINTS_IN_ROW = 4;

const out = ({ frame }: Family): Buffer => frame(CLIENT, SERVER, udp({ sport: OWN, dport: 53 }), bytes(20));
const left = ({ frame }: Family, port: number): Buffer =>
  frame(ROUTER_WAN, SERVER, udp({ sport: port, dport: 53 }), bytes(20));
const back = ({ frame }: Family): Buffer =>
  frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: OWN }), bytes(20));

function flowsOf(datapath: Datapath, family: 4 | 6) {
  return family === 4 ? datapath.map(maps.flows4) : datapath.map(maps.flows6);
}

type Slot = NonNullable<ReturnType<ReturnType<typeof flowsOf>['get']>>;

/** One row for all keys, so that a test knows where the hint of its packet is. */
function oneRow(datapath: Datapath, flags = 0): void {
  const settings = datapath.map(maps.settings);
  const now = settings.get(0)!;
  settings.set(0, { ...now, flags: now.flags | flags, hintRows: 1 });
}

/** The slot of the flow from the client's port; undefined: there is none. */
function slotOf(datapath: Datapath, { family }: Family, sport = OWN): number | undefined {
  const flows = flowsOf(datapath, family);
  for (const slot of flows.keys()) {
    const { head, tuple } = flows.get(slot)!;
    if (head.status && tuple[0]!.sport === sport) return slot;
  }
  return undefined;
}

/** Where the flow goes that no other one was before: its home, on kernels that have any. */
function homeOf(datapath: Datapath, family: Family): number {
  datapath.configure();
  walk(datapath, 'out', out(family));
  return slotOf(datapath, family)!;
}

interface Talk {
  /** The flow's, which is not at home, nor where a hint of nothing but zeros leads. */
  readonly slot: number;
  /** Another free one. */
  readonly other: number;
  readonly home: number;
}

/** A UDP flow that was answered. */
function talk(datapath: Datapath, family: Family): Talk {
  const home = homeOf(datapath, family);
  datapath.configure();
  oneRow(datapath);
  const flows = flowsOf(datapath, family.family);
  const empty = structuredClone(flows.get(home)!);
  const taken = [...new Set([0, home])];
  for (const slot of taken) {
    const claimed = structuredClone(empty);
    claimed.head.lock = FlowLock.CLAIM;
    flows.set(slot, claimed as never);
  }
  walk(datapath, 'out', out(family));
  walk(datapath, 'back', back(family));
  for (const slot of taken) flows.set(slot, empty as never);
  const slot = slotOf(datapath, family)!;
  const other = [...flows.keys()].find((at) => at !== slot && !taken.includes(at))!;
  return { slot, other, home };
}

/** `at` looks as if it had the flow, with another outside port and what `change` says. */
function lookAlike(
  datapath: Datapath,
  { family }: Family,
  slot: number,
  at: number,
  change: (of: Slot) => void,
): void {
  const flows = flowsOf(datapath, family);
  const copy = structuredClone(flows.get(slot)!) as Slot;
  copy.tuple[1]!.dport = OTHER;
  copy.head.counts = copy.head.counts.map(() => ({ packets: 0n, bytes: 0n }));
  copy.head.status |= CtStatus.ASSURED; // else it becomes that two seconds later, by the long way, which knows no hints
  change(copy);
  flows.set(at, copy as never);
}

/** All hints that lead there, a row at a time; only one of them has the packet's tag and the right form. */
function* hintsTo({ tagShift, slotShift }: Layout, slot: number): Generator<number[]> {
  for (let form = 0; form < 1 << slotShift; form++)
    for (let tag = 0; tag < 1 << (32 - tagShift); tag += HINTS_IN_ROW)
      yield Array.from(
        { length: HINTS_IN_ROW },
        (_, i) => (((tag + i) << tagShift) | (slot << slotShift) | form) >>> 0,
      );
}

/** Whether a packet leaves by the other port. Else it leaves as the flow's do. */
function leavesByOther(t: Test, datapath: Datapath, family: Family, name: string): boolean {
  const { packet } = walk(datapath, 'out', out(family));
  if (Buffer.from(packet).equals(left(family, OTHER))) return true;
  samePacket(t, packet, left(family, OWN), name);
  return false;
}

/** How many of all hints that lead there were believed. */
function believed(t: Test, datapath: Datapath, family: Family, other: number, name: string): number {
  const hints = datapath.map(maps.hints);
  let count = 0;
  for (const row of hintsTo(layoutOf(datapath), other)) {
    hints.set(0, { hints: row });
    if (leavesByOther(t, datapath, family, name)) count++;
  }
  return count;
}

/** No hint at all. */
function forget(datapath: Datapath): void {
  datapath.map(maps.hints).set(0, { hints: Array<number>(HINTS_IN_ROW).fill(0) });
}

/** What a slot may be that is not the packet's flow, as the tuple map would say. */
const NOT_THE_FLOW: Record<string, (slot: Slot) => void> = {
  'free again': ({ head }) => {
    head.status = 0;
  },
  'not complete yet, or being torn down': ({ head }) => {
    head.lock += FlowLock.KILL;
  },
  'past its deadline': ({ head }) => {
    head.deadline = (nowTicks() - secondsToTicks(1)) >>> 0;
  },
  "a local socket's": ({ head }) => {
    head.flags |= FlowFlags.LOCAL_KEY;
  },
  'an endpoint': ({ head }) => {
    head.flags |= FlowFlags.ENDPOINT;
  },
  'of another protocol': ({ head }) => {
    head.proto = 6;
  },
  'of a zone': ({ head }) => {
    head.zone = 1;
  },
  'between a zone and none': ({ head }) => {
    head.flags |= FlowFlags.ZONE_REPLY;
  },
  'from another port': ({ tuple }) => {
    tuple[0]!.sport ^= 1;
  },
  'to another port': ({ tuple }) => {
    tuple[0]!.dport ^= 1;
  },
  'from another host': ({ tuple }) => {
    const [first] = tuple;
    if (typeof first!.saddr === 'number') first!.saddr = (first!.saddr ^ 1) >>> 0;
    else first!.saddr[3] = (first!.saddr[3]! ^ 1) >>> 0;
  },
  'to another host': ({ tuple }) => {
    const [first] = tuple;
    if (typeof first!.daddr === 'number') first!.daddr = (first!.daddr ^ 1) >>> 0;
    else first!.daddr[0] = (first!.daddr[0]! ^ 1) >>> 0;
  },
};

withDatapath(async (t, datapath) => {
  const hasHomes = datapath.map(maps.index_head).get(0)!.rows > 0;
  t.equal(hasHomes, isCompiledWith(datapath.flavour, 'CTNAT_FETCH'), 'kernels from 5.12 on have homes');

  for (const family of FAMILIES) {
    const name = `IPv${family.family}`;

    await t.test(`${name}: a hint is left, and followed`, async (t) => {
      const { slot, other } = talk(datapath, family);
      forget(datapath);
      walk(datapath, 'out', out(family));
      const { hints } = datapath.map(maps.hints).get(0)!;
      const { tagShift, slotShift } = layoutOf(datapath);
      t.ok(
        hints.some((hint) => hint !== 0 && (hint & ((1 << tagShift) - 1)) >>> slotShift === slot),
        'it names the slot',
      );
      lookAlike(datapath, family, slot, other, () => {});
      t.equal(
        believed(t, datapath, family, other, 'as the flow'),
        1,
        'of all that could be the one with its tag and form',
      );
    });

    await t.test(`${name}: hints take the free places of a row`, async (t) => {
      datapath.configure();
      oneRow(datapath);
      const ports = Array.from({ length: HINTS_IN_ROW }, (_, i) => OWN + i);
      const { frame } = family;
      for (const sport of ports)
        walk(datapath, 'out', frame(CLIENT, SERVER, udp({ sport, dport: 53 }), bytes(20)));
      forget(datapath);
      const left = () =>
        datapath
          .map(maps.hints)
          .get(0)!
          .hints.filter((hint) => hint !== 0).length;
      for (const [i, dport] of ports.entries()) {
        walk(datapath, 'back', frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport }), bytes(20)));
        // at egress it is found at home, or by another hint
        t.equal(left(), hasHomes ? i + 1 : Math.min(2 * (i + 1), HINTS_IN_ROW));
      }
    });

    for (const [what, change] of Object.entries(NOT_THE_FLOW))
      await t.test(`${name}: not of a slot that is ${what}`, async (t) => {
        const { slot, other } = talk(datapath, family);
        lookAlike(datapath, family, slot, other, change);
        t.equal(believed(t, datapath, family, other, what), 0);
      });

    await t.test(`${name}: none is asked for while there are zones`, async (t) => {
      const { slot, other, home } = talk(datapath, family);
      for (const at of [other, home]) lookAlike(datapath, family, slot, at, () => {});
      oneRow(datapath, SettingsFlags.ZONES);
      t.equal(believed(t, datapath, family, other, 'zones'), 0);
    });

    if (hasHomes) {
      for (const [way, flags] of [
        ['at once', 0],
        ['step by step', SettingsFlags.EIM],
      ] as const)
        await t.test(`${name}: a new flow, made ${way}, goes home`, async (t) => {
          const home = homeOf(datapath, family);
          datapath.configure();
          oneRow(datapath, flags);
          for (let port = OWN + 1; port <= OWN + 5; port++)
            walk(datapath, 'out', family.frame(CLIENT, SERVER, udp({ sport: port, dport: 53 }), bytes(20)));
          walk(datapath, 'out', out(family));
          t.equal(slotOf(datapath, family), home, 'behind others as it did before them');
        });

      await t.test(`${name}: a flow is looked for at home`, async (t) => {
        const { slot, home } = talk(datapath, family);
        lookAlike(datapath, family, slot, home, () => {});
        forget(datapath);
        t.ok(leavesByOther(t, datapath, family, 'as the flow'));
      });

      await t.test(`${name}: also where a hint leads to another flow`, async (t) => {
        const { slot, other, home } = talk(datapath, family);
        lookAlike(datapath, family, slot, home, () => {});
        lookAlike(datapath, family, slot, other, ({ tuple }) => {
          for (const each of tuple) for (const port of ['sport', 'dport'] as const) each[port] ^= 0x100;
        });
        for (const row of hintsTo(layoutOf(datapath), other)) {
          datapath.map(maps.hints).set(0, { hints: row });
          t.ok(leavesByOther(t, datapath, family, 'as the flow'));
        }
      });

      await t.test(`${name}: not where flows leave translated, which is learnt`, async (t) => {
        const outsides = () => datapath.map(maps.settings).get(0)!.outsides;
        const wan = 1 << (datapath.network.wan0 & 15);
        datapath.configure({ interfaces: { lan0: {}, wan0: {} } });
        walk(datapath, 'out', out(family));
        t.equal(outsides(), 0, 'untranslated');
        datapath.configure();
        walk(datapath, 'out', out(family));
        t.equal(outsides(), wan, 'translated');
      });

      for (const [what, change] of Object.entries(NOT_THE_FLOW))
        await t.test(`${name}: not at home, if what is there is ${what}`, async (t) => {
          const { slot, home } = talk(datapath, family);
          lookAlike(datapath, family, slot, home, change);
          forget(datapath);
          for (const time of ['first', 'then']) t.notOk(leavesByOther(t, datapath, family, time), time);
        });
    }

    await t.test(`${name}: an untranslated flow, its hint in both directions`, async (t) => {
      datapath.configure({ interfaces: { lan0: {}, wan0: {} } });
      oneRow(datapath);
      const answer = family.frame(SERVER, CLIENT, udp({ sport: 53, dport: OWN }), bytes(20));
      for (let round = 0; round < 3; round++) {
        samePacket(t, walk(datapath, 'out', out(family)).packet, out(family), 'out');
        samePacket(t, walk(datapath, 'back', answer).packet, answer, 'back');
      }
      t.match(datapath.flows(family.family), [{ packets: [3, 3] }]);
    });
  }
});
