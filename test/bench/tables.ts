// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Listings, sweeps and counts of large tables, by the commands that users run.
import { removePinDirectory } from 'libbpf-ts';
import { Datapath } from '../../src/datapath.js';
import { CtStatus, CtTcpState, FLOW, NatType } from '../../src/generated/layouts.gen.js';
import type { SweepResult } from '../../src/product.js';
import { SLOT_LAYOUTS } from '../../src/raw-flow.js';
import { rawFlow } from '../helpers/tables/made-flow.js';
import { ctnat } from './command.js';
import type { Figure } from './figure.js';

const MILLION = 1_000_000;
const LIST = ['bpf', 'ct', 'list', 'global'];

/** Limits of issue 2. */
const LIST_MS = 5000;
const LIST_MIB = 300;
const SWEEP_MS = 1000;
const EMPTY_MS = 250;

/** Datapaths below pin paths of their own, unloaded at the end. */
export async function measureTables(progress: (what: string) => void): Promise<Figure[]> {
  const base = `/sys/fs/bpf/ctnat-bench-${process.pid}`;
  const pins = { empty: `${base}-empty`, four: `${base}-4`, six: `${base}-6` };
  try {
    progress('loading an empty table');
    (await Datapath.load(pins.empty)).close();
    const figures = await measureEmpty(pins.empty, progress);
    for (const [pinPath, family] of [
      [pins.four, 4],
      [pins.six, 6],
    ] as const) {
      progress(`filling a table with 1,000,000 IPv${family} flows`);
      const [flows4, flows6] = family === 4 ? [MILLION, 1024] : [1024, MILLION];
      using datapath = await Datapath.load(pinPath, { flows4, flows6 });
      fill(datapath, family);
      figures.push(...(await measureFull(pinPath, family, progress)));
    }
    return figures;
  } finally {
    for (const pinPath of Object.values(pins)) removePinDirectory(pinPath);
  }
}

async function measureEmpty(pinPath: string, progress: (what: string) => void): Promise<Figure[]> {
  progress('listing an empty table');
  const wall = await times(11, async () => (await ctnat(['--pin-path', pinPath, ...LIST])).wallMs);
  const bare = await times(11, async () => (await ctnat(['--version'])).wallMs);
  return [
    { name: 'ctnat bpf ct list global, empty table', unit: 'ms', samples: wall, limit: EMPTY_MS },
    { name: 'of that: node and the command line (ctnat --version)', unit: 'ms', samples: bare },
  ];
}

async function measureFull(
  pinPath: string,
  family: 4 | 6,
  progress: (what: string) => void,
): Promise<Figure[]> {
  const global = ['--pin-path', pinPath];
  const what = `1,000,000 IPv${family}`;
  progress(`listing ${what} flows`);
  const lists = await times(5, async () => {
    const usage = await ctnat([...global, ...LIST, '-o', 'jsonl'], { withUsage: true, pipe: 'wc -l' });
    if (Number(usage.stdout) !== MILLION) throw new Error(`${usage.stdout.trim()} flows listed`);
    return usage;
  });
  progress(`sweeping ${what} flows`);
  const sweeps = await times(5, async () => {
    const { stdout } = await ctnat([...global, '-o', 'json', 'gc']);
    const { maps, durationMs } = JSON.parse(stdout) as SweepResult;
    const live = maps.reduce((sum, map) => sum + map.live, 0);
    if (live !== MILLION) throw new Error(`${live} flows swept`);
    return durationMs;
  });
  const counts = await times(5, async () => (await ctnat([...global, 'bpf', 'ct', 'count'])).wallMs);
  const list = `ctnat bpf ct list global -o jsonl | wc -l, ${what}`;
  return [
    { name: list, unit: 'ms', samples: lists.map(({ wallMs }) => wallMs), limit: LIST_MS },
    { name: 'of that: CPU time of ctnat', unit: 'ms', samples: lists.map(({ cpuMs }) => cpuMs) },
    {
      name: 'of that: largest resident memory',
      unit: 'MiB',
      samples: lists.map(({ rssKb }) => rssKb / 1024),
      limit: LIST_MIB,
    },
    { name: `one sweep, ${what} alive (ctnat gc)`, unit: 'ms', samples: sweeps, limit: SWEEP_MS },
    { name: `ctnat bpf ct count, ${what}`, unit: 'ms', samples: counts },
  ];
}

async function times<T>(runs: number, measure: () => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0; i < runs; i++) all.push(await measure());
  return all;
}

/** Puts a flow into every slot: TCP connections of many hosts behind one address, no two alike. */
function fill(datapath: Datapath, family: 4 | 6): void {
  const { map } = datapath.maps[`flows${family}`];
  const { size, tuple } = SLOT_LAYOUTS[family];
  const [server, outside] = family === 4 ? ['192.0.2.9', '198.51.100.1'] : ['2001:db8:2::9', '2001:db8:1::1'];
  const flow = rawFlow({
    original: [`${family === 4 ? '10.0.0.0' : 'fd00:10:20:30::'} 0`, `${server} 443`],
    reply: [`${server} 443`, `${outside} 0`],
    proto: 6,
    state: CtTcpState.ESTABLISHED,
    status: CtStatus.SEEN_REPLY | CtStatus.ASSURED | CtStatus.SRC_NAT,
    nat: NatType.MASQUERADE,
    secondsLeft: 7440,
  });
  const [original, reply] = tuple;
  const window = 65_536;
  for (let first = 0; first < MILLION; first += window) {
    const count = Math.min(window, MILLION - first);
    using memory = map.mmap(first * size, count * size);
    const view = memory.view();
    for (let i = 0; i < count; i++) {
      const slot = first + i;
      const at = i * size;
      memory.buffer.set(flow.bytes, at);
      // the host's number in the address' last 24 bits, a port from 1024 on
      const host = at + original.saddr + (family === 4 ? 0 : 12);
      view.setUint32(host, (view.getUint32(host) + slot) >>> 0);
      const port = 1024 + ((slot * 7919) % 64_000);
      view.setUint16(at + original.sport, port);
      view.setUint16(at + reply.dport, port);
      for (const [place, value] of [
        [FLOW.offset.packets, slot % 5000],
        [FLOW.offset.packets + 8, slot % 9000],
        [FLOW.offset.bytes, slot * 61],
        [FLOW.offset.bytes + 8, slot * 1403],
      ] as const) {
        view.setUint32(at + place, value % 2 ** 32, true);
      }
    }
  }
}
