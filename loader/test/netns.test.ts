// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { statSync } from 'node:fs';
import t from 'tap';
import { currentNetnsInode, netnsPath, setNetns, withNetns, withPrivateNetns } from '../src/netns.js';
import { listLinks } from '../src/rtnetlink.js';
import { catchError } from './helpers/catch-error.js';
import { makeNetns, run } from './helpers/scene.js';

const name = makeNetns(t);
const inode = statSync(`/run/netns/${name}`).ino;
const home = currentNetnsInode();
run('ip', '-n', name, 'link', 'add', 'inside0', 'type', 'veth', 'peer', 'name', 'inside1');

const names = (): string[] => listLinks().map((link) => link.name);

t.beforeEach((t) => {
  t.equal(currentNetnsInode(), home, 'the test before came back');
});

t.test('withNetns() works inside and comes back', async (t) => {
  t.equal(names().includes('inside0'), false);

  const [there, links] = withNetns(name, () => [currentNetnsInode(), names()]);

  t.equal(there, inode);
  t.same(links, ['lo', 'inside1', 'inside0']);
  t.equal(names().includes('inside0'), false);
});

t.test('a path serves as well as a name', async (t) => {
  t.equal(
    withNetns(`/run/netns/${name}`, () => currentNetnsInode()),
    inode,
  );
  t.equal(
    withNetns('/proc/self/ns/net', () => currentNetnsInode()),
    home,
  );
});

t.test('child processes are started inside', async (t) => {
  t.match(
    withNetns(name, () => run('ip', 'link', 'show')),
    /inside0/,
  );
});

t.test('withNetns() comes back after an error, and from nested ones step by step', async (t) => {
  t.throws(
    () =>
      withNetns(name, () => {
        throw new RangeError('inside');
      }),
    { message: 'inside' },
  );

  withNetns(name, () => {
    withPrivateNetns(() => t.same(names(), ['lo']));
    t.equal(currentNetnsInode(), inode);
  });
});

t.test('a promise cannot be awaited inside', async (t) => {
  t.throws(() => withNetns(name, async () => 1), TypeError);
});

t.test('a private namespace is a new one each time', async (t) => {
  const links = withPrivateNetns(() => {
    run('ip', 'link', 'add', 'brief0', 'type', 'veth', 'peer', 'name', 'brief1');
    t.not(currentNetnsInode(), home);
    return names();
  });

  t.same(links, ['lo', 'brief1', 'brief0']);
  t.same(
    withPrivateNetns(() => names()),
    ['lo'],
  );
});

t.test('setNetns() stays', async (t) => {
  setNetns(name);
  t.equal(currentNetnsInode(), inode);
  setNetns(`/proc/${process.ppid}/ns/net`);
  t.equal(currentNetnsInode(), home);
});

t.test('what is no network namespace is refused', async (t) => {
  t.match(
    catchError(() => setNetns('lbt-none')),
    { errnoName: 'ENOENT', message: /namespace "lbt-none".*"ip netns list"/ },
  );
  t.match(
    catchError(() => setNetns('/proc/self/ns/mnt')),
    { errnoName: 'EINVAL' },
  );
  t.match(
    catchError(() => withNetns('/etc/passwd', () => 1)),
    { errnoName: 'EINVAL' },
  );
  t.throws(() => netnsPath('..'), TypeError);
  t.throws(() => netnsPath(''), TypeError);
  t.equal(netnsPath('./ns'), './ns');
});
