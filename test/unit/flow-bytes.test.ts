// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Slots' bytes: what is decoded of them, and filters on them.
import { test } from 'tap';
import { decodeFlow } from '../../src/decode-flow.js';
import {
  type Filter,
  type FilterText,
  flowPredicate,
  mappingPredicate,
  parseFilter,
} from '../../src/filter.js';
import { type FlowFormat, FlowPrinter } from '../../src/flow-printer.js';
import type { Match } from '../../src/flow-table.js';
import { FLOW_FORMATTER } from '../../src/format-flow.js';
import { ARRAY, type Frame, framed, LINES } from '../../src/frame.js';
import { CtStatus, CtTcpState, FLOW_EXTRA, flow4Codec, NatType } from '../../src/generated/layouts.gen.js';
import type { InterfaceNames } from '../../src/interface-names.js';
import { mappingOf } from '../../src/nat-table.js';
import { GRE, isIcmp } from '../../src/protocol.js';
import { filterFamilies, rawPredicate } from '../../src/raw-filter.js';
import { RawFlow, SLOT_LAYOUTS, USE_WORD } from '../../src/raw-flow.js';
import { msOfTicks, nowTicks, TICK_MS, TickClock } from '../../src/ticks.js';
import { random } from '../helpers/random.js';
import { type Ends, flow4, type Made, rawFlow } from '../helpers/tables/made-flow.js';

const NAMES = {
  of: (ifindex: number) => ['', 'lo', 'eth0', 'lan0'][ifindex] ?? `if${ifindex}`,
} as InterfaceNames;

const decode = (made: Made, slot = 0) => decodeFlow(rawFlow(made, slot), nowTicks(), NAMES);

const MASQUERADED: Made = {
  original: ['10.0.0.2 40000', '192.0.2.9 80'],
  reply: ['192.0.2.9 80', '198.51.100.1 40000'],
  proto: 6,
  state: CtTcpState.ESTABLISHED,
  status: CtStatus.SEEN_REPLY | CtStatus.ASSURED | CtStatus.SRC_NAT,
  nat: NatType.MASQUERADE,
  secondsLeft: 7439.5,
  ageSeconds: 12.45,
  packets: [12, 10],
  bytes: [3400, 9000],
  ifindex: 2,
};

const FORWARDED: Made = {
  original: ['203.0.113.7 5555', '198.51.100.1 8080'],
  reply: ['10.0.0.2 80', '203.0.113.7 5555'],
  proto: 6,
  state: CtTcpState.SYN_SENT,
  status: CtStatus.DST_NAT,
  nat: NatType.DNAT,
  ifindex: 2,
};

const PING6: Made = {
  original: ['fd00::2 77', '2001:db8::9 77'],
  reply: ['2001:db8::9 78', '2001:db8:1::1 78'],
  proto: 58,
  state: 128,
  status: CtStatus.SRC_NAT,
  nat: NatType.MASQUERADE,
  ifindex: 2,
};

test('a slot decodes to the JSON of the contract', async (t) => {
  t.equal(
    FLOW_FORMATTER.json(decode(MASQUERADED)),
    '{"family":"ipv4","proto":"tcp","protonum":6,"state":"ESTABLISHED","status":["SEEN_REPLY","ASSURED","SRC_NAT"],' +
      '"original":{"src":"10.0.0.2","dst":"192.0.2.9","sport":40000,"dport":80,"packets":12,"bytes":3400},' +
      '"reply":{"src":"192.0.2.9","dst":"198.51.100.1","sport":80,"dport":40000,"packets":10,"bytes":9000},' +
      '"timeout":7439,"age":12.4,"mark":0,"zone":0,"iface":"eth0"}',
  );
  t.match(decode({ ...MASQUERADED, gen: 65535, mark: 0xffffffff, zone: 7 }, 5), {
    slot: 5,
    gen: 65535,
    mark: 0xffffffff,
    zone: 7,
    natType: 'masquerade',
    ifindex: 2,
  });
});

