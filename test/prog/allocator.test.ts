// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Properties of the search for outside ports, under random opens, closes and expiries from several hosts against
// few ports: no two live flows share a wire tuple (invariant 4), no half pair exists (invariant 5), ports come
// back, an inside endpoint has one port where mapping is endpoint-independent, and a refusal means that at least 99 % of the range is in use. Two CPUs at once: race.test.ts.
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import type { Test } from 'tap';
import type { FlowView } from '../helpers/datapath/flow-view.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { frame, host, ROUTER_WAN, SERVER, SERVER2, udp } from '../helpers/packet.js';
import { random } from '../helpers/random.js';

const PORTS = 200;
const STEPS = 1500;

/** Bindings by the two mappings: what is used up is a port toward a server, or a port. */
const MAPPINGS = {
  'random opens, closes and expiries': { sockets: 400 },
  'random opens, closes and expiries, endpoint-independent mapping': { eim: 'adf', sockets: 40 },
} as const satisfies Record<string, { eim?: 'adf'; sockets: number }>;

withDatapath(async (t, datapath) => {
  for (const [name, mapping] of Object.entries(MAPPINGS)) {
    await t.test(name, async (t) => {
      exercise(t, datapath, mapping);
    });
  }
});

function exercise(t: Test, datapath: Datapath, { eim, sockets }: { eim?: 'adf'; sockets: number }): void {
  const seed = Number(process.env.SEED ?? 4787);
  const next = random(seed);
  t.comment(`seed ${seed}`);
  const below = (limit: number): number => Math.floor(next() * limit);
  const ports: [number, number] = [3000, 2999 + PORTS];
  datapath.configure({
    interfaces: { lan0: {}, wan0: { masquerade: 4, ip4: ROUTER_WAN.ip4, ports, ...(eim && { eim }) } },
  });
  const hosts = Array.from({ length: 8 }, (_, n) => host(`h${n}`, `10.0.0.${n + 10}`, 'fd00::1'));
  let refused = 0;
  for (let step = 0; step < STEPS; step++) {
    if (step % 250 === 0) {
      const cpu = (step / 250) % Math.min(2, availableParallelism());
      execFileSync('taskset', ['-cp', String(cpu), String(process.pid)]);
    }
    // first the range fills up, then as much goes as comes
    if (step < 2 * PORTS || below(2)) {
      const to = below(2) ? SERVER : SERVER2;
      const sport = 20000 + below(sockets);
      const out = walk(datapath, 'out', frame(hosts[below(8)]!, to, udp({ sport, dport: 53 })));
      const drops = datapath.reasons()['DROP_NO_PORT egress'] ?? 0;
      if (drops > refused) {
        const inUse = eim ? datapath.endpoints().length : liveTo(to.name);
        if (inUse < 0.99 * PORTS) t.fail(`refused with ${inUse} of ${PORTS} ports in use, step ${step}`);
        refused = drops;
      } else if (out.verdict !== 'pass') {
        t.fail(`dropped for ${JSON.stringify(datapath.reasons())}, step ${step}`);
      }
    } else {
      const flows = datapath.flows();
      const victim = flows[below(flows.length)];
      if (victim && below(2)) datapath.deleteFlow(victim.slot);
      else if (victim) datapath.setDeadline(victim.slot, -1);
      // what no flow counts on is given up as well, now and then
      const idle = eim && datapath.endpoints().find(({ flows }) => flows === 0);
      if (idle && below(2)) datapath.setDeadline(idle.slot, -1);
    }
    if (step % 50 === 0) verify(`step ${step}`);
  }
  verify('at the end');
  t.ok(refused > 0, `${refused} were refused on the way`);
  for (const { slot } of [...datapath.flows(), ...datapath.endpoints()]) datapath.deleteFlow(slot);
  t.equal(datapath.keys(), 0, 'nothing is left');

  /** Flows whose deadline is to come, toward a server. */
  function liveTo(name: string): number {
    return datapath.flows().filter((flow) => flow.secondsLeft > 0 && flow.original.includes(`> ${name} `))
      .length;
  }

  function verify(when: string): void {
    const flows = datapath.flows();
    if (new Set(flows.map(({ reply }) => reply)).size !== flows.length)
      t.fail(`a wire tuple is shared, ${when}`);
    const plain = flows.filter(({ nat }) => nat === 'NONE').length;
    const keys = datapath.keys();
    const endpoints = eim ? datapath.endpoints() : [];
    const peers = eim ? keys - 2 * flows.length - 2 * endpoints.length : 0;
    if (!eim && keys !== 2 * flows.length - plain) t.fail(`${keys} keys of ${flows.length} flows, ${when}`);
    if (peers < 0 || peers > flows.length) t.fail(`${keys} keys of ${flows.length} flows, ${when}`);
    verifyEndpoints(flows, endpoints, when);
  }

  function verifyEndpoints(
    flows: FlowView[],
    endpoints: ReturnType<Datapath['endpoints']>,
    when: string,
  ): void {
    const insideOf = ({ original }: FlowView): string => original.split(' > ')[0]!;
    const outsideOf = ({ reply }: FlowView): string => reply.split(' > ')[1]!;
    if (new Set(endpoints.map(outsideOf)).size !== endpoints.length)
      t.fail(`an outside port is shared, ${when}`);
    if (new Set(endpoints.map(insideOf)).size !== endpoints.length) t.fail(`somebody has two ports, ${when}`);
    for (const endpoint of endpoints) {
      const own = flows.filter((flow) => insideOf(flow) === insideOf(endpoint));
      if (own.length !== endpoint.flows) t.fail(`${endpoint.flows} of ${own.length} flows counted, ${when}`);
      if (own.some((flow) => outsideOf(flow) !== outsideOf(endpoint)))
        t.fail(`${insideOf(endpoint)} has another port as well, ${when}`);
    }
  }
}
