// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { SyscallError } from '../src/errors.js';
import {
  attachTc,
  createClsact,
  destroyClsact,
  detachTc,
  listTcFilters,
  queryTc,
  type TcPosition,
} from '../src/tc.js';
import { catchError } from './helpers/catch-error.js';
import { loadHooks } from './helpers/hooks.js';
import { makeScene, run } from './helpers/scene.js';

const { ifindex, ping } = makeScene(t);
const { first, second, takeHits } = loadHooks(t);

t.afterEach(() => {
  destroyClsact(ifindex);
  takeHits();
});

t.test('clsact is created once and destroyed once', async (t) => {
  t.equal(createClsact(ifindex), true);
  t.equal(createClsact(ifindex), false);
  t.equal(destroyClsact(ifindex), true);
  t.equal(destroyClsact(ifindex), false);
});

t.test('an attached program sees each packet of its direction', async (t) => {
  createClsact(ifindex);
  attachTc({ ifindex, direction: 'egress', program: first });
  attachTc({ ifindex, direction: 'ingress', program: second });

  ping(5);

  t.same(takeHits(), [5, 5, 0, 0]);
});

t.test('a filter says where it stands, and is found and removed there', async (t) => {
  createClsact(ifindex);
  const filter = attachTc({ ifindex, direction: 'egress', program: first, priority: 7, handle: 3 });

  t.same(filter, { ifindex, direction: 'egress', programId: first.id, priority: 7, handle: 3 });
  t.same(queryTc(filter), { programId: first.id });
  t.equal(queryTc({ ...filter, handle: 4 }), undefined);
  t.equal(queryTc({ ...filter, direction: 'ingress' }), undefined);
  t.equal(detachTc(filter), true);
  t.equal(detachTc(filter), false);
  ping(2);
  t.same(takeHits(), [0, 0, 0, 0]);
});

t.test('the kernel chooses priority and handle that are left out', async (t) => {
  createClsact(ifindex);
  const filter = attachTc({ ifindex, direction: 'egress', program: first });

  t.match(filter, { priority: Number, handle: Number });
  t.ok(filter.priority > 0 && filter.handle > 0);
  t.same(queryTc(filter), { programId: first.id });
});

t.test('replacing puts the other program in the same place', async (t) => {
  createClsact(ifindex);
  const place = { ifindex, direction: 'egress', priority: 1, handle: 1 } as const;
  attachTc({ ...place, program: first });

  const error = catchError(() => attachTc({ ...place, program: second }));
  attachTc({ ...place, program: second, replace: true });
  ping(3);

  t.match(error, { errnoName: 'EEXIST', message: /"second".*Set "replace"/ });
  t.same(takeHits(), [0, 3, 0, 0]);
  t.equal(listTcFilters(ifindex, 'egress').length, 1);
});

t.test('filters of several parties run in the order of their priorities and are listed in it', async (t) => {
  createClsact(ifindex);
  attachTc({ ifindex, direction: 'egress', program: second, priority: 20, handle: 1 });
  attachTc({ ifindex, direction: 'egress', program: first, priority: 10, handle: 1 });
  const never = [
    'protocol',
    'ip',
    'prio',
    '5',
    'u32',
    'match',
    'ip',
    'protocol',
    '255',
    '0xff',
    'flowid',
    '1:1',
  ];
  run('tc', 'filter', 'add', 'dev', 'near0', 'egress', ...never);

  ping(4);

  t.same(takeHits(), [4, 4, 0, 0]);
  const filters = listTcFilters(ifindex, 'egress');
  t.match(filters.slice(-3), [
    { kind: 'u32', priority: 5, protocol: 0x0800 },
    {
      kind: 'bpf',
      priority: 10,
      handle: 1,
      programId: first.id,
      name: 'first',
      isDirectAction: true,
      protocol: 3,
    },
    { kind: 'bpf', priority: 20, handle: 1, programId: second.id, name: 'second' },
  ]);
  t.same(listTcFilters(ifindex, 'ingress'), []);
});

t.test('nothing is listed or found without clsact', async (t) => {
  const place: TcPosition = { ifindex, direction: 'ingress', priority: 1, handle: 1 };

  t.same(listTcFilters(ifindex, 'ingress'), []);
  t.equal(queryTc(place), undefined);
  t.equal(detachTc(place), false);
});

t.test('attaching without clsact says what to do', async (t) => {
  const error = catchError(() => attachTc({ ifindex, direction: 'egress', program: first }));

  t.type(error, SyscallError);
  t.match(
    error.message,
    /Cannot attach program "first" to egress of interface \d+: .*Create the clsact qdisc first/,
  );
});

t.test('an ingress qdisc in the place of clsact is an error and stays', async (t) => {
  run('tc', 'qdisc', 'add', 'dev', 'near0', 'ingress');
  t.teardown(() => run('tc', 'qdisc', 'del', 'dev', 'near0', 'ingress'));

  const error = catchError(() => createClsact(ifindex));

  t.match(error, { code: 'ERR_BPF_QDISC_IN_THE_WAY' });
  t.equal(destroyClsact(ifindex), false);
  t.match(run('tc', 'qdisc', 'show', 'dev', 'near0'), /qdisc ingress/);
});

t.test('an interface that does not exist is ENODEV', async (t) => {
  t.match(
    catchError(() => createClsact(999_999)),
    { errnoName: 'ENODEV' },
  );
  t.equal(destroyClsact(999_999), false);
});

t.test('a place without a priority or handle is refused', async (t) => {
  t.throws(() => detachTc({ ifindex, direction: 'egress', priority: 0, handle: 1 }), RangeError);
  t.throws(() => queryTc({ ifindex, direction: 'egress', priority: 1, handle: 0 }), RangeError);
  t.throws(() => attachTc({ ifindex, direction: 'egress', program: first, priority: 65_536 }), RangeError);
});
