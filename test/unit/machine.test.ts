// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What is read from the machine before anything is done: capabilities, mounts, locks, features. And the pace of sweeps.
import { test } from 'tap';
import { netnsOfSys } from '../../src/bpffs.js';
import { bestFlavour } from '../../src/flavours.js';
import { lockHolder } from '../../src/lock.js';
import { missingCapabilities, parseCapabilities } from '../../src/privileges.js';
import { nextInterval } from '../../src/sweep-interval.js';
import { Undo } from '../../src/undo.js';

test('capabilities: what is missing is named, and CAP_SYS_ADMIN stands in for CAP_BPF', async (t) => {
  const set = (hex: string) => parseCapabilities(`Name:\tnode\nCapPrm:\t0\nCapEff:\t${hex}\nCapBnd:\t0\n`);
  const root = set('000001ffffffffff');
  const oldRoot = set('0000003fffffffff'); // before 5.8
  t.same(missingCapabilities(root, ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN']), []);
  t.same(missingCapabilities(oldRoot, ['CAP_BPF']), []);
  t.same(missingCapabilities(0n, ['CAP_BPF', 'CAP_NET_ADMIN']), ['CAP_BPF', 'CAP_NET_ADMIN']);
  const service = set('0000008000001000'); // CAP_BPF and CAP_NET_ADMIN
  t.same(missingCapabilities(service, ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN']), ['CAP_SYS_ADMIN']);
});

test('ip netns exec is known by the source of /sys', async (t) => {
  const line = (source: string) => `36 28 0:22 / /sys rw,nosuid - sysfs ${source} rw`;
  const bpffs = '40 36 0:30 / /sys/fs/bpf rw - bpf bpf rw';
  t.equal(netnsOfSys(`${line('sysfs')}\n${bpffs}\n`), undefined);
  t.equal(netnsOfSys(`${line('sysfs')}\n${line('red')}\n`), 'red', 'the last mount counts');
  t.equal(
    netnsOfSys(`36 28 0:22 / /sys rw shared:7 master:1 - sysfs blue rw\n`),
    'blue',
    'with optional fields',
  );
  t.equal(netnsOfSys(bpffs), undefined);
});

test('the holder of a lock is found by device and inode', async (t) => {
  const locks = [
    '1: POSIX  ADVISORY  WRITE 11 00:1a:567 0 EOF',
    '2: FLOCK  ADVISORY  READ  12 00:1a:567 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 13 00:1b:567 0 EOF',
    '4: FLOCK  ADVISORY  WRITE 14 00:1a:567 0 EOF',
    '4: -> FLOCK  ADVISORY  WRITE 15 00:1a:567 0 EOF',
    '5: FLOCK  ADVISORY  WRITE 16 103:05:568 0 EOF',
  ].join('\n');
  t.equal(lockHolder(locks, { dev: 0x1a, ino: 567 }), 14);
  t.equal(lockHolder(locks, { dev: 0x1a, ino: 568 }), undefined);
  t.equal(lockHolder(locks, { dev: 0x10305, ino: 568 }), 16, 'a major number of three digits');
});

test('the flavour is the newest whose features are all there', async (t) => {
  const with_ = (...names: string[]) => bestFlavour((name) => names.includes(name));
  t.equal(with_(), 'floor');
  t.equal(with_('jmp32', 'loops'), 'floor', 'one is missing');
  t.equal(with_('loops', 'global-data'), 'v5_3', 'with 64-bit arithmetic');
  t.equal(with_('jmp32', 'loops', 'global-data'), 'v5_3');
  t.equal(with_('jmp32', 'loops', 'global-data', 'coarse-clock'), 'v5_3', 'without the ring buffer');
  t.equal(with_('jmp32', 'loops', 'global-data', 'ringbuf'), 'v5_8');
  t.equal(with_('jmp32', 'loops', 'global-data', 'ringbuf', 'coarse-clock', 'atomics'), 'v5_13');
  t.equal(with_('jmp32', 'loops', 'global-data', 'ringbuf', 'coarse-clock', 'atomics', 'kernel-skb'), 'v6_2');
  t.equal(with_('jmp32', 'loops', 'coarse-clock'), 'floor', 'a distribution may leave out something older');
});

test('sweeps come more often while many have expired, within the bounds', async (t) => {
  const bounds = { minIntervalMs: 1000, maxIntervalMs: 60_000 };
  const after = (live: number, deleted: number, from = 8000) =>
    nextInterval(from, { live, deleted, looked: 100_000 }, bounds);
  t.equal(after(100, 100), 4000, 'half were dead');
  t.equal(after(100, 10), 8000);
  t.equal(after(100, 1), 16_000);
  t.equal(after(0, 0), 16_000, 'nothing is there');
  t.equal(after(0, 9, 1500), 1000, 'not below the shortest');
  t.equal(after(9, 0, 50_000), 60_000, 'nor above the longest');
  t.equal(after(95_000, 0, 60_000), 1000, 'a crowded table');
});

test('steps are taken back in reverse, also when one fails', async (t) => {
  const undo = new Undo();
  const done: number[] = [];
  undo.push(() => done.push(1));
  undo.push(() => {
    throw new Error('2');
  });
  undo.push(() => done.push(3));
  t.match(undo.run(), [{ message: '2' }]);
  t.same(done, [3, 1]);
  t.same(undo.run(), [], 'once');
});
