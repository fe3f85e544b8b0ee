// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ctnat against Netfilter, in lock step: the same packets through a router with nf_conntrack and through
// ctnat's hooks. After each one its class, what came out of the router, and the flow's state, status,
// timeout and tuples agree, or the difference is one of those in test/helpers/diff/differences.ts.
//
//   DIFF_SEQUENCES=N  sequences of each family (default 2000)
//   DIFF_SEED=N       the first one's seed (default 1); a failure names its own
//   DIFF_FAMILY=4|6   only this family
//   DIFF_KIND=KIND    only this kind of sequence
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import t, { type Test } from 'tap';
import { flavours } from '../helpers/datapath/load.js';
import { Comparison, type Difference, tell } from '../helpers/diff/compare.js';
import { DELIBERATE, type Deliberate } from '../helpers/diff/differences.js';
import type { Family } from '../helpers/diff/path.js';
import { type Kind, makeSequence, SEQUENCES_MAX, type Sequence } from '../helpers/diff/sequence.js';
import { startDatapath, startNetfilter } from '../helpers/diff/tracker.js';
import { Teardown } from '../helpers/teardown.js';

const COUNT = Number(process.env.DIFF_SEQUENCES || 2000);
const SEED = Number(process.env.DIFF_SEED || 1);
const FAMILIES = ([4, 6] as const).filter(
  (family) => (process.env.DIFF_FAMILY || `${family}`) === `${family}`,
);
const KIND = (process.env.DIFF_KIND || undefined) as Kind | undefined;

/** Netfilter's rules changed often before this kernel; ctnat follows this one. */
const SINCE = [6, 18];

/** Sequences that are handed over at a time, and those of them that wait together. */
const BATCH = 100;
const WAITING_BATCH = 2000;

t.setTimeout(0);

function skip(): string | false {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < SINCE[0]! || (major === SINCE[0] && minor < SINCE[1]!))
    return `nf_conntrack of Linux ${major}.${minor} has other rules than ${SINCE.join('.')}'s`;
  return existsSync('/proc/sys/net/netfilter/nf_conntrack_tcp_loose')
    ? false
    : 'this kernel has no nf_conntrack';
}

const waits = ({ operations }: Sequence): boolean => operations.some((operation) => operation.do === 'wait');

/** In batches; those that wait come in larger ones of their own. */
function* batches(family: Family): Generator<Sequence[]> {
  let waiting: Sequence[] = [];
  let batch: Sequence[] = [];
  for (let seed = SEED; seed < SEED + COUNT; seed++) {
    const sequence = makeSequence(seed, family, KIND);
    (waits(sequence) ? waiting : batch).push(sequence);
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
    }
    // sequences that are SEQUENCES_MAX apart would have the same addresses
    const span = waiting.length ? seed - waiting[0]!.seed : 0;
    if (waiting.length === WAITING_BATCH || span === SEQUENCES_MAX - 1) {
      yield waiting;
      waiting = [];
    }
  }
  if (batch.length) yield batch;
  if (waiting.length) yield waiting;
}

/** What each of the two makes of a difference's example. */
async function exemplify(t: Test, both: Comparison, { example }: Deliberate, family: Family): Promise<void> {
  const scene = example(family);
  if (!scene) return;
  const at = scene.sequence.operations.length - 1;
  if (scene.checksum) await both.expected.set('checksum', 1);
  const [netfilter, ctnat] = await Promise.all(
    [both.expected, both.actual].map(
      async (tracker) => (await tracker.run([scene.sequence])).answers[0]![at]!,
    ),
  );
  if (scene.checksum) await both.expected.set('checksum', 0);
  t.equal(netfilter!.slice(0, scene.netfilter.length), scene.netfilter, `IPv${family}: Netfilter`);
  t.equal(ctnat!.slice(0, scene.ctnat.length), scene.ctnat, `IPv${family}: ctnat`);
}

const flavour = flavours().at(-1);

t.test('random sequences look the same to both', { skip: skip(), timeout: 0 }, async (t) => {
  if (!flavour) throw new Error('Cannot compare the datapath: it was not built (run "make build")');
  const teardown = Teardown.of(t);
  const comparison = new Comparison(await startNetfilter(teardown), await startDatapath(teardown, flavour));
  for (const family of FAMILIES) {
    await t.test(`IPv${family}: ${COUNT} sequences from seed ${SEED}`, { timeout: 0 }, async (t) => {
      const before = comparison.operations;
      let found: Difference | undefined;
      let playing: ReturnType<Comparison['play']> = Promise.resolve(undefined);
      for (const batch of batches(family)) {
        found = await playing; // the last batch was played while this one was made
        if (found) break;
        playing = comparison.play(batch);
      }
      found ??= await playing;
      if (found) {
        t.fail(tell(await comparison.shrink(found)));
        return;
      }
      t.pass(`${comparison.operations - before} operations`);
    });
  }
  for (const difference of DELIBERATE) {
    await t.test(`on purpose: ${difference.name}`, async (t) => {
      for (const family of FAMILIES) await exemplify(t, comparison, difference, family);
    });
  }
  if (comparison.unsteady) t.comment(`not seen again: ${comparison.unsteady} differences`);
  for (const [{ name }, times] of comparison.met) t.comment(`${name}: ${times} times`);
});
