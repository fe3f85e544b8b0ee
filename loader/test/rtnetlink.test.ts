// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { setNetns } from '../src/netns.js';
import {
  listAddresses,
  listLinks,
  listRules,
  type NetworkEvent,
  type NetworkWatch,
  watch,
} from '../src/rtnetlink.js';
import { makeNetns, run } from './helpers/scene.js';

const name = makeNetns(t);
setNetns(name);
const ip = (...args: string[]): string => run('ip', ...args);
ip('link', 'add', 'one0', 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'one1');
const one = listLinks().find((link) => link.name === 'one0')!.ifindex;

function ipBatch(lines: string[]): void {
  execFileSync('ip', ['-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    stdio: ['pipe', 'inherit', 'inherit'],
  });
}

/** The first event that fits; the test's time limit ends a wait for one that never comes. */
async function find(events: NetworkWatch, fits: (event: NetworkEvent) => boolean): Promise<NetworkEvent> {
  for (;;) {
    const { value } = await events.next();
    if (!value) throw new Error('The watch has ended');
    if (fits(value)) return value;
  }
}

t.test('links are listed as ip(8) lists them', async (t) => {
  const expected = JSON.parse(ip('-j', '-d', 'link', 'show')) as {
    ifindex: number;
    ifname: string;
    mtu: number;
    address: string;
    link_type: string;
  }[];

  const links = listLinks();

  t.same(
    links.map(({ ifindex, name, mtu, address }) => ({ ifindex, name, mtu, address })),
    expected.map(({ ifindex, ifname, mtu, address }) => ({ ifindex, name: ifname, mtu, address })),
  );
  t.match(
    links.find((link) => link.name === 'lo'),
    { ifindex: 1, type: 772, isUp: true, mtu: 65_536 },
  );
  const peer = links.find((link) => link.name === 'one1')!.ifindex;
  t.match(
    links.find((link) => link.name === 'one0'),
    { kind: 'veth', type: 1, mtu: 1400, link: peer, isUp: false },
  );
});

t.test('a bridge port says its master', async (t) => {
  ip('link', 'add', 'bridge0', 'type', 'bridge');
  t.teardown(() => ip('link', 'delete', 'bridge0'));
  ip('link', 'set', 'one1', 'master', 'bridge0');

  const links = listLinks();

  const bridge = links.find((link) => link.name === 'bridge0')!;
  t.equal(bridge.kind, 'bridge');
  t.equal(links.find((link) => link.name === 'one1')!.master, bridge.ifindex);
});

t.test('a thousand links come whole', { timeout: 120_000 }, async (t) => {
  const crowd = makeNetns(t);
  setNetns(crowd);
  ipBatch(Array.from({ length: 500 }, (_, index) => `link add c${index} type veth peer name d${index}`));
  t.teardown(() => setNetns(name));

  const links = listLinks();

  t.equal(links.length, 1_001);
  t.equal(new Set(links.map((link) => link.ifindex)).size, 1_001);
});

t.test('addresses are listed with scope, flags and lifetimes', async (t) => {
  ip('address', 'add', '192.0.2.1/24', 'dev', 'one0');
  ip('address', 'add', '192.0.2.2/24', 'dev', 'one0');
  ip('address', 'add', '198.51.100.1', 'peer', '198.51.100.2/32', 'dev', 'one0');
  ip('address', 'add', '2001:db8::1/64', 'dev', 'one0', 'nodad');
  const lifetimes = ['valid_lft', '1000', 'preferred_lft', '0'];
  ip('address', 'add', '2001:db8::2/64', 'dev', 'one0', 'nodad', ...lifetimes);
  t.teardown(() => ip('address', 'flush', 'dev', 'one0'));

  const addresses = listAddresses().filter((entry) => entry.ifindex === one);
  const find = (address: string) => addresses.find((entry) => entry.address === address);

  t.match(find('192.0.2.1'), { family: 'ipv4', prefix: 24, scope: 0, flags: ['permanent'] });
  t.equal(find('192.0.2.1')?.validSeconds, undefined);
  t.same(find('192.0.2.2')?.flags, ['secondary', 'permanent']);
  t.match(find('198.51.100.1'), { prefix: 32, peer: '198.51.100.2' });
  t.equal(find('198.51.100.2'), undefined, "the other end's address is not ours");
  t.match(find('2001:db8::1'), { family: 'ipv6', prefix: 64, scope: 0 });
  t.match(find('2001:db8::2'), { preferredSeconds: 0, validSeconds: /^(1000|99\d)$/ });
  t.ok(find('2001:db8::2')?.flags.includes('deprecated'));
  t.match(
    listAddresses().find((entry) => entry.address === '::1'),
    { ifindex: 1, scope: 254, prefix: 128 },
  );
});

t.test('an address that comes and goes is told of', async (t) => {
  using events = watch({ addresses: true });

  ip('address', 'add', '203.0.113.5/28', 'dev', 'one0');
  ip('address', 'delete', '203.0.113.5/28', 'dev', 'one0');

  const isOurs = (event: NetworkEvent) => event.type === 'address' && event.address.address === '203.0.113.5';
  t.match(await find(events, isOurs), {
    action: 'new',
    address: { ifindex: one, family: 'ipv4', prefix: 28, flags: ['permanent'] },
  });
  t.match(await find(events, isOurs), { action: 'del', address: { ifindex: one, prefix: 28 } });
});