test('ICMP has type, code and identifier, other protocols no ports, and only TCP a state', async (t) => {
  const ping = decode(PING6);
  const timestamp = decode({ original: ['10.0.0.2 5', '10.0.0.3 5'], proto: 1, state: 13 });
  const echo = decode({ original: ['10.0.0.2 5', '10.0.0.3 5'], proto: 1, state: 8 });
  const gre = decode({ original: ['10.0.0.2 9', '10.0.0.3 9'], proto: 47, state: 3 });
  const udp = decode({ original: ['10.0.0.2 9', '10.0.0.3 53'], proto: 17, state: 3 });

  t.match(ping.original, { src: 'fd00::2', dst: '2001:db8::9', type: 128, code: 0, id: 77 });
  t.match(ping.reply, { src: '2001:db8::9', dst: '2001:db8:1::1', type: 129, code: 0, id: 78 });
  t.match([timestamp.original.type, timestamp.reply.type], [13, 14]);
  t.match([echo.original.type, echo.reply.type], [8, 0]);
  t.notOk('sport' in gre.original || 'id' in gre.original, 'GRE has neither ports nor identifier');
  t.match(udp.original, { sport: 9, dport: 53 });
  for (const flow of [ping, gre, udp]) t.notOk('state' in flow, flow.proto);
});

test('counters beyond 32 bits are read whole', async (t) => {
  const flow = decode({ ...MASQUERADED, packets: [2 ** 40, 2 ** 32 - 1], bytes: [2n ** 53n, 2 ** 32] });

  t.equal(flow.original.packets, 2 ** 40);
  t.equal(flow.reply.packets, 2 ** 32 - 1);
  t.equal(flow.original.bytes, 2 ** 53);
  t.equal(flow.reply.bytes, 2 ** 32);
});

test('time left and age are right where the clock wraps', async (t) => {
  const raw = rawFlow(MASQUERADED);
  const flow = flow4(MASQUERADED);
  flow.head.created = 0xffff_ff00;
  flow.head.deadline = 100;
  flow4Codec.write(raw.view, 0, flow);

  t.equal(raw.ticksLeft(0xffff_ffff), 101);
  t.equal(raw.ticksOld(44), 300);
  t.equal(raw.ticksLeft(101), -1, 'expired by a tick');
  t.equal(raw.ticksOld(0xffff_fe00), 0, 'made after the clock was read');
  t.equal(decodeFlow(raw, 100, NAMES).timeout, 0, 'alive in its last tick');
  t.equal(decodeFlow(raw, 0xffff_ffff, NAMES).timeout, Math.floor((101 * TICK_MS) / 1000));
});

test('the clock that is asked often agrees with the other', async (t) => {
  const clock = new TickClock();
  for (let i = 0; i < 1000; i++) {
    const before = nowTicks();
    const now = clock.now();
    const after = nowTicks();
    // at a tick's edge the two may round to either side
    t.ok(now - before >= -1 && after - now >= -1, `${before} ${now} ${after}`);
  }
  t.equal(msOfTicks(60), 1006);
});

test('a slot that changes hands while it is copied is copied again or taken for free', async (t) => {
  const { size } = SLOT_LAYOUTS[4];
  const source = new Int32Array(rawFlow(MASQUERADED).words);
  const raw = new RawFlow(4);
  const copy = (): boolean => raw.copyFrom(source, 0, source, size / 4);
  t.ok(copy(), 'at rest');
  t.equal(Buffer.compare(raw.bytes, new Uint8Array(source.buffer)), 0);

  // Each look at the slot finds the next generation: a proxy counts the loads of the word that holds it.
  let loads = 0;
  const original = Atomics.load;
  t.teardown(() => {
    Atomics.load = original;
  });
  const churn = (until: number) => {
    loads = 0;
    Atomics.load = ((words: Int32Array, at: number) => {
      if (words === source && at === USE_WORD && ++loads <= until) source[USE_WORD]! += 1;
      return original(words, at);
    }) as typeof Atomics.load;
  };

  churn(2);
  t.ok(copy(), 'at rest after two changes');
  t.equal(raw.words[USE_WORD], source[USE_WORD]);
  churn(Number.POSITIVE_INFINITY);
  t.notOk(copy(), 'always another generation');
  churn(0);
  source[USE_WORD] = 0;
  t.notOk(copy(), 'free');
  t.equal(size + FLOW_EXTRA.size, source.byteLength);
});

