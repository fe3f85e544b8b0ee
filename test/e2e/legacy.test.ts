// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A gateway on a kernel that lacks something, by force: each fallback carries traffic, lists, sweeps, and leaves
// nothing. And kernels that lack what nothing can stand in for: they are refused, untouched.

import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { feature, findSection, parseElf } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { bestFlavour, FLAVOURS, type FlavourName } from '../../src/flavours.js';
import { type Ctnat, gatewayConfig } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { hookQdiscs, kernelObjects, survivors } from '../helpers/kernel-objects.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { type RunResult, run } from '../helpers/process.js';
import { network, type SceneHost, UDP_PORT } from '../helpers/scene.js';
import { slowly, until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;
/** For a command that compiles, too. */
const LIMIT_MS = 120_000;
const NEWER = 'jmp32,global-data,loops,coarse-clock';

interface Status {
  interfaces: { name: string; hooks: string[] }[];
  features: Record<string, boolean | string>;
  missing: { name: string; instead: string }[];
}

/** ctnat in an environment, each command of it. */
class Without {
  constructor(
    readonly ctnat: Ctnat,
    readonly prefix: readonly string[],
  ) {}

  run(...args: string[]): Promise<RunResult> {
    return run([...this.prefix, ...this.ctnat.argv(args)], { mayFail: true, limitMs: LIMIT_MS });
  }

  async done(t: Test, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(...args);
    t.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async json<T>(t: Test, ...args: string[]): Promise<T> {
    return JSON.parse(await this.done(t, ...args, '-o', 'json')) as T;
  }
}

const without = (features: string): string[] => ['env', `LIBBPF_TS_DISABLE=${features}`];

const CASES: [name: string, prefix: string[], expected: { features: object; hook: RegExp }][] = [
  ['no TCX', without('tcx'), { features: { tcx: false, attach: 'clsact' }, hook: /^clsact/ }],
  ['no batches', without('batch,mmap'), { features: { batch: false, listing: 'single' }, hook: /./ }],
  ['no mapped arrays', without('mmap'), { features: { mmap: false, listing: 'batch' }, hook: /./ }],
  [
    'no ring buffer and no BTF',
    without('ringbuf,btf'),
    { features: { ringbuf: false, btf: false }, hook: /./ },
  ],
  ['no loops', without(NEWER), { features: { flavour: 'floor' }, hook: /./ }],
  [
    'nothing that is newer than 4.19',
    without(`tcx,batch,mmap,ringbuf,btf,link,${NEWER}`),
    { features: { flavour: 'floor', listing: 'single', attach: 'clsact' }, hook: /^clsact/ },
  ],
  ['no locked memory', ['prlimit', '--memlock=0:0'], { features: {}, hook: /./ }],
];

async function carriesTraffic(t: Test, clients: SceneHost[], server: SceneHost, outside: string) {
  const sockets = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, PORT)));
  const seen = [];
  for (const socket of sockets) seen.push(await socket.ask(server.ipv4, UDP_PORT));
  t.equal(seen[0], `${outside} ${PORT}`);
  t.match(seen[1], new RegExp(`^${outside} \\d+$`));
  t.not(seen[0], seen[1]);
}

for (const [name, prefix, { features, hook }] of CASES) {
  t.test(`${name}: attach, traffic, list, sweep, detach`, only, async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    const old = new Without(ctnat, prefix);
    const config = await ctnat.writeConfig(gatewayConfig(topology, { timeouts: { udp: 1, udpStream: 1 } }));
    await old.done(t, 'apply', config);

    const status = await old.json<Status>(t, 'status');
    t.match(status.features, features);
    for (const { hooks } of status.interfaces) for (const each of hooks) t.match(each, hook);
    for (const { name } of status.missing)
      t.equal(status.features[name], false, `${name} is said to be missing`);
    await carriesTraffic(t, clients, server, router.ipv4);
    await until(
      'the listing is empty',
      async () => flowsOf(await old.json(t, 'bpf', 'ct', 'list', 'global'), 'udp').length === 0,
    );
    let deleted = 0;
    await until('the sweep has deleted both', async () => {
      const { maps } = await old.json<{ maps: { deleted: number }[] }>(t, 'gc');
      for (const map of maps) deleted += map.deleted;
      return deleted === 2;
    });
    const objects = await kernelObjects(ctnat);
    await old.done(t, 'detach', '--all', '--purge');

    t.same(await hookQdiscs(router.ns), []);
    // the kernel frees them when their last user is gone, a moment after the command has ended
    await until('programs, maps and links are gone', async () =>
      Object.values(await survivors(objects)).every((ids) => ids.length === 0),
    );
  });
}

