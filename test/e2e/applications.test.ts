// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Real programs through the gateway, which knows nothing of any of them.

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CTNAT_ONLY } from '../helpers/nat.js';
import { type SceneHost, scene } from '../helpers/scene.js';
import { HOP_IPV4 } from '../helpers/topology.js';
import { elapse, until } from '../helpers/wait.js';

/** A folder that is gone when the test ends. */
async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ctnat-app-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Resolves when somebody listens on the port inside the host's namespace. */
async function listening(host: SceneHost, proto: 'tcp' | 'udp', port: number): Promise<void> {
  await until(`a ${proto} listener on port ${port}`, async () => {
    const { stdout } = await host.ns.run(['ss', '-Hln', proto === 'tcp' ? '-t' : '-u']);
    return stdout.includes(`:${port} `);
  });
}

const STUN_MODES = {
  'STUN: coturn finds the NAT out by RFC 5780': [undefined, 'Address and Port Dependent'],
  'STUN: coturn and a full cone (eif)': ['eif', 'Endpoint Independent'],
  'STUN: coturn and address-dependent filtering (adf)': ['adf', 'Address Dependent'],
  'STUN: coturn and a stable port for known peers (apdf)': ['apdf', 'Address and Port Dependent'],
} as const;

for (const [name, [filtering, found]] of Object.entries(STUN_MODES)) {
  t.test(name, { skip: filtering ? CTNAT_ONLY : false }, async (t) => {
    const { clients, server } = await scene(t, { hop: true, ...(filtering && { filtering }) });
    const second = '203.0.113.20';
    await server.ns.ip('address', 'add', `${second}/24`, 'dev', 'eth0');
    const addresses = ['-L', server.ipv4, '-L', second];
    const quiet = ['--no-tls', '--no-dtls', '--no-cli', '--log-file', 'stdout', '--simple-log'];
    const files = ['--pidfile', join(await folder(t), 'pid'), '--userdb', join(await folder(t), 'db')];
    server.ns.start(['turnserver', '-n', '-S', ...addresses, ...quiet, ...files]);
    await listening(server, 'udp', 3478);
    await listening(server, 'udp', 3479);

    const ask = (what: string): Promise<{ stdout: string }> =>
      clients[0]!.ns.run(['turnutils_natdiscovery', what, '-p', '3478', server.ipv4], { limitMs: 60_000 });
    const mapping = (await ask('-m')).stdout;
    const filter = (await ask('-f')).stdout;

    // nobody else wants the port: one that is kept looks the same from everywhere, in any mode
    t.match(mapping, /NAT with Endpoint Independent Mapping!/);
    t.match(filter, `NAT with ${found} Filtering!`);
  });
}

t.test('FTP in passive mode: a file up and down', async (t) => {
  const { clients, server } = await scene(t, { hop: true });
  const base = await folder(t);
  const home = join(base, 'home');
  await mkdir(join(home, 'in'), { recursive: true });
  await mkdir(join(base, 'empty'));
  await writeFile(join(home, 'file'), Buffer.alloc(3_000_000, 'ctnat'));
  await server.ns.run(['chmod', '755', base]);
  await server.ns.run(['chmod', '777', join(home, 'in')]);
  const config = join(base, 'vsftpd.conf');
  await writeFile(
    config,
    [
      ...['listen=YES', 'background=NO', `listen_address=${server.ipv4}`, 'ftp_username=nobody'],
      ...['anonymous_enable=YES', `anon_root=${home}`, 'local_enable=NO', 'write_enable=YES'],
      ...['anon_upload_enable=YES', 'anon_umask=022', 'pasv_min_port=30000', 'pasv_max_port=30010'],
      ...[
        'seccomp_sandbox=NO',
        `secure_chroot_dir=${join(base, 'empty')}`,
        'run_as_launching_user=YES',
        'xferlog_enable=NO',
        '',
      ],
    ].join('\n'),
  );
  server.ns.start(['vsftpd', config]);
  await listening(server, 'tcp', 21);

  const curl = ['curl', '-sS', '--fail', '--max-time', '20'];
  const down = join(base, 'down');
  await clients[0]!.ns.run([...curl, '-o', down, `ftp://${server.ipv4}/file`]);
  await clients[1]!.ns.run([...curl, '-T', down, `ftp://${server.ipv4}/in/up`]);

  const sum = async (file: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
  t.equal(await sum(down), await sum(join(home, 'file')));
  t.equal(await sum(join(home, 'in', 'up')), await sum(join(home, 'file')));
});

t.test('traceroute by UDP, TCP and ICMP sees every hop', async (t) => {
  const { clients, server, router } = await scene(t, { hop: true });
  for (const [name, flags] of [
    ['UDP', []],
    ['TCP', ['-T', '-p', '7000']],
    ['ICMP', ['-I']],
  ] as const) {
    const options = ['-n', '-q', '1', '-w', '3', '-m', '6', ...flags];
    const { stdout } = await clients[0]!.ns.run(['traceroute', ...options, server.ipv4]);
    const hops = stdout
      .split('\n')
      .slice(1)
      .flatMap((line) => /^\s*\d+\s+(\S+)/.exec(line)?.[1] ?? []);
    t.same(hops, [router.lanIpv4[0], HOP_IPV4, server.ipv4], name);
  }
});

t.test('tracepath finds a smaller MTU in the middle', async (t) => {
  const { clients, server } = await scene(t, { hop: true, hopMtu: 1400 });
  const { stdout } = await clients[0]!.ns.run(['tracepath', '-4', '-n', '-m', '5', server.ipv4], {
    limitMs: 60_000,
  });

  t.match(stdout, /pmtu 1400/);
  t.match(stdout, /Resume: pmtu 1400 hops 3 /);
});

t.test('SIP: calls by sipp, signalling as it is', async (t) => {
  const { clients, server } = await scene(t, { hop: true });
  const cwd = await folder(t);
  const common = ['-nostdin', '-m', '20', '-trace_err', '-error_file', join(cwd, 'errors')];
  const uas = server.ns.start(['sipp', '-sn', 'uas', '-i', server.ipv4, '-p', '5060', ...common]);
  await listening(server, 'udp', 5060);
  const call = ['-sn', 'uac', '-r', '20', '-i', clients[0]!.ipv4, '-p', '5061', `${server.ipv4}:5060`];
  const uac = await clients[0]!.ns.run(['sipp', ...call, ...common], { limitMs: 60_000, mayFail: true });

  t.equal(uac.status, 0, 'every call was answered and ended');
  t.equal(await uas.ended, 0);
});

t.test('a UDP tunnel that is idle for longer than the unreplied timeout', async (t) => {
  const { clients, server, nat } = await scene(t, { timeouts: { udp: 3, udpStream: 30 } });
  const port = 51_820;
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, port);
  const far = await server.peer.udp(server.ipv4, port);
  // talks both ways for longer than 2 s: a stream from then on
  const outside = await until('the flow to be assured', async () => {
    await inside.send('keepalive', server.ipv4, port);
    const got = await far.receive();
    if (!got) throw new Error('the keepalive did not come through');
    await far.send('answer', got.address, got.port);
    await inside.receive();
    const flow = (await nat.flows()).find(
      ({ proto, original }) => proto === 'udp' && original.sport === port,
    );
    return flow?.status.includes('ASSURED') && got;
  });

  await elapse(5_000); // silence, longer than the 3 s of a flow that nobody answered
  await far.send('after the silence', outside.address, outside.port);
  t.equal((await inside.receive())?.data.toString(), 'after the silence');
});
