// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// XDP mode: what it forwards the stack does not see, what it leaves to the stack is of the same flows, and one can go
// over to the other at any packet. (CTNAT_MODE=xdp runs any other test in this mode.)

import { feature } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import type { Flow } from '../helpers/flow.js';
import { inject } from '../helpers/inject.js';
import {
  type CtnatScene,
  eachGoesItsWay,
  FAMILIES,
  type Family,
  followsItsWay,
  keepsItsFlow,
  PORT,
} from '../helpers/live-flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network, type Scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { type Ends, frame, ipv4Frame, udp4, udp6 } from '../helpers/wire/craft.js';
import { ETH_IPV6, type IpPacket, UDP } from '../helpers/wire/packet.js';

const only = {
  skip: CTNAT_ONLY || (!feature('coarse-clock').available && 'XDP mode needs Linux 5.13'),
};

/** One client on a port of its own and one server, whose stacks fill in checksums themselves. */
async function gateway(t: Test, mode = 'xdp'): Promise<CtnatScene> {
  const base = await network(t, { clients: 1, lan: 'ports' });
  for (const { ns } of [...base.clients, base.server]) await ns.offload('eth0', { tx: false, gro: true });
  await base.server.peer.serve(base.server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT });
  const ctnat = ctnatFor(base.topology);
  await attach(base, ctnat, mode);
  return { ...base, ctnat };
}

async function attach(base: Omit<Scene, 'nat'>, ctnat: Ctnat, mode: string): Promise<void> {
  await ctnat.run(['attach', ...base.router.lan, '--mode', mode], { limitMs: 60_000 });
  await ctnat.run(['attach', base.router.wan, '--masquerade=all', '--mode', mode], { limitMs: 60_000 });
}

const flows = (ctnat: Ctnat, ...filter: string[]): Promise<Flow[]> =>
  ctnat.json<Flow[]>(['bpf', 'ct', 'list', 'global', ...filter]);

/** What the stack of the router sees of the client's packets. */
const inStack = ({ router }: CtnatScene, filter = `udp port ${PORT}`): Promise<Capture> =>
  Capture.start(router.ns, router.lan[0]!, filter);

t.test('status says where the program runs; detach leaves nothing', only, async (t) => {
  const { ctnat, router } = await gateway(t);
  const { interfaces } = await ctnat.json<{ interfaces: { mode: string; hooks: string[] }[] }>(['status']);

  t.equal(interfaces.length, 2);
  for (const { mode, hooks } of interfaces) {
    t.equal(mode, 'xdp');
    t.ok(hooks.includes('xdp/native'), hooks.join());
    t.equal(hooks.length, 3, 'the hooks of TC are there, too');
  }
  await ctnat.run(['detach', '--all', '--purge']);
  t.notMatch(await router.ns.ip('link', 'show'), /xdp/);
});

t.test('both families cross: UDP, TCP, ping, HTTP', only, async (t) => {
  const scene = await gateway(t);
  const { clients, server, router, ctnat } = scene;
  const [client] = clients;
  for (const family of FAMILIES) {
    for (const to of [server[family], client![family]])
      await router.ns.run(['ping', '-c', '1', '-W', '3', to]); // XDP does not ask for neighbours
    const stack = await inStack(scene);
    const socket = await client!.peer.udp(client![family], PORT);
    const seen = `${router[family]} ${PORT}`;
    for (let i = 0; i < 5; i++) t.equal(await socket.ask(server[family], UDP_PORT), seen);
    t.same(await stack.stopIp(), [], 'not even the first packet went through the stack');
  }

  for (const to of [server.ipv4, server.ipv6]) {
    const { stdout } = await client!.ns.run(['ping', '-c', '3', '-i', '0.2', '-W', '3', to]);
    t.match(stdout, /3 packets transmitted, 3 received/);
  }
  for (const family of FAMILIES) {
    const connection = await client!.peer.tcp({ host: server[family], port: TCP_PORT });
    t.equal(await connection.echo('hello'), 'hello');
    await connection.close();
  }
  const argv = ['curl', '-sS', '--fail', '--max-time', '10', `http://${server.ipv4}:${HTTP_PORT}/`];
  t.match((await client!.ns.run(argv)).stdout, new RegExp(`^${router.ipv4} `));
  const both = await flows(ctnat, '-p', 'udp');
  t.equal(both.length, 2);
  for (const flow of both)
    t.match(flow, { original: { packets: 5 }, reply: { packets: 5 }, status: ['SEEN_REPLY', 'SRC_NAT'] });
});

