// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which kernels are refused, in which words, and what is said of those that lack something.
import type { FeatureName, KernelFeature } from 'libbpf-ts';
import { test } from 'tap';
import { CtnatError } from '../../src/errors.js';
import { missingFeatures, requireKernel } from '../../src/kernel-support.js';

/** A kernel that has everything but these, each with the state and reason given. */
function kernelWithout(
  lacking: Partial<Record<FeatureName, Partial<KernelFeature>>>,
): (name: FeatureName) => KernelFeature {
  return (name) => {
    const missing = lacking[name];
    const since = `CONFIG_${name.toUpperCase()}`;
    const found = { name, since, summary: `what ${name} is`, state: 'yes', available: true } as const;
    return missing ? { ...found, available: false, state: 'no', why: 'EINVAL', ...missing } : found;
  };
}

const refusal = (lacking: Parameters<typeof kernelWithout>[0]): string | undefined => {
  try {
    requireKernel('attach wan0', kernelWithout(lacking), '4.4.0');
    return undefined;
  } catch (error) {
    if (error instanceof CtnatError) return error.message;
    throw error;
  }
};

test('a kernel is refused for what it lacks, by option or version, in one line', async (t) => {
  t.equal(
    refusal({ bpf: { why: 'ENOSYS' }, clsact: {}, 'fib-lookup': {} }),
    'can not attach wan0: kernel 4.4.0 lacks what bpf is, which needs CONFIG_BPF (ENOSYS); ' +
      'nothing was changed; boot a kernel that has it, Linux 4.19 or newer',
    'the first is what the others come of',
  );
  t.match(refusal({ 'lpm-trie': {} }), /lacks what lpm-trie is, which needs CONFIG_LPM-TRIE/);
  t.match(refusal({ 'fib-lookup': {} }), /lacks what fib-lookup is/);
  t.match(refusal({ tcx: {}, clsact: { why: 'no CONFIG_NET_CLS_BPF' } }), /\(no CONFIG_NET_CLS_BPF\)/);
});

test('one way to attach is enough, and what is not known is not refused', async (t) => {
  t.equal(refusal({}), undefined);
  t.equal(refusal({ tcx: {} }), undefined, 'clsact is there');
  t.equal(refusal({ clsact: {} }), undefined, 'TCX is there');
  t.equal(refusal({ tcx: {}, clsact: { state: 'unknown' } }), undefined, 'the kernel would not say');
  t.equal(refusal({ jit: {}, ringbuf: {}, batch: {}, mmap: {}, loops: {}, btf: {} }), undefined);
});

test('what is missing is told with what it needs and what is done instead', async (t) => {
  t.same(missingFeatures(kernelWithout({})), []);
  t.same(missingFeatures(kernelWithout({ 'for-each': {} })), [], 'nobody would use it');
  t.match(missingFeatures(kernelWithout({ ringbuf: {}, tcx: { why: 'ENOENT' } })), [
    { name: 'tcx', needs: 'CONFIG_TCX', why: 'ENOENT', instead: /clsact/ },
    { name: 'ringbuf', needs: 'CONFIG_RINGBUF', instead: /perf buffer/ },
  ]);
  t.same(missingFeatures(kernelWithout({ 'perf-output': {} })), [], 'the ring buffer is there');
  t.match(missingFeatures(kernelWithout({ ringbuf: {}, 'perf-output': {} })), [
    { name: 'ringbuf' },
    { name: 'perf-output', instead: /nobody can listen/ },
  ]);
});
