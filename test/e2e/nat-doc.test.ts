// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// docs/nat.md means what it says: each example's commands work, traffic flows, and its file says the same.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ctnatFor } from '../helpers/nat.js';
import { network, type SceneHost, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import type { Router } from '../helpers/topology.js';

interface Example {
  name: string;
  commands: string[][];
  file: string;
}

const DOC = readFileSync(fileURLToPath(new URL('../../../docs/nat.md', import.meta.url)), 'utf8');

/** The chapters that have both: commands and a file. */
function examples(): Example[] {
  return DOC.split(/^## /m).flatMap((chapter) => {
    const block = (kind: string) => new RegExp(`^\`\`\`${kind}\n([^]*?)^\`\`\`$`, 'm').exec(chapter)?.[1];
    const [sh, yaml] = [block('sh'), block('yaml')];
    if (!sh || !yaml) return [];
    const commands = sh.trim().split('\n');
    const args = commands.map((line) => line.split(' '));
    return [{ name: chapter.split('\n')[0]!, commands: args.map((words) => words.slice(1)), file: yaml }];
  });
}

interface Place {
  client: SceneHost;
  server: SceneHost;
  router: Router;
}

/** As whom a client's connection is seen outside. */
const SEEN: Record<string, { family: 'ipv4' | 'ipv6'; as: (place: Place) => RegExp }> = {
  'A gateway': { family: 'ipv4', as: ({ router }) => new RegExp(`^${router.ipv4} `) },
  'A full-cone interface': { family: 'ipv4', as: ({ router }) => new RegExp(`^${router.ipv4} `) },
  'A port forward': { family: 'ipv4', as: ({ router }) => new RegExp(`^${router.ipv4} `) },
  'A pool': { family: 'ipv4', as: () => /^198\.51\.100\.[4-7] (2\d{4}|\d{4})$/ },
  'Prefix to prefix': {
    family: 'ipv4',
    as: ({ client }) => new RegExp(`^203\\.0\\.113\\.${client.ipv4.split('.')[3]} `),
  },
  NPTv6: { family: 'ipv6', as: () => /^2001:db8:77:/ },
};

t.strictSame(
  examples().map(({ name }) => name),
  Object.keys(SEEN),
  'every example is known here',
);

for (const { name, commands, file } of examples()) {
  t.test(name, async (t) => {
    const { topology, clients, server, router } = await network(t);
    const nat = ctnatFor(topology);
    for (const [command, ...args] of commands) await nat.run([command!, ...args]);
    const { family, as } = SEEN[name]!;
    const client = clients[0]!;
    if (family === 'ipv6') await server.peer.serve(server.ipv6, { tcp: TCP_PORT });
    for (const prefix of ['203.0.113.0/24', '198.51.100.4/30']) {
      await server.ns.ip('route', 'replace', prefix, 'via', router.ipv4);
    }
    await server.ns.ip('-6', 'route', 'replace', '2001:db8:77::/48', 'via', router.ipv6);

    const seen = (await client.peer.tcp({ host: server[family], port: TCP_PORT })).seen;
    t.match(seen, as({ client, server, router }));
    if (name === 'A full-cone interface') {
      const inside = await client.peer.udp(client.ipv4);
      const [, port] = (await inside.ask(server.ipv4, UDP_PORT))!.split(' ');
      const stranger = await server.peer.udp(server.ipv4);
      await stranger.send('from a port that nobody has asked', router.ipv4, Number(port));
      t.match(await inside.receive(), { port: stranger.port }, 'anybody comes in');
    }
    const before = await nat.json<unknown[]>(['nat', 'list']);
    const { changes } = await nat.json<{ changes: string[] }>(['apply', await nat.writeConfig(file)]);
    t.strictSame(await nat.json(['nat', 'list']), before, 'the file has the same rules');
    t.strictSame(changes, [], 'and changes nothing');
  });
}
