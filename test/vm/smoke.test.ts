// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What has to work before any other test can: libbpf-ts loads a program and a map, attaches the program to clsact,
// and the map counts real packets. Says what the kernel is in the facts for docs/kernels.md.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { attachTc, BpfObject, compileBpf, createClsact, listLinks, setNetns } from 'libbpf-ts';
import t from 'tap';
import { Namespace, veth } from '../helpers/netns.js';
import { Teardown } from '../helpers/teardown.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PINGS = 20;
const PAYLOAD_BYTES = 100;
/** Ethernet, IPv4, ICMP. */
const FRAME_BYTES = 14 + 20 + 8 + PAYLOAD_BYTES;

/** The object: made by the host for a virtual machine, where clang is slow. */
async function smokeObject(): Promise<string> {
  const made = join(ROOT, 'build/vm/floor/smoke.bpf.o');
  if (process.env.VM_SNAPSHOT && existsSync(made)) return made;
  const flavour = { name: 'floor', cpu: 'v2' } as const;
  const source = join(ROOT, 'test/vm/smoke.bpf.c');
  return (await compileBpf({ source, flavour, outDir: join(ROOT, 'build/vm') })).object;
}

t.test('a program on clsact counts each packet that crosses a veth pair', async (t) => {
  const teardown = Teardown.of(t);
  const near = await Namespace.create('near', teardown);
  const far = await Namespace.create('far', teardown);
  await veth(near, 'near0', far, 'far0');
  await near.ip('address', 'add', '10.77.0.1/24', 'dev', 'near0');
  await far.ip('address', 'add', '10.77.0.2/24', 'dev', 'far0');
  using object = BpfObject.open(await smokeObject());
  object.load();
  setNetns(near.name);
  const { ifindex } = listLinks().find((link) => link.name === 'near0')!;
  createClsact(ifindex);
  const program = object.program('count_frame');
  for (const direction of ['ingress', 'egress'] as const) attachTc({ ifindex, direction, program });

  const { stdout } = await near.run([
    ...['ping', '-c', `${PINGS}`, '-i', '0.01', '-W', '5', '-s', `${PAYLOAD_BYTES}`],
    '10.77.0.2',
  ]);

  t.match(stdout, `${PINGS} received`);
  const key = Buffer.alloc(4);
  key.writeUInt32LE(FRAME_BYTES);
  const count = object.map('frames').map.get(key)?.readBigUInt64LE();
  t.equal(count, BigInt(2 * PINGS), 'requests on egress and replies on ingress');
});