t.test(
  'a kernel that lacks what it needs is refused, untouched, by the name of the option',
  only,
  async (t) => {
    const { topology, router } = await network(t);
    const ctnat = ctnatFor(topology);
    const needs: [features: string, option: RegExp][] = [
      ['bpf', /CONFIG_BPF_SYSCALL/],
      ['lpm-trie', /Linux 4\.11/],
      ['fib-lookup', /Linux 4\.18/],
      ['tcx,clsact', /CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF/],
    ];
    const config = await ctnat.writeConfig(gatewayConfig(topology));
    for (const [features, option] of needs) {
      for (const command of [
        ['attach', router.wan],
        ['apply', config],
      ]) {
        const { status, stdout, stderr } = await new Without(ctnat, without(features)).run(...command);
        t.equal(status, 1, `${features}: ${command[0]}`);
        t.equal(stdout, '');
        t.match(stderr, /^ctnat: can not (attach|apply) .* lacks [^\n]+\n$/, 'one line');
        t.match(stderr, option);
      }
      t.notOk(existsSync(ctnat.pinPath), 'nothing is pinned');
      t.same(await hookQdiscs(router.ns), [], 'nothing is attached');
    }
  },
);

t.test('without any buffer for events, who would listen is told why none come', only, async (t) => {
  const { topology, router } = await network(t);
  const old = new Without(ctnatFor(topology), without('ringbuf,perf-output'));
  await old.done(t, 'attach', router.wan);
  for (const command of [['monitor'], ['conntrack', '-E']]) {
    const { status, stdout, stderr } = await old.run(...command);
    t.equal(status, 1, command.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /: can not listen to events: .* needs Linux 4\.4 with CONFIG_BPF_EVENTS .*\n$/i);
  }
  const { missing } = await old.json<Status>(t, 'status');
  t.match(
    missing.find(({ name }) => name === 'perf-output'),
    { instead: 'nobody can listen to events' },
  );
  await old.done(t, 'detach', '--all', '--purge');
});

/** A folder of objects, of which these flavours have a program that no verifier takes: it reads a register never set. */
async function objectsRefused(t: Test, refused: readonly FlavourName[]): Promise<string> {
  const folder = t.testdir({});
  for (const { name } of FLAVOURS) {
    const built = join('build/bpf', name, 'ctnat.bpf.o');
    const bytes = readFileSync(built);
    if (refused.includes(name)) {
      const section = findSection(parseElf(bytes), 'tc');
      t.ok(section);
      const READ_R9 = [0xbf, 0x90, 0, 0, 0, 0, 0, 0]; // r0 = r9
      section!.data.set(READ_R9); // a view of the bytes
    }
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'ctnat.bpf.o'), bytes);
  }
  return folder;
}

