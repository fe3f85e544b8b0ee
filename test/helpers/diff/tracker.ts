// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The two trackers that are compared, behind the lines of tracker.h: Netfilter, and ctnat's datapath.
import { type MapLayout, TypedMap, u32 } from 'libbpf-ts';
import { TIMEOUT_PRESETS } from '../../../src/defaults.js';
import { HookDir, maps } from '../../../src/generated/layouts.gen.js';
import { initialSettings } from '../../../src/settings.js';
import { loadDatapath, openBuilt } from '../datapath/load.js';
import { iface, natRule } from '../datapath/settings.js';
import { compile, ROOT } from '../tcp/compile.js';
import { DEFAULT_SETTINGS } from '../tcp/segment.js';
import { LineProcess } from '../tcp/tracker.js';
import type { Teardown } from '../teardown.js';
import { elapse } from '../wait.js';
import { addressBytes, ROUTER } from './path.js';
import { buildRouter, linkOf, ROUTER_MAC } from './router.js';
import type { Operation, Sequence } from './sequence.js';

/** Flows that ctnat's tables hold: more than a batch of sequences ever has. */
const FLOWS = 8192;

/** Longer than nf_conntrack_udp and bpf/conntrack.h take for a stream's least age, 2 s. */
const WAIT_MS = 2200;

/** The class goes to whoever listens to NFLOG's group 7; protocol 253 marks the end of another packet's way. */
const RULES = `
table inet diff {
  chain raw {
    type filter hook prerouting priority -350;
    meta l4proto 253 notrack
  }
  chain class {
    type filter hook prerouting priority -150;
    meta l4proto 253 accept
    ct state invalid log group 7 prefix "invalid" accept
    ct state established log group 7 prefix "established" accept
    ct state related log group 7 prefix "related" accept
    ct state new log group 7 prefix "new" accept
    ct state untracked log group 7 prefix "untracked" accept
  }
  chain unimpressed { # or the router would learn path MTUs from errors that somebody made up
    type filter hook input priority 0;
    meta l4proto { icmp, ipv6-icmp } ct state { invalid, related } drop
  }
  chain silent {
    type filter hook output priority -400; policy drop;
  }
  chain forwarded {
    type nat hook prerouting priority -100;
    iifname "side-c" ip daddr ${ROUTER[4].forwarded} dnat ip to ${ROUTER[4].forwardedTo}
    iifname "side-c" ip6 daddr ${ROUTER[6].forwarded} dnat ip6 to ${ROUTER[6].forwardedTo}
  }
  chain masqueraded {
    type nat hook postrouting priority 100;
    oifname "side-c" masquerade
  }
}`;

/** What a tracker saw of each operation of a sequence; `left`: of all its sequences together. */
export interface Seen {
  answers: string[][];
  left: string;
}

export class Tracker {
  readonly #process: LineProcess;
  /** Whether the last sequence has changed a setting. */
  #changed = true;

  constructor(process: LineProcess) {
    this.#process = process;
  }

