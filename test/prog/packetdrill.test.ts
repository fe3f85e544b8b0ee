// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The situations of Linux's own packetdrill tests for connection tracking (tools/testing/selftests/net/netfilter),
// through masquerade, for both families: what is invalid does not pass, everything else does and leaves the
// state that Netfilter asserts. e2e/tcp-netfilter.test.ts plays the same to the kernel's own tracking.

import type { Test } from 'tap';
import { SettingsFlags } from '../../src/generated/layouts.gen.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { frame, frame6 } from '../helpers/packet/frame.js';
import { bytes, CLIENT, type Host, ROUTER_WAN, SERVER, tcp, verify } from '../helpers/packet.js';
import { PACKETDRILL } from '../helpers/tcp/packetdrill.js';
import type { Scenario } from '../helpers/tcp/scenario.js';
import { ACK, FIN, PSH, RST, type Segment, SYN, URG } from '../helpers/tcp/segment.js';

const LETTERS: [bit: number, letter: string][] = [
  [FIN, 'F'],
  [SYN, 'S'],
  [RST, 'R'],
  [PSH, 'P'],
  [ACK, 'A'],
  [URG, 'U'],
];
const REPLIES = { UNREPLIED: [false, false], REPLIED: [true, false], ASSURED: [true, true] } as const;

withDatapath(async (t, datapath) => {
  for (const family of [4, 6] as const) {
    for (const scenario of PACKETDRILL) {
      await t.test(`IPv${family} ${scenario.name}`, async (t) => play(t, datapath, family, scenario));
    }
  }
});

function play(t: Test, datapath: Datapath, family: 4 | 6, { steps }: Scenario): void {
  datapath.configure({ flags: SettingsFlags.TCP_LOOSE });
  let invalid = 0;
  let inside: Segment['side'] | undefined;
  for (const [i, step] of steps.entries()) {
    if (!Array.isArray(step)) throw new Error('only segments can be played here');
    const [segment, becomes] = step as [Segment, string];
    inside ??= segment.side; // whoever begins is the one behind the router
    const [kind, state, replies] = becomes.split(' ');
    const out = segment.side === inside;
    const given = packet(segment, out, family);
    const { verdict, packet: left } = walk(datapath, out ? 'out' : 'back', given);
    const name = `${i + 1}. ${segment.side} ${letters(segment.flags)} ${segment.seq}`;

    if (kind === 'invalid') invalid++;
    t.equal(verdict, kind === 'invalid' ? 'drop' : 'pass', `${name} is ${kind}`);
    if (verdict === 'pass') t.strictSame(verify(left), [], `${name}: checksums`);
    const [seenReply, assured] = REPLIES[replies as keyof typeof REPLIES];
    const [flow] = datapath.flows(family);
    t.strictSame(
      [flow?.state, flow?.status.includes('SEEN_REPLY'), flow?.status.includes('ASSURED')],
      [state, seenReply, assured],
      `${name}: ${state} ${replies}`,
    );
  }
  const dropped = Object.entries(datapath.reasons()).filter(([name]) => name.startsWith('DROP'));
  t.equal(
    dropped.reduce((sum, [, packets]) => sum + packets, 0),
    invalid,
    `exactly ${invalid} invalid`,
  );
}

function letters(flags: number): string {
  return LETTERS.filter(([bit]) => flags & bit)
    .map(([, letter]) => letter)
    .join('');
}

function packet(segment: Segment, out: boolean, family: 4 | 6): Buffer {
  const [from, to]: [Host, Host] = out ? [CLIENT, SERVER] : [SERVER, ROUTER_WAN];
  const ports = out ? { sport: 40000, dport: 80 } : { sport: 80, dport: 40000 };
  const { seq, ack, window } = segment;
  const options = { options: Buffer.from(segment.options, 'hex') };
  const layer = tcp({ ...ports, flags: letters(segment.flags), seq, ack, window, ...options });
  return (family === 4 ? frame : frame6)(from, to, layer, bytes(segment.payload));
}