for (const family of FAMILIES) {
  t.test(
    `${family}: one flow's packets take turns: by XDP, and with IP options by the stack`,
    only,
    async (t) => {
      const { clients, server, router, ctnat } = await gateway(t);
      const { ns, [family]: src } = clients[0]!;
      const near = JSON.parse(await router.ns.ip('-j', 'address', 'show', 'dev', router.lan[0]!));
      const isGlobal = (each: { family: string; scope: string }): boolean =>
        each.family === (family === 'ipv4' ? 'inet' : 'inet6') && each.scope === 'global';
      for (const to of [near[0].addr_info.find(isGlobal).local, server[family]])
        await (to === server[family] ? router.ns : ns).run(['ping', '-c', '1', '-W', '3', to]);
      const far = await Capture.start(server.ns, 'eth0', `host ${server[family]}`);
      const inside = await inStack({ clients, server, router, ctnat } as CtnatScene, `host ${src}`);
      const macs = [await ns.mac('eth0'), await router.ns.mac(router.lan[0]!)] as const;
      const ends = { src, dst: server[family], sport: PORT, dport: UDP_PORT };
      const [plain, slow] = [false, true].map((options) => datagram(family, macs, ends, options));
      await inject(
        ns,
        'eth0',
        Array.from({ length: 20 }, (_, i) => (i % 2 ? slow! : plain!)),
      );
      const seen = (await far.stopIp()).filter((each) => each.src === router[family] && isTraffic(each));

      t.equal(seen.length, 20, 'all of them, with the outside address');
      t.equal(
        (await inside.stopIp()).filter((each) => each.dst === server[family] && isTraffic(each)).length,
        10,
      );
      const found = await flows(ctnat, '-p', 'udp');
      t.equal(found.length, 1, 'of one flow');
      t.equal(found[0]!.original.packets, 20, 'each counted once');
    },
  );
}

/** UDP, also behind IPv6's destination options. */
const isTraffic = ({ protocol }: IpPacket): boolean => protocol === UDP || protocol === 60;

function datagram(family: Family, macs: readonly [string, string], ends: Ends, options: boolean): Buffer {
  const data = Buffer.from('packet');
  if (family === 'ipv6') return frame(...macs, ETH_IPV6, udp6(ends, data, { options }));
  const plain = ipv4Frame(...macs, udp4(ends, data));
  return options ? withOptions(plain) : plain;
}

/** The frame with four NOPs between the IP header and what follows. */
function withOptions(plain: Buffer): Buffer {
  const header = Buffer.concat([plain.subarray(14, 34), Buffer.from([1, 1, 1, 1])]);
  header[0] = 0x46;
  header.writeUInt16BE(header.readUInt16BE(2) + 4, 2);
  header.writeUInt16BE(0, 10);
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~(sum + (sum >>> 16)) & 0xffff, 10);
  return Buffer.concat([plain.subarray(0, 14), header, plain.subarray(34)]);
}

async function attachSecond({ server, ctnat }: CtnatScene, iface: string): Promise<void> {
  await server.ns.offload('eth1', { tx: false, gro: true });
  await ctnat.run(['attach', iface, '--masquerade=all', '--mode', 'xdp'], { limitMs: 60_000 });
}

for (const family of FAMILIES) {
  t.test(
    `${family}: a live flow's neighbour is forgotten, and its route moves: no packet is lost`,
    only,
    async (t) => {
      const scene = await gateway(t);
      await followsItsWay(t, scene, family, (iface) => attachSecond(scene, iface));
    },
  );

  t.test(
    `${family}: packets of one flow that follow each other at once go each its own way`,
    only,
    async (t) => {
      const scene = await gateway(t);
      await eachGoesItsWay(t, scene, family, (iface) => attachSecond(scene, iface));
    },
  );

  t.test(
    `${family}: XDP comes and goes under load: nothing is lost or wrong, and the flow is one`,
    only,
    async (t) => {
      const scene = await gateway(t, 'tc');
      const change = (mode: string) => () => attach(scene, scene.ctnat, mode);
      await keepsItsFlow(t, scene, family, ['xdp', 'tc', 'xdp', 'tc'].map(change));
    },
  );
}