const FILTERS: FilterText[] = [
  {},
  { proto: 'tcp' },
  { proto: 'icmp' },
  { proto: '47' },
  { family: 'ipv6' },
  { family: 'ipv4', sport: '5' },
  { src: '10.0.0.0/31' },
  { src: '10.0.0.2' },
  { dst: '10.0.0.0/8', dport: '4-6' },
  { src: 'fd00::/126', proto: 'udp' },
  { replySrc: '10.0.0.1', replyDst: '10.0.0.0/30' },
  { replyDst: 'fd00::3' },
  { state: 'ESTABLISHED' },
  { state: 'NONE,COOKIE_WAIT,CLOSED', proto: '132' },
  { proto: 'tcp', state: 'SYN_SENT,TIME_WAIT', iface: 'eth0' },
  { iface: 'if4' },
  { mark: '0x2/0x6' },
  { mark: '3', zone: '1' },
  { sport: '0-3', dport: '0-65535' },
];

test('filters say the same of bytes and of the flow decoded from them', async (t) => {
  const rand = random(7);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(rand() * items.length)]!;
  const port = () => Math.floor(rand() * 8);
  // an ICMP query has its identifier at both ends, GRE its key
  const ends = (six: boolean, proto: number): Ends => {
    const [first, second] = [port(), port()];
    const address = () => `${six ? 'fd00::' : '10.0.0.'}${Math.floor(rand() * 5)}`;
    return [`${address()} ${first}`, `${address()} ${isIcmp(proto) || proto === GRE ? first : second}`];
  };
  const filters = FILTERS.map((text): [string, Filter] => [JSON.stringify(text), parseFilter(text)]);
  let matched = 0;
  let differing = '';
  for (let i = 0; i < 3000; i++) {
    const six = rand() < 0.4;
    const proto = pick([1, 6, 17, 47, 58, 132]);
    const raw = rawFlow({
      original: ends(six, proto),
      reply: ends(six, proto),
      proto,
      state: Math.floor(rand() * 12),
      ifindex: Math.floor(rand() * 5),
      mark: Math.floor(rand() * 8),
      zone: Math.floor(rand() * 2),
    });
    const flow = decodeFlow(raw, nowTicks(), NAMES);
    for (const [text, filter] of filters) {
      const ofBytes = filterFamilies(filter).includes(raw.family) && rawPredicate(filter, NAMES)(raw);
      if (ofBytes) matched++;
      if (ofBytes !== flowPredicate(filter)(flow)) differing = `${text}: ${JSON.stringify(flow)}`;
    }
  }

  t.equal(differing, '');
  t.ok(matched > 3000, `${matched} matches`);
});

test('mappings are read from the two tuples', async (t) => {
  t.strictSame(mappingOf(decode(MASQUERADED)), {
    family: 'ipv4',
    proto: 'tcp',
    protonum: 6,
    type: 'masquerade',
    iface: 'eth0',
    internal: { address: '10.0.0.2', port: 40000 },
    external: { address: '198.51.100.1', port: 40000 },
    remote: { address: '192.0.2.9', port: 80 },
    age: 12.4,
    flows: 1,
    state: 'ESTABLISHED',
  });
  t.match(mappingOf(decode({ ...MASQUERADED, nat: NatType.SNAT })), { type: 'snat' });
  t.match(mappingOf(decode(FORWARDED)), {
    type: 'dnat',
    internal: { address: '10.0.0.2', port: 80 },
    external: { address: '198.51.100.1', port: 8080 },
    remote: { address: '203.0.113.7', port: 5555 },
  });
  t.match(mappingOf(decode(PING6)), {
    internal: { address: 'fd00::2', port: 77 },
    external: { address: '2001:db8:1::1', port: 78 },
    remote: { address: '2001:db8::9', port: 77 },
  });
  t.equal(mappingOf(decode({ original: ['10.0.0.2 1', '10.0.0.3 2'] })), undefined);
});

