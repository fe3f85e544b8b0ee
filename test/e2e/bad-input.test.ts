// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What goes wrong on real machines: each gives one line that says what and what to do, leaves nothing half
// done, and does not disturb a datapath that runs.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import t, { type Test } from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { hookQdiscs, kernelObjects, pins } from '../helpers/kernel-objects.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { type RunResult, run } from '../helpers/process.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

const only = { skip: CTNAT_ONLY };

function failsWith(t: Test, result: RunResult, message: RegExp, status = 1): void {
  t.equal(result.status, status, 'exit status');
  t.equal(result.stdout, '');
  t.match(result.stderr, /^[^\n]+\n$/, 'one line');
  t.match(result.stderr, message);
}

/** Runs the command as it would be typed, with `prefix` before it. */
function prefixed(ctnat: Ctnat, prefix: string[], args: string[]): Promise<RunResult> {
  return run([...prefix, ...ctnat.argv(args)], { mayFail: true });
}

t.test('no such interface: nothing is attached, not even the one that exists', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  failsWith(t, await ctnat.run(['attach', router.wan, 'nosuch0'], { mayFail: true }), /nosuch0/);

  t.same(await hookQdiscs(router.ns), []);
  t.same((await kernelObjects(ctnat)).links, []);
  t.same((await ctnat.json<{ interfaces: unknown[] }>(['status'])).interfaces, []);
});

t.test('a running datapath is not disturbed by an attach that fails', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  failsWith(t, await ctnat.run(['attach', 'nosuch0'], { mayFail: true }), /nosuch0/);

  t.equal(await connection.echo('still'), 'still');
});

t.test('an interface that goes away while it is attached', only, async (t) => {
  const { topology, clients, router, server } = await network(t, { lan: 'ports' });
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  await router.ns.ip('link', 'delete', router.lan[1]!);

  const { interfaces } = await ctnat.json<{ interfaces: { name: string }[] }>(['status']);
  t.notOk(
    interfaces.some(({ name }) => name === router.lan[1]),
    'status does not show it',
  );
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`, 'the others work');
  t.equal((await ctnat.run(['detach', router.lan[1]!])).status, 0, 'detaching it is no error');
  const objects = await kernelObjects(ctnat);
  t.ok(objects.programs.length > 0);
  await ctnat.run(['detach', '--all', '--purge']);
  t.same(pins(ctnat), []);
});

t.test('without privileges the missing capability is named', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  const powerless = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--'];
  failsWith(t, await prefixed(ctnat, powerless, ['attach', router.wan]), /CAP_(BPF|NET_ADMIN|SYS_ADMIN)/);
  failsWith(t, await prefixed(ctnat, powerless, ['bpf', 'ct', 'list', 'global']), /CAP_/);
});

t.test('bpffs is mounted where it is not', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  // In a mount namespace of its own, so that nobody else's bpffs goes away.
  const script = 'umount -l /sys/fs/bpf; "$0" "$@" && stat -f -c %T /sys/fs/bpf';
  const result = await prefixed(ctnat, ['unshare', '-m', 'sh', '-c', script], ['attach', router.wan]);

  t.equal(result.status, 0, result.stderr);
  t.match(result.stdout, /bpf_fs/);
});

t.test('under ip netns exec it works on the real pins or says what to use', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const argv = ctnat
    .argv(['status', '-o', 'json'])
    .filter((word, i, all) => word !== '--netns' && all[i - 1] !== '--netns');
  const result = await run(['ip', 'netns', 'exec', router.ns.name, ...argv], { mayFail: true });

  if (result.status === 0) {
    const { interfaces } = JSON.parse(result.stdout) as { interfaces: { name: string }[] };
    t.ok(interfaces.some(({ name }) => name === router.wan));
  } else {
    failsWith(t, result, /--netns/);
  }
});

t.test('maps pinned by a version with another layout are refused, and go on working', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  const settings = pins(ctnat).find((pin) => /settings$/.test(basename(pin)))!;
  t.ok(settings, 'the settings map is pinned');
  const { stdout } = await run([
    'bpftool',
    '-j',
    'map',
    'lookup',
    'pinned',
    settings,
    'key',
    '0',
    '0',
    '0',
    '0',
  ]);
  const { value } = JSON.parse(stdout) as { value: string[] };
  const other = ['0xee', '0', '0', '0', ...value.slice(4)]; // struct settings begins with its layout version
  await run(['bpftool', 'map', 'update', 'pinned', settings, 'key', '0', '0', '0', '0', 'value', ...other]);

  for (const args of [['attach', topology.router.wan], ['bpf', 'ct', 'list', 'global'], ['gc']]) {
    failsWith(t, await ctnat.run(args, { mayFail: true }), /layout/);
  }
  t.equal(await connection.echo('still'), 'still');
  t.equal((await ctnat.run(['detach', '--all', '--purge'])).status, 0, 'and they can be removed');
  t.same(pins(ctnat), []);
});

t.test('a configuration file with an error names its line and changes nothing', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  const file = await ctnat.writeConfig('interfaces:\n  - name: wan0\n    masqerade: 4\n');
  for (const args of [
    ['apply', file],
    ['apply', '--check', file],
    ['run', '-c', file],
  ]) {
    const result = await ctnat.run(args, { mayFail: true });
    t.equal(result.status, 1);
    t.match(result.stderr, /:3\b.*masqerade/);
  }

  t.equal(await connection.echo('still'), 'still');
});

t.test('wrong usage exits 2, a mistyped command is guessed', only, async (t) => {
  const { topology } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  const result = await ctnat.run(['atach', 'wan0'], { mayFail: true });

  t.equal(result.status, 2);
  t.match(result.stderr, /attach/);
  t.equal((await ctnat.run(['attach'], { mayFail: true })).status, 2);
});

t.test('a namespace that is not there', only, async (t) => {
  const { topology } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  const argv = ctnat.argv(['status']).map((word) => (word === topology.router.ns.path ? 'nosuchns' : word));

  failsWith(t, await run(argv, { mayFail: true }), /nosuchns/);
});

t.test("the machine's own interfaces are left alone", only, async (t) => {
  const { topology } = await network(t, { clients: 1 });
  const qdiscs = (): Promise<RunResult> => run(['tc', 'qdisc', 'show']);
  const before = (await qdiscs()).stdout;
  await ctnatFor(topology).start();

  t.equal((await qdiscs()).stdout, before);
  t.notMatch(readFileSync('/proc/net/dev', 'utf8'), /wan0/);
});
