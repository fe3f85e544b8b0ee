// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Much at once, with the offloads that real interfaces have: large segments (GSO, GRO) and checksums that
// are not computed yet cross the router.

import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { HTTP_PORT, type Scene, scene, TCP_PORT } from '../helpers/scene.js';
import { pattern, patternDigest } from '../helpers/servers/pattern.js';
import { slowly } from '../helpers/wait.js';

const BYTES = 200 * 1024 * 1024;
const CURL = ['curl', '-sS', '--fail', '--max-time', String(slowly(60))];

async function patternFile(t: Test, bytes: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ctnat-upload-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'pattern');
  const file = await open(path, 'w');
  for (const block of pattern(bytes)) await file.write(block);
  await file.close();
  return path;
}

async function download({ clients, server }: Scene): Promise<string> {
  const url = `http://${server.ipv4}:${HTTP_PORT}/download/${BYTES}`;
  const script = 'set -o pipefail; "$@" | sha256sum';
  const { stdout } = await clients[0]!.ns.run(['bash', '-c', script, 'download', ...CURL, url], {
    limitMs: 90_000,
  });
  return stdout.split(' ')[0]!;
}

t.test('a download of 200 MiB arrives unharmed with offloads on', async (t) => {
  const network = await scene(t);
  t.setTimeout(slowly(120_000));

  t.equal(await download(network), patternDigest(BYTES));
});

t.test('an upload of 200 MiB arrives unharmed with offloads on', async (t) => {
  const { clients, server } = await scene(t);
  t.setTimeout(slowly(120_000));
  const file = await patternFile(t, BYTES);
  const url = `http://${server.ipv4}:${HTTP_PORT}/upload`;
  const { stdout } = await clients[0]!.ns.run([...CURL, '-T', file, url], { limitMs: 90_000 });

  t.equal(stdout, `${BYTES} ${patternDigest(BYTES)}\n`);
});

for (const [where, features] of [
  ['checksums computed by the clients', { tx: false }],
  ['no large segments', { gso: false, tso: false, gro: false }],
] as const) {
  t.test(`a download of 200 MiB arrives unharmed: ${where}`, async (t) => {
    const network = await scene(t);
    t.setTimeout(slowly(120_000));
    for (const { ns } of [...network.clients, network.server]) await ns.offload('eth0', features);

    t.equal(await download(network), patternDigest(BYTES));
  });
}

t.test('500 parallel connections from two clients', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  t.setTimeout(slowly(120_000));
  const target = { host: server.ipv4, port: TCP_PORT };
  const results = (
    await Promise.all(clients.map(({ peer }) => peer.call('tcpMany', target, 250, slowly(30_000))))
  ).flat();

  t.equal(results.length, 500);
  t.same(
    results.filter(({ error }) => error !== ''),
    [],
    'each got its own line back',
  );
  t.equal(new Set(results.map(({ seen }) => seen)).size, 500, 'the server saw 500 ports');
  t.ok(results.every(({ seen }) => seen.includes(`${router.ipv4} `)));
  const flows = (await nat.flows()).filter((flow) => flow.original.dport === TCP_PORT);
  t.equal(flows.length, 500, 'and each is a flow of its own');
});
