// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { UnsupportedError } from '../src/errors.js';
import { type FeatureName, feature, hasHelper, isFeatureName, probeFeatures } from '../src/features.js';
import { currentNetnsInode } from '../src/netns.js';
import { answerError } from '../src/probe.js';

const slow = Number(process.env.VM_SLOW ?? 1);
const featuresModule = JSON.stringify(new URL('../src/features.js', import.meta.url).href);

/** Runs a script in a process of its own, with features turned off or without privileges. */
function ask(disabled: string, expression: string, command: string[] = []) {
  const script = `
    import { feature, probeFeatures, hasHelper } from ${featuresModule};
    console.log(JSON.stringify(${expression}));`;
  const argv = [...command, process.execPath, '--input-type=module', '--eval', script];
  return spawnSync(argv[0]!, argv.slice(1), {
    encoding: 'utf8',
    env: { ...process.env, LIBBPF_TS_DISABLE: disabled },
  });
}

t.test('probing everything is quick, leaves nothing behind and is done once', async (t) => {
  const inode = currentNetnsInode();
  feature('batch'); // loads libbpf, which is not the probes' time

  const started = performance.now();
  const features = probeFeatures();
  const elapsed = performance.now() - started;

  // some 20 ms where nobody else is at work
  t.ok(elapsed < 250 * slow, `${elapsed} ms`);
  t.equal(currentNetnsInode(), inode);
  t.equal(probeFeatures().tcx, features.tcx);
  t.match(features.tcx, { name: 'tcx', since: 'Linux 6.6', summary: String, state: /^(yes|no)$/ });
  for (const { name, state, available, why } of Object.values(features)) {
    t.equal(available, state === 'yes', name);
    t.ok(available || why, `${name} says why not: ${why}`);
  }
});

const hasBpftool = spawnSync('bpftool', ['version']).status === 0;

t.test('probes agree with bpftool', { skip: !hasBpftool && 'no bpftool' }, async (t) => {
  const told = JSON.parse(
    execFileSync('bpftool', ['-j', 'feature', 'probe', 'kernel'], { encoding: 'utf8' }),
  );
  const misc = told.misc as Record<string, boolean>;
  const maps = told.map_types as Record<string, boolean>;
  const expected: Partial<Record<FeatureName, boolean>> = {
    loops: misc.have_bounded_loops!,
    jmp32: misc.have_v3_isa_extension!,
    ringbuf: maps.have_ringbuf_map_type!,
    'lpm-trie': maps.have_lpm_trie_map_type!,
  };

  for (const [name, available] of Object.entries(expected)) {
    t.equal(feature(name as FeatureName).available, available, name);
  }
});

t.test('probes agree with what the running system shows', async (t) => {
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  const features = probeFeatures();

  for (const { name, since, state } of Object.values(features)) {
    const version = /^Linux (\d+)\.(\d+)$/.exec(since);
    if (!version) continue;
    const isNewer =
      major > Number(version[1]) || (major === Number(version[1]) && minor >= Number(version[2]));
    // a newer kernel has it; an older one may have it carried back
    if (isNewer) t.equal(state, 'yes', `${name} (${since})`);
  }
  const chargesMemlock = major < 5 || (major === 5 && minor < 11);
  t.equal(features.memlock.available, chargesMemlock, 'memlock');
});

t.test('helpers are told by program type', async (t) => {
  const BPF_FUNC_map_lookup_elem = 1;
  const BPF_FUNC_skb_store_bytes = 9;
  const BPF_FUNC_xdp_adjust_head = 44;

  t.equal(hasHelper('xdp', BPF_FUNC_map_lookup_elem), true);
  t.equal(hasHelper('xdp', BPF_FUNC_skb_store_bytes), false);
  t.equal(hasHelper('xdp', BPF_FUNC_xdp_adjust_head), true);
  t.equal(hasHelper('sched_cls', BPF_FUNC_skb_store_bytes), true);
  t.equal(hasHelper('sched_cls', BPF_FUNC_xdp_adjust_head), false);
  t.equal(hasHelper('sched_cls', 100_000), false);
});

t.test('of several options the one that is missing is told', async (t) => {
  const error = new UnsupportedError('BPF filters on a qdisc', 'a kernel with CONFIG_NET_CLS_BPF');

  t.match(answerError(error), { state: 'no', needs: 'a kernel with CONFIG_NET_CLS_BPF', why: error.message });
});

t.test('LIBBPF_TS_DISABLE turns features off', async (t) => {
  const { stdout } = ask(' tcx,ringbuf ', "[feature('tcx'), feature('ringbuf'), feature('test-run')]");
  const [tcx, ringbuf, testRun] = JSON.parse(stdout);

  t.match(tcx, { state: 'no', available: false, why: 'turned off by LIBBPF_TS_DISABLE' });
  t.match(ringbuf, { state: 'no' });
  t.match(testRun, { state: 'yes' });
});

t.test('a name in LIBBPF_TS_DISABLE that is no feature is an error', async (t) => {
  const { status, stderr } = ask('tcx,ringbuff', "feature('batch')");

  t.equal(status, 1);
  t.match(stderr, /Cannot disable the feature "ringbuff" \(LIBBPF_TS_DISABLE\): it is none of .*ringbuf/);
  t.equal(isFeatureName('ringbuf'), true);
  t.equal(isFeatureName('toString'), false);
});

t.test('without privileges the answer is "unknown", never "no"', async (t) => {
  const unprivileged = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
  const { stdout, stderr } = ask('', 'probeFeatures()', unprivileged);
  t.equal(stderr, '');

  const features = JSON.parse(stdout) as ReturnType<typeof probeFeatures>;
  const denied = Object.values(features)
    .filter(({ state }) => state === 'no')
    .filter(({ name }) => feature(name).available) // what is not there may be answered before the privilege is asked for
    .map(({ name, why }) => `${name}: ${why}`);

  t.same(denied, []);
  t.match(features.tcx, { state: 'unknown', available: false, why: /EPERM/ });
  t.match(features.clsact, { state: 'unknown', available: false, why: /EPERM/ });
});
