// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TCP through masquerade: the states of a connection's life and the timeout of each, resets, reuse of a
// tuple. The machine itself has its own tests; here it is on the packet's way.
import type { Test } from 'tap';
import { SettingsFlags } from '../../src/generated/layouts.gen.js';
import { check, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { bytes, CLIENT, frame, type Host, ROUTER_WAN, SERVER, synOptions, tcp } from '../helpers/packet.js';

interface Segment {
  by: 'client' | 'server';
  flags: string;
  seq: number;
  ack?: number;
  size?: number;
  /** What the flow is afterwards. */
  state: string;
  timeout: string;
  /** Dropped as no segment of the connection. */
  invalid?: boolean;
}

const C = 1000; // initial sequence numbers
const S = 9000;

const HANDSHAKE: Segment[] = [
  { by: 'client', flags: 'S', seq: C, state: 'SYN_SENT', timeout: 'TCP_SYN_SENT' },
  { by: 'server', flags: 'SA', seq: S, ack: C + 1, state: 'SYN_RECV', timeout: 'TCP_SYN_RECV' },
  { by: 'client', flags: 'A', seq: C + 1, ack: S + 1, state: 'ESTABLISHED', timeout: 'TCP_ESTABLISHED' },
];

const CLOSE: Segment[] = [
  { by: 'client', flags: 'FA', seq: C + 1, ack: S + 1, state: 'FIN_WAIT', timeout: 'TCP_FIN_WAIT' },
  { by: 'server', flags: 'A', seq: S + 1, ack: C + 2, state: 'CLOSE_WAIT', timeout: 'TCP_CLOSE_WAIT' },
  { by: 'server', flags: 'FA', seq: S + 1, ack: C + 2, state: 'LAST_ACK', timeout: 'TCP_LAST_ACK' },
  { by: 'client', flags: 'A', seq: C + 2, ack: S + 2, state: 'TIME_WAIT', timeout: 'TCP_TIME_WAIT' },
];

function packet(segment: Segment, from: Host, to: Host): Buffer {
  const ports = segment.by === 'client' ? { sport: 40000, dport: 80 } : { sport: 80, dport: 40000 };
  const options = segment.flags.includes('S') ? { options: synOptions() } : {};
  const { flags, seq, ack = 0, size = 0 } = segment;
  return frame(from, to, tcp({ ...ports, flags, seq, ack, ...options }), bytes(size));
}

function talk(t: Test, datapath: Datapath, segments: readonly Segment[]): void {
  for (const [i, segment] of segments.entries()) {
    const name = `${i + 1}. ${segment.by} ${segment.flags}`;
    const out = segment.by === 'client';
    const given = out ? packet(segment, CLIENT, SERVER) : packet(segment, SERVER, ROUTER_WAN);
    const expect = out ? packet(segment, ROUTER_WAN, SERVER) : packet(segment, SERVER, CLIENT);
    check(
      t,
      datapath,
      { path: out ? 'out' : 'back', given, expect: segment.invalid ? 'drop' : expect },
      name,
    );
    const [flow] = datapath.flows();
    t.match(
      { ...flow },
      { state: segment.state, timeout: segment.timeout },
      `${name}: ${flow?.state} ${flow?.timeout}`,
    );
  }
}

withDatapath(async (t, datapath) => {
  await t.test('a connection from SYN_SENT to TIME_WAIT, the client closing', async (t) => {
    datapath.configure();
    talk(t, datapath, [...HANDSHAKE, ...CLOSE]);
    t.match(datapath.flows(), [
      { status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'], packets: [4, 3], bytes: [180, 140] },
    ]);
    t.strictSame(datapath.counters(), { CREATED: 1 });
  });

  await t.test('the server closing', async (t) => {
    datapath.configure();
    talk(t, datapath, [
      ...HANDSHAKE,
      { by: 'server', flags: 'FA', seq: S + 1, ack: C + 1, state: 'FIN_WAIT', timeout: 'TCP_FIN_WAIT' },
      { by: 'client', flags: 'A', seq: C + 1, ack: S + 2, state: 'CLOSE_WAIT', timeout: 'TCP_CLOSE_WAIT' },
      { by: 'client', flags: 'FA', seq: C + 1, ack: S + 2, state: 'LAST_ACK', timeout: 'TCP_LAST_ACK' },
      { by: 'server', flags: 'A', seq: S + 2, ack: C + 2, state: 'TIME_WAIT', timeout: 'TCP_TIME_WAIT' },
    ]);
  });

  await t.test(
    'data that nobody has acknowledged shorten the time, the acknowledgement gives it back',
    async (t) => {
      datapath.configure();
      talk(t, datapath, [
        ...HANDSHAKE,
        {
          by: 'client',
          flags: 'PA',
          seq: C + 1,
          ack: S + 1,
          size: 100,
          state: 'ESTABLISHED',
          timeout: 'TCP_UNACK',
        },
        {
          by: 'server',
          flags: 'A',
          seq: S + 1,
          ack: C + 101,
          state: 'ESTABLISHED',
          timeout: 'TCP_ESTABLISHED',
        },
      ]);
    },
  );

  await t.test('a refused port: the RST passes both hooks, and the flow is over at once', async (t) => {
    datapath.configure();
    const syn = HANDSHAKE[0]!;
    const refused: Segment = { by: 'server', flags: 'RA', seq: 0, ack: C + 1, state: '', timeout: '' };
    talk(t, datapath, [syn]);

    check(
      t,
      datapath,
      { path: 'back', given: packet(refused, SERVER, ROUTER_WAN), expect: packet(refused, SERVER, CLIENT) },
      'RST',
    );

    const [flow] = datapath.flows();
    t.ok(flow === undefined || flow.secondsLeft < 0.2, `${flow?.secondsLeft} s are left`);
    t.match(datapath.counters(), { CREATED: 1, CLOSED: 1 });
    // before the flow's last tick is over: what comes now is not its own any more
    talk(t, datapath, [syn]);
    t.match(datapath.flows(), [{ packets: [1, 0], status: ['SRC_NAT'] }]);
    t.equal(datapath.flows().length, 1);
    t.equal(datapath.keys(), 2);
    t.match(datapath.counters(), { CREATED: 2, CLOSED: 1 });
  });

  await t.test(
    "a RST that fits closes; one far outside the window is nobody's and changes nothing",
    async (t) => {
      datapath.configure();
      talk(t, datapath, [
        ...HANDSHAKE,
        {
          by: 'server',
          flags: 'RA',
          seq: S + 100_000_000,
          ack: C + 1,
          state: 'ESTABLISHED',
          timeout: 'TCP_ESTABLISHED',
          invalid: true,
        },
        { by: 'server', flags: 'RA', seq: S + 1, ack: C + 1, state: 'CLOSE', timeout: 'TCP_CLOSE' },
      ]);
      t.equal(datapath.reasons()['DROP_INVALID ingress'], 1);
    },
  );

  await t.test(
    'a RST in the window that does not fit exactly leaves the receiver time to challenge it (RFC 5961)',
    async (t) => {
      datapath.configure();
      talk(t, datapath, [
        ...HANDSHAKE,
        { by: 'server', flags: 'RA', seq: S + 4000, ack: C + 1, state: 'ESTABLISHED', timeout: 'TCP_CLOSE' },
        {
          by: 'client',
          flags: 'A',
          seq: C + 1,
          ack: S + 1,
          state: 'ESTABLISHED',
          timeout: 'TCP_UNACK', // the RST's sequence number counts as sent, and this does not acknowledge it
        },
      ]);
    },
  );

  await t.test('a tuple in TIME_WAIT can be used again at once', async (t) => {
    datapath.configure();
    talk(t, datapath, [...HANDSHAKE, ...CLOSE]);
    talk(t, datapath, [
      { by: 'client', flags: 'S', seq: C + 500_000, state: 'SYN_SENT', timeout: 'TCP_SYN_SENT' },
    ]);
    t.match(datapath.flows(), [
      { packets: [1, 0], status: ['SRC_NAT'], reply: 'SERVER 80 > ROUTER_WAN 40000' },
    ]);
    t.equal(datapath.flows().length, 1);
    t.equal(datapath.keys(), 2);
    t.strictSame(datapath.counters(), { CREATED: 2, REPLACED: 1 });
  });

  await t.test("after the client's own RST it may begin again", async (t) => {
    datapath.configure();
    talk(t, datapath, [
      ...HANDSHAKE,
      { by: 'client', flags: 'RA', seq: C + 1, ack: S + 1, state: 'CLOSE', timeout: 'TCP_CLOSE' },
      { by: 'client', flags: 'S', seq: C + 700_000, state: 'SYN_SENT', timeout: 'TCP_SYN_SENT' },
    ]);
    t.strictSame(datapath.counters(), { CREATED: 2, REPLACED: 1 });
  });

  await t.test('a SYN retransmitted is the same flow', async (t) => {
    datapath.configure();
    talk(t, datapath, [HANDSHAKE[0]!, HANDSHAKE[0]!, HANDSHAKE[1]!, HANDSHAKE[2]!]);
    t.match(datapath.flows(), [{ packets: [3, 1] }]);
    t.strictSame(datapath.counters(), { CREATED: 1 });
  });

  await t.test('a connection met in the middle is picked up only if settings say so', async (t) => {
    const middle = packet(
      { by: 'client', flags: 'PA', seq: 5, ack: 6, size: 9, state: '', timeout: '' },
      CLIENT,
      SERVER,
    );
    datapath.configure({ flags: SettingsFlags.TCP_LOOSE });
    t.equal(walk(datapath, 'out', middle).verdict, 'pass');
    t.match(datapath.flows(), [{ state: 'ESTABLISHED', status: ['SRC_NAT'] }]);

    datapath.configure({ flags: 0 });
    t.equal(walk(datapath, 'out', middle).verdict, 'drop');
    t.strictSame(datapath.flows(), []);
    t.equal(datapath.reasons()['DROP_INVALID egress'], 1);
  });

  await t.test(
    'segments that can begin nothing do not leave with an inside address (invariant 3)',
    async (t) => {
      datapath.configure();
      for (const flags of ['SA', 'FA', 'R', 'RA']) {
        const segment = packet(
          { by: 'client', flags, seq: 5, ack: 6, state: '', timeout: '' },
          CLIENT,
          SERVER,
        );
        t.equal(walk(datapath, 'out', segment).verdict, 'drop', flags);
      }
      t.strictSame(datapath.flows(), []);
      t.equal(datapath.reasons()['DROP_INVALID egress'], 4);
    },
  );
});
