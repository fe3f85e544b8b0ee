// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TCP tracking against the running kernel's own: the same segments through a router with nf_conntrack and
// through a native build of bpf/tcp.h; after each one class, state, status, timeout, flags and scales agree.
//
//   TCP_SEQUENCES=N  random connections (default 3000)
//   TCP_SEED=N       the first one's seed (default 1); a failure names its own

import { existsSync } from 'node:fs';
import { release } from 'node:os';
import t from 'tap';
import { compare, shrink, tell } from '../helpers/tcp/compare.js';
import { startNative } from '../helpers/tcp/native.js';
import { startNetfilter } from '../helpers/tcp/netfilter.js';
import { PACKETDRILL } from '../helpers/tcp/packetdrill.js';
import { Random } from '../helpers/tcp/random.js';
import { RULES } from '../helpers/tcp/rules.js';
import { play } from '../helpers/tcp/scenario.js';
import { Sequence } from '../helpers/tcp/sequence.js';
import { Teardown } from '../helpers/teardown.js';
import { slowly } from '../helpers/wait.js';

/** Operations of a random connection: enough to open, live, close and be reused. */
const LENGTH = 40;

const COUNT = Number(process.env.TCP_SEQUENCES ?? 3000);
const SEED = Number(process.env.TCP_SEED ?? 1);

/** Netfilter's rules changed often before this kernel; bpf/tcp.h follows this one. */
const SINCE = [6, 18];

t.setTimeout(slowly(60_000 + COUNT * 10));

function skip(): string | false {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < SINCE[0]! || (major === SINCE[0] && minor < SINCE[1]!))
    return `nf_conntrack of Linux ${major}.${minor} has other rules than ${SINCE.join('.')}'s`;
  return existsSync('/proc/sys/net/netfilter/nf_conntrack_tcp_loose')
    ? false
    : 'this kernel has no nf_conntrack';
}

t.test('the rules as written down are those of this kernel', { skip: skip() }, async (t) => {
  const netfilter = await startNetfilter(Teardown.of(t));
  for (const scenario of [...RULES, ...PACKETDRILL]) {
    t.equal(await play(netfilter, scenario), undefined, scenario.name);
  }
});

t.test('random connections look the same to both', { skip: skip() }, async (t) => {
  t.setTimeout(slowly(30_000 + COUNT * 10));
  const teardown = Teardown.of(t);
  const netfilter = await startNetfilter(teardown);
  const native = await startNative(teardown);
  for (let seed = SEED; seed < SEED + COUNT; seed++) {
    const found = await compare(netfilter, native, Sequence.make(new Random(seed), LENGTH));
    if (!found) continue;
    t.fail(`TCP_SEED=${seed}\n${tell(await shrink(netfilter, native, found))}`);
    return;
  }
  t.pass(`${COUNT} connections of ${LENGTH} operations`);
});
