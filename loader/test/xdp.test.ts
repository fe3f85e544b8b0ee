// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { feature } from '../src/features.js';
import { attachXdp, attachXdpLink, detachXdp, queryXdp, type XdpMode } from '../src/xdp.js';
import { catchError } from './helpers/catch-error.js';
import { loadHooks } from './helpers/hooks.js';
import { makeScene, run } from './helpers/scene.js';

const { ifindex, ping } = makeScene(t);
const { first, xdpFirst, xdpSecond, takeHits } = loadHooks(t);

t.afterEach(() => {
  detachXdp({ ifindex });
  takeHits();
});

for (const mode of ['native', 'generic'] satisfies XdpMode[]) {
  t.test(`${mode}: attached it sees what comes in, detached nothing`, async (t) => {
    t.same(attachXdp({ ifindex, program: xdpFirst, mode }), { ifindex, mode, programId: xdpFirst.id });
    t.same(queryXdp(ifindex), { mode, programId: xdpFirst.id });
    ping(4);
    t.same(takeHits(), [0, 0, 4, 0]);

    t.equal(detachXdp({ ifindex }), true);
    t.equal(detachXdp({ ifindex }), false);
    t.equal(queryXdp(ifindex), undefined);
    ping(2);
    t.same(takeHits(), [0, 0, 0, 0]);
  });

  t.test(`${mode}: a program is replaced only by who knows it`, async (t) => {
    attachXdp({ ifindex, program: xdpFirst, mode });

    t.match(
      catchError(() => attachXdp({ ifindex, program: xdpSecond, mode })),
      { errnoName: 'EBUSY' },
    );
    t.match(
      catchError(() => attachXdp({ ifindex, program: xdpSecond, mode, replaceProgramId: xdpSecond.id })),
      { errnoName: 'EBUSY', message: new RegExp(`program ${xdpFirst.id} is there`) },
    );
    attachXdp({ ifindex, program: xdpSecond, mode: 'auto', replaceProgramId: xdpFirst.id });

    t.same(queryXdp(ifindex), { mode, programId: xdpSecond.id });
    ping(1);
    t.same(takeHits(), [0, 0, 0, 1]);
  });
}

t.test('auto is native where the driver can', async (t) => {
  t.match(attachXdp({ ifindex, program: xdpFirst, mode: 'auto' }), { mode: 'native' });
});

t.test('auto is generic where the driver cannot, and says why', async (t) => {
  const attachment = attachXdp({ ifindex: 1, program: xdpFirst, mode: 'auto' });
  t.teardown(() => detachXdp({ ifindex: 1 }));

  t.match(attachment, { mode: 'generic', nativeRefusal: { errnoName: 'EOPNOTSUPP' } });
  t.same(queryXdp(1), { mode: 'generic', programId: xdpFirst.id });
});

t.test('auto does not hide what is no matter of the driver', async (t) => {
  const attach = (program: typeof first, interfaceIndex: number) =>
    catchError(() => attachXdp({ ifindex: interfaceIndex, program, mode: 'auto' }));

  t.match(attach(xdpFirst, 999_999), { errnoName: 'ENODEV' });
  t.match(attach(first, ifindex), { errnoName: 'EINVAL', message: /program "first" to XDP/ });
});

t.test('a replacement may change the mode', async (t) => {
  attachXdp({ ifindex, program: xdpFirst, mode: 'native' });

  attachXdp({ ifindex, program: xdpSecond, mode: 'generic', replaceProgramId: xdpFirst.id });

  t.same(queryXdp(ifindex), { mode: 'generic', programId: xdpSecond.id });
});

t.test('only the named program is detached', async (t) => {
  attachXdp({ ifindex, program: xdpFirst, mode: 'native' });

  t.equal(detachXdp({ ifindex, programId: xdpSecond.id }), false);
  t.same(queryXdp(ifindex), { mode: 'native', programId: xdpFirst.id });
  t.equal(detachXdp({ ifindex, programId: xdpFirst.id }), true);
});

t.test('an interface that does not exist is ENODEV', async (t) => {
  t.match(
    catchError(() => queryXdp(999_999)),
    { errnoName: 'ENODEV' },
  );
});

const withoutLinks = feature('link').state === 'no' && 'the kernel has no XDP links (since 5.9)';

t.test('a link holds the hook until it is closed', { skip: withoutLinks }, async (t) => {
  const { link, mode } = attachXdpLink({ ifindex, program: xdpFirst, mode: 'auto' });

  t.equal(mode, 'native');
  t.match(link.info(), { type: 'xdp', programId: xdpFirst.id, ifindex });
  t.match(
    catchError(() => attachXdp({ ifindex, program: xdpSecond, mode: 'native' })),
    { errnoName: 'EBUSY' },
  );
  t.match(
    catchError(() => detachXdp({ ifindex })),
    { errnoName: 'EBUSY' },
  );
  link.update(xdpSecond);
  ping(2);
  t.same(takeHits(), [0, 0, 0, 2]);
  link.close();
  t.equal(queryXdp(ifindex), undefined);
});

t.test('a link to an interface that goes with it', { skip: withoutLinks }, async (t) => {
  run('ip', 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1');
  const { ifindex: gone } = JSON.parse(run('ip', '-j', 'link', 'show', 'dev', 'gone0'))[0];
  const { link } = attachXdpLink({ ifindex: gone, program: xdpFirst, mode: 'generic' });

  run('ip', 'link', 'delete', 'gone0');

  t.match(link.info(), { ifindex: 0 });
  link.close();
});