  /**
   * Plays sequences with default settings and an empty table. One after the other; but what comes behind
   * a `wait` is played for all of them after one and the same wait.
   */
  async run(sequences: readonly Sequence[]): Promise<Seen> {
    const answers = sequences.map((): string[] => []);
    const rounds = Math.max(...sequences.map(({ operations }) => count(operations)));
    for (let round = 0; round <= rounds; round++) {
      if (round) await elapse(WAIT_MS);
      const lines: string[] = [];
      const takers: ((answer: string) => void)[] = [];
      const say = (line: string, taker: (answer: string) => void = () => {}): void => {
        lines.push(line);
        takers.push(taker);
      };
      sequences.forEach((sequence, at) => {
        const parts = partOf(sequence.operations, round);
        if (!parts) return;
        if (round === 0) this.#begin(sequence, say);
        else say(`resume ${sequence.path.index}`);
        if (round) answers[at]!.push('ok'); // the wait
        for (const operation of parts) {
          if (operation.do === 'set') this.#changed = true;
          say(lineOf(operation), (answer) => answers[at]!.push(answer));
        }
        if (rounds === 0) say('end');
      });
      await this.#ask(lines, takers);
    }
    const lines = rounds ? sequences.flatMap(({ path }) => [`resume ${path.index}`, 'end']) : [];
    const left = (await this.#process.ask([...lines, 'left'])).at(-1)!;
    return { answers, left };
  }

  async set(name: string, value: number): Promise<void> {
    await this.#process.ask([`set ${name} ${value}`]);
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  #begin({ path, watches }: Sequence, say: (line: string) => void): void {
    say(`sequence ${path.index}`);
    if (this.#changed)
      for (const [name, value] of Object.entries(DEFAULT_SETTINGS)) say(`set ${name} ${value}`);
    this.#changed = false;
    for (const { proto, from, to } of watches) {
      say(
        `watch ${proto} ${from.address.toString('hex')} ${to.address.toString('hex')} ${from.port} ${to.port}`,
      );
    }
  }

  async #ask(lines: string[], takers: ((answer: string) => void)[]): Promise<void> {
    const answers = await this.#process.ask(lines);
    answers.forEach((answer, i) => {
      takers[i]!(answer);
    });
  }
}

function count(operations: readonly Operation[]): number {
  return operations.reduce((waits, operation) => waits + Number(operation.do === 'wait'), 0);
}

/** What lies between one wait and the next; undefined: there are not so many. */
function partOf(operations: readonly Operation[], round: number): Operation[] | undefined {
  const parts: Operation[][] = [[]];
  for (const operation of operations) {
    if (operation.do === 'wait') parts.push([]);
    else parts.at(-1)!.push(operation);
  }
  return parts[round];
}

function lineOf(operation: Operation): string {
  switch (operation.do) {
    case 'packet': {
      const { packet } = operation;
      return `packet ${operation.in} ${operation.out} ${packet.length} ${packet.bytes.toString('hex')}`;
    }
    case 'age':
      return `age ${operation.seconds}`;
    case 'set':
      return `set ${operation.name} ${operation.value}`;
    case 'fix':
      return 'fix';
    case 'wait':
      throw new Error('a wait is no line');
  }
}

const source = { sources: `${ROOT}test/helpers/diff` };

/** The running kernel's connection tracking, with its own defaults for all timeouts. */
export async function startNetfilter(teardown: Teardown): Promise<Tracker> {
  const program = await compile('netfilter', teardown, source);
  const { ns, ends } = await buildRouter('diff-nf', teardown);
  await ns.run(['nft', '-f', '-'], { input: RULES });
  const tracker = new Tracker(new LineProcess(ns.argv([program, ends.path, ROUTER_MAC])));
  teardown.defer('netfilter tracker', () => tracker.close());
  // ctnat looks at no L4 checksum; differences.ts has what follows from that
  await tracker.set('checksum', 0);
  return tracker;
}

/** ctnat's hooks, with the timeouts of the preset `netfilter`. */
export async function startDatapath(teardown: Teardown, flavour: string): Promise<Tracker> {
  const program = await compile('datapath', teardown, source);
  const { ns, ifindex } = await buildRouter('diff-ct', teardown);
  const object = loadDatapath(flavour, FLOWS);
  teardown.defer('datapath', () => object.close());
  const harness = openBuilt('test/harness.bpf.o');
  teardown.defer('harness', () => harness.close());
  harness.load();
  const hooks = new TypedMap(harness.map('hooks').map, u32, u32);
  hooks.set(HookDir.INGRESS, object.program('ct_ingress').fd);
  hooks.set(HookDir.EGRESS, object.program('ct_egress').fd);
  const map = <K, V>(layout: MapLayout<K, V>): TypedMap<K, V> =>
    new TypedMap(object.map(layout.name).map, layout.key, layout.value);
  for (const side of ['a', 'b', 'c'] as const) {
    const masquerade = side === 'c' ? { masquerade: 'all' as const } : {};
    map(maps.ifaces).set(
      ifindex[side],
      iface(linkOf(side), { ip4: ROUTER[4].at[side], ip6: ROUTER[6].at[side], ...masquerade }),
    );
  }
  ([4, 6] as const).forEach((family, i) => {
    const { forwarded, forwardedTo } = ROUTER[family];
    const rule = {
      kind: 'dnat',
      ifindex: ifindex.c,
      dst: `${forwarded}/${family === 4 ? 32 : 128}`,
    } as const;
    map(maps.nat_rules).set(i, natRule(i + 1, { ...rule, to: [forwardedTo, forwardedTo] }));
  });
  map(maps.settings).set(0, {
    ...initialSettings(FLOWS, FLOWS, object.map('hints').maxEntries, TIMEOUT_PRESETS.netfilter),
    ruleCount: 2,
  });
  const files = [
    harness.program('harness_step').fd,
    object.program('ct_sweep4').fd,
    object.program('ct_sweep6').fd,
    ...['tuples4', 'tuples6', 'tuple_index', 'index_head', 'flows4', 'flows6', 'metrics', 'settings'].map(
      (name) => object.map(name).map.fd,
    ),
  ];
  const local = ([4, 6] as const).flatMap((family) => [
    ...Object.values(ROUTER[family].at),
    ROUTER[family].forwarded,
  ]);
  const argv = [
    program,
    ...(['a', 'b', 'c'] as const).map((side) => String(ifindex[side])),
    ROUTER_MAC,
    ...local.map((address) => addressBytes(address).toString('hex')),
  ];
  const tracker = new Tracker(new LineProcess(ns.argv(argv), files));
  teardown.defer('datapath tracker', () => tracker.close());
  return tracker;
}