test('a filter finds a mapping by its flow as it finds it by what is shown', async (t) => {
  const filters: FilterText[] = [
    { src: '10.0.0.0/24' },
    { src: '203.0.113.7', dport: '8080' },
    { dst: '198.51.100.1' },
    { replyDst: '198.51.100.1' },
    { replySrc: '10.0.0.2' },
    { sport: '40000' },
    { sport: '77', dport: '77' },
    { state: 'SYN_SENT' },
    { replyDst: '2001:db8:1::/64' },
  ];
  let matched = 0;
  for (const made of [MASQUERADED, FORWARDED, PING6]) {
    const mapping = mappingOf(decode(made))!;
    for (const text of filters) {
      const filter = parseFilter(text);
      const raw = rawFlow(made);
      const byFlow = filterFamilies(filter).includes(raw.family) && rawPredicate(filter, NAMES)(raw);
      if (byFlow) matched++;
      t.equal(byFlow, mappingPredicate(filter)(mapping), `${mapping.type} ${JSON.stringify(text)}`);
    }
  }
  t.equal(matched, 9);
});

test('only tables that can match are read', async (t) => {
  t.same(filterFamilies({}), [4, 6]);
  t.same(filterFamilies(parseFilter({ dst: '10.0.0.0/8' })), [4]);
  t.same(filterFamilies(parseFilter({ replySrc: '::/0' })), [6]);
  t.same(filterFamilies(parseFilter({ family: 'ipv6' })), [6]);
});

test('flows printed from bytes are what the formatter makes of them', async (t) => {
  const rand = random(11);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(rand() * items.length)]!;
  const number = (bits: number) => Math.floor(rand() * 2 ** Math.ceil(rand() * bits));
  const ends = (six: boolean, proto: number): Ends => {
    const [first, second] = [number(16), number(16)];
    const words = (count: number) => Array.from({ length: count }, () => number(16).toString(16)).join(':');
    const address = () => (six ? words(8) : [8, 8, 8, 8].map(number).join('.'));
    return [`${address()} ${first}`, `${address()} ${isIcmp(proto) || proto === GRE ? first : second}`];
  };
  const flows = Array.from({ length: 4000 }, (_, slot) => {
    const six = rand() < 0.4;
    const proto = pick([1, 6, 17, 47, 58, 132]);
    const made: Made = {
      original: ends(six, proto),
      reply: ends(six, proto),
      proto,
      state: number(8),
      status: number(11) & ~CtStatus.CONFIRMED,
      nat: pick([0, 1, 2, 3]),
      secondsLeft: number(20) + 60, // none is to end before it is printed
      ageSeconds: pick([0, 12, number(20), number(10) / 7]),
      packets: [number(53), number(32)],
      bytes: [number(53), number(33)],
      ifindex: number(3),
      mark: number(32),
      zone: number(16),
    };
    return rawFlow(made, slot);
  });
  const now = nowTicks();
  const matches = flows.map((raw) => ({ raw, now }));

  for (const [name, format, frame] of [
    ['text', FLOW_FORMATTER.text, LINES],
    ['jsonl', FLOW_FORMATTER.json, LINES],
    ['json', FLOW_FORMATTER.json, ARRAY],
  ] as const) {
    const decoded = flows.map((raw) => decodeFlow(raw, now, NAMES));
    const chunks = [...new FlowPrinter(format, NAMES).chunks(matches, frame)].length;
    t.equal(
      print(format, matches, frame),
      [...framed(decoded, format, frame)].join(''),
      `${name} in ${chunks} chunks`,
    );
    t.equal(print(format, [], frame), frame.empty, `${name} of none`);
  }
});

test('a format that the printer can not follow is left to the formatter', async (t) => {
  const matches = [MASQUERADED, { ...MASQUERADED, packets: [7, 8] as const }].map((made) => ({
    raw: rawFlow(made),
    now: nowTicks(),
  }));
  const odd = { of: () => 'address-1' } as unknown as InterfaceNames;
  let named = '';
  for (const chunk of new FlowPrinter(FLOW_FORMATTER.json, odd).chunks(matches, LINES))
    named += Buffer.from(chunk);
  const doubled = print((flow) => `${flow.original.packets * 2} \u00e9\u20ac`, matches, LINES);

  t.match(named, /"packets":12,.*"iface":"address-1"}\n.*"packets":7,/);
  t.equal(doubled, '24 \u00e9\u20ac\n14 \u00e9\u20ac\n');
});

/** Everything that is printed; a chunk is copied before the next one is made. */
function print(format: FlowFormat, matches: readonly Match[], frame: Frame): string {
  let text = '';
  for (const chunk of new FlowPrinter(format, NAMES).chunks(matches, frame))
    text += Buffer.from(chunk).toString();
  return text;
}