t.test(
  'a flavour that the verifier refuses: the next older one is loaded, and it is said',
  only,
  async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    const best = bestFlavour((name) => feature(name).available);
    if (best === FLAVOURS[0].name) return void t.pass('this kernel has features for the oldest flavour only');
    const older = FLAVOURS[FLAVOURS.findIndex(({ name }) => name === best) - 1]!.name;
    const old = new Without(ctnat, ['env', `CTNAT_BPF_OBJECTS=${await objectsRefused(t, [best])}`]);
    const said = new RegExp(`flavour ${best}, .* the program ct_ingress \\(R9 !read_ok\\): .* ${older}`);

    const attached = await old.run('attach', ...router.lan);
    t.equal(attached.status, 0, attached.stderr);
    t.match(attached.stderr, said);
    await old.done(t, 'attach', router.wan, '--masquerade');
    const { features, missing } = await old.json<Status>(t, 'status');
    t.equal(features.flavour, older);
    t.equal(features[`flavour-${best}`], false);
    t.match(missing[0], { name: `flavour-${best}`, instead: new RegExp(older) });
    t.match(await old.done(t, 'status'), new RegExp(`NOT HERE[^]*flavour-${best} .*ct_ingress`));
    await carriesTraffic(t, clients, server, router.ipv4);
    await old.done(t, 'detach', '--all', '--purge');

    const config = await ctnat.writeConfig(gatewayConfig(topology));
    t.match(await old.done(t, 'apply', config), said, 'apply says it as well');
    await old.done(t, 'detach', '--all', '--purge');

    const forced = await new Without(ctnat, [...old.prefix, `CTNAT_FLAVOUR=${best}`]).run(
      'attach',
      router.wan,
    );
    t.equal(forced.status, 1, 'what is asked for by name is not replaced');
    t.match(forced.stderr, /ct_ingress.*R9 !read_ok/);
    t.notOk(existsSync(ctnat.pinPath), 'nothing is pinned');

    const none = await objectsRefused(
      t,
      FLAVOURS.map(({ name }) => name),
    );
    const refused = await new Without(ctnat, ['env', `CTNAT_BPF_OBJECTS=${none}`]).run('attach', router.wan);
    t.equal(refused.status, 1);
    t.match(refused.stderr, /ct_ingress/);
    t.notOk(existsSync(ctnat.pinPath), 'nothing is pinned');
    t.same(await hookQdiscs(router.ns), []);
  },
);

t.test('a flavour that was not built is compiled on the way, once', only, async (t) => {
  const { topology, router } = await network(t);
  t.setTimeout(slowly(2 * LIMIT_MS));
  const ctnat = ctnatFor(topology);
  const folder = t.testdir({ objects: {}, cache: {} });
  const cache = join(folder, 'cache');
  const env = ['env', `CTNAT_BPF_OBJECTS=${join(folder, 'objects')}`, `CACHE_DIRECTORY=${cache}`];

  const without = await new Without(ctnat, [...env, 'CLANG=/nonexistent/clang']).run('attach', router.wan);
  t.equal(without.status, 1);
  t.match(without.stderr, /^ctnat: .*\/nonexistent\/clang[^\n]*\n$/, 'one line');
  t.notOk(existsSync(ctnat.pinPath), 'nothing is pinned');

  const compiling = new Without(ctnat, [...env, 'CTNAT_FLAVOUR=floor']);
  await compiling.done(t, 'attach', router.wan);
  t.equal((await compiling.json<Status>(t, 'status')).features.flavour, 'floor');
  const made = () =>
    readdirSync(cache, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.o'))
      .map((name) => ({ name, mtimeMs: statSync(join(cache, name)).mtimeMs }));
  const kept = made();
  t.equal(kept.length, 1);
  await compiling.done(t, 'detach', '--all', '--purge');

  await compiling.done(t, 'attach', router.wan);
  t.same(made(), kept, 'it is not compiled again');
  await compiling.done(t, 'detach', '--all', '--purge');
});

t.test('a kernel that XDP mode is not for: the mode is refused by name, auto takes tc', only, async (t) => {
  const { topology, router } = await network(t);
  t.setTimeout(slowly(2 * LIMIT_MS));
  const ctnat = ctnatFor(topology);
  const older = new Without(ctnat, without(NEWER));
  const { status, stderr } = await older.run('attach', router.wan, '--mode', 'xdp');

  t.equal(status, 1);
  t.match(stderr, /can not attach wan0 in mode xdp: XDP mode needs Linux 5\.13.*; use tc or auto\n$/);
  t.same(await hookQdiscs(router.ns), [], 'it is untouched');
  t.match(await older.json(t, 'attach', router.wan, '--mode', 'auto'), [{ mode: 'tc' }]);
  await older.done(t, 'detach', '--all', '--purge');
});