t.test('rules are listed and told of, with the ports that they look at', async (t) => {
  const system = listRules();
  t.match(
    system.filter(({ family }) => family === 'ipv4'),
    [
      { priority: 0, table: 255 },
      { priority: 32_766, table: 254 },
      { priority: 32_767, table: 253 },
    ],
  );
  t.notOk(
    system.some((rule) => rule.sourcePorts ?? rule.destinationPorts),
    'the kernel itself looks at none',
  );

  using events = watch({ rules: true });
  const ports = ['sport', '1000-2000', 'dport', '53'];
  for (const [option, family] of [
    ['-4', 'ipv4'],
    ['-6', 'ipv6'],
  ] as const) {
    const rule = [option, 'rule', 'add', 'priority', '77', 'ipproto', 'udp', ...ports, 'table', '1000'];
    ip(...rule);
    const wanted = {
      family,
      priority: 77,
      table: 1000,
      sourcePorts: [1000, 2000],
      destinationPorts: [53, 53],
    };
    const isOurs = (event: NetworkEvent) => event.type === 'rule' && event.rule.priority === 77;
    t.same(await find(events, isOurs), { type: 'rule', action: 'new', rule: wanted });
    t.same(
      listRules().filter(({ priority }) => priority === 77),
      [wanted],
    );
    ip(option, 'rule', 'delete', 'priority', '77');
    t.same(await find(events, isOurs), { type: 'rule', action: 'del', rule: wanted });
  }
});

t.test('a pending wait is woken by links, routes and neighbours', async (t) => {
  using events = watch({ links: true, routes: true, neighbours: true });

  const up = find(events, (event) => event.type === 'link' && event.link.name === 'one0' && event.link.isUp);
  setImmediate(() => {
    ip('link', 'set', 'one1', 'up');
    ip('link', 'set', 'one0', 'up');
  });
  t.match(await up, { action: 'new', link: { ifindex: one } });

  ip('address', 'add', '192.0.2.1/24', 'dev', 'one0');
  ip('route', 'add', '10.9.0.0/16', 'via', '192.0.2.7', 'metric', '5');
  const route = await find(
    events,
    (event) => event.type === 'route' && event.route.destination === '10.9.0.0',
  );
  t.match(route, {
    action: 'new',
    route: { family: 'ipv4', prefix: 16, gateway: '192.0.2.7', ifindex: one, table: 254, metric: 5 },
  });

  ip('neighbour', 'add', '192.0.2.9', 'lladdr', '02:00:00:00:00:09', 'dev', 'one0');
  const neighbour = await find(
    events,
    (event) => event.type === 'neighbour' && event.neighbour.address === '192.0.2.9',
  );
  t.match(neighbour, {
    action: 'new',
    neighbour: { ifindex: one, linkAddress: '02:00:00:00:00:09', state: 0x80 },
  });
  ip('address', 'flush', 'dev', 'one0');
});

t.test('a link that goes is told of', async (t) => {
  using events = watch({ links: true });
  ip('link', 'add', 'brief0', 'type', 'veth', 'peer', 'name', 'brief1');
  ip('link', 'delete', 'brief0');

  const gone = (event: NetworkEvent) =>
    event.type === 'link' && event.action === 'del' && event.link.name === 'brief0';
  t.match(await find(events, gone), { link: { name: 'brief0' } });
});

t.test('a reader that falls behind is told to read all again, and goes on', async (t) => {
  ip('link', 'add', 'many0', 'type', 'veth', 'peer', 'name', 'many1');
  t.teardown(() => ip('link', 'delete', 'many0'));
  ip('link', 'set', 'many0', 'up');
  using events = watch({ routes: true });

  // more than the largest buffer holds that the watch may get
  ipBatch(
    Array.from({ length: 6_000 }, (_, index) => `route add 10.50.${index >> 8}.${index & 255}/32 dev many0`),
  );
  await find(events, (event) => event.type === 'resync');

  ip('route', 'add', '203.0.113.77/32', 'dev', 'many0');
  const isLast = (event: NetworkEvent) =>
    event.type === 'route' && event.route.destination === '203.0.113.77';
  t.match(await find(events, isLast), { action: 'new' });
});

t.test('a watch ends by abort, close and break', async (t) => {
  const controller = new AbortController();
  const aborted = watch({ links: true }, controller.signal).next();
  setImmediate(() => controller.abort());
  t.same(await aborted, { done: true, value: undefined });
  t.same(await watch({ links: true }, AbortSignal.abort()).next(), { done: true, value: undefined });

  const events = watch({ links: true });
  const closed = events.next();
  setImmediate(() => events.close());
  t.same(await closed, { done: true, value: undefined });
  events.close();

  const broken = watch({ links: true });
  ip('link', 'set', 'one0', 'mtu', '1401');
  for await (const event of broken) {
    t.equal(event.type, 'link');
    break;
  }
  t.same(await broken.next(), { done: true, value: undefined });
});

t.test('a watch of nothing is refused', async (t) => {
  t.throws(() => watch({}), TypeError);
});