t.test('auto is TC for a veth, and says why; XDP is refused by name where it can not be', only, async (t) => {
  const { ctnat } = await gateway(t, 'auto');
  const { interfaces } = await ctnat.json<{ interfaces: { mode: string; why: string }[] }>(['status']);
  for (const { mode, why } of interfaces) {
    t.equal(mode, 'tc');
    t.match(why, /veth/);
  }
  const { status, stderr } = await ctnat.run(['attach', 'lo', '--mode', 'xdp'], { mayFail: true });
  t.equal(status, 1);
  t.match(stderr, /can not attach lo in mode xdp: its packets have no Ethernet header; use tc or auto\n$/);
  const eim = ['attach', 'wan0', '--masquerade', '--mapping', 'eim'];
  t.match(await ctnat.run([...eim, '--mode', 'xdp'], { mayFail: true }), {
    status: 1,
    stderr: /can not attach wan0 in mode xdp: endpoint-independent mappings .*; use tc or auto\n$/,
  });
  t.match(await ctnat.run([...eim, '--mode', 'auto']), {
    stdout: /attached by tc because endpoint-independent mappings /,
  });
});

/** Kinds of devices, and how `ip` makes one of this name. Most kernels have some of them. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  veth: ['link', 'add', 'name', 'veth', 'type', 'veth', 'peer', 'name', 'peer'],
  bridge: ['link', 'add', 'name', 'bridge', 'type', 'bridge'],
  dummy: ['link', 'add', 'name', 'dummy', 'type', 'dummy'],
  bond: ['link', 'add', 'name', 'bond', 'type', 'bond'],
  vlan: ['link', 'add', 'link', 'veth', 'name', 'vlan', 'type', 'vlan', 'id', '7'],
  macvlan: ['link', 'add', 'link', 'wan0', 'name', 'macvlan', 'type', 'macvlan'],
  vxlan: ['link', 'add', 'name', 'vxlan', 'type', 'vxlan', 'id', '7', 'dstport', '4789'],
  gre: ['link', 'add', 'name', 'gre', 'type', 'gre', 'remote', '192.0.2.2'],
  wireguard: ['link', 'add', 'name', 'wireguard', 'type', 'wireguard'],
  tun: ['tuntap', 'add', 'name', 'tun', 'mode', 'tun'],
  tap: ['tuntap', 'add', 'name', 'tap', 'mode', 'tap'],
};
const WITHOUT_LINK_HEADER = ['gre', 'wireguard', 'tun'];

t.test(
  'auto on every kind of device that the kernel has; XDP where there is an Ethernet header',
  only,
  async (t) => {
    const { router, topology } = await network(t, { clients: 1, lan: 'ports' });
    const ctnat = ctnatFor(topology);
    const made: string[] = [];
    for (const [kind, argv] of Object.entries(KINDS)) {
      const { status, stderr } = await router.ns.run(['ip', ...argv], { mayFail: true });
      if (status === 0) made.push(kind);
      else t.comment(`no ${kind} here: ${stderr.trim()}`);
    }
    const ethernet = made.filter((kind) => !WITHOUT_LINK_HEADER.includes(kind));
    const attach = async (names: readonly string[], mode: string): Promise<string[]> => {
      const { stdout } = await ctnat.run(['attach', ...names, '--mode', mode], { limitMs: 90_000 });
      return stdout.split('\n').filter((line) => names.some((name) => line.startsWith(`${name}: `)));
    };
    for (const line of await attach(made, 'auto')) {
      const [, kind] = /^([^:]+): attached by tc because /.exec(line) ?? [];
      const why =
        kind === 'veth' && made.includes('vlan')
          ? /XDP may see packets of the VLAN vlan above it/
          : WITHOUT_LINK_HEADER.includes(kind!)
            ? /its packets have no Ethernet header/
            : new RegExp(`a ${kind === 'tap' ? 'tun' : kind} has no driver of its own for XDP`);
      t.match(line, why);
    }
    if (made.includes('vlan')) await router.ns.ip('link', 'delete', 'vlan');
    const asked = await attach(
      ethernet.filter((kind) => kind !== 'vlan'),
      'xdp',
    );
    t.ok(asked.length >= 2);
    for (const line of asked) t.match(line, /attached by xdp .*xdp\/(native|generic)/);
    for (const kind of made.filter((each) => WITHOUT_LINK_HEADER.includes(each))) {
      const { status, stderr } = await ctnat.run(['attach', kind, '--mode', 'xdp'], { mayFail: true });
      t.equal(status, 1);
      t.match(stderr, /no Ethernet header/);
    }
  },
);
