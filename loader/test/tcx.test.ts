// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import t from 'tap';
import { LayoutError, SyscallError } from '../src/errors.js';
import { feature } from '../src/features.js';
import { BpfLink } from '../src/link.js';
import { mountBpffs } from '../src/pin.js';
import { attachTcx, queryTcx, TCX_ATTACH_TYPES } from '../src/tcx.js';
import { catchError } from './helpers/catch-error.js';
import { loadHooks } from './helpers/hooks.js';
import { makeScene, run } from './helpers/scene.js';

const { near, ifindex, ping } = makeScene(t);
const { first, second, xdpFirst, takeHits } = loadHooks(t);
const pin = `/sys/fs/bpf/libbpf-ts-tcx-${process.pid}`;

mountBpffs();
t.teardown(() => rmSync(pin, { force: true }));
t.afterEach(() => {
  takeHits();
});

if (feature('tcx').state === 'no') {
  t.test('on a kernel without TCX the error names the version that has it', async (t) => {
    const error = catchError(() => attachTcx({ ifindex, direction: 'ingress', program: first }));

    t.match(error, { code: 'ERR_BPF_UNSUPPORTED', feature: 'TCX', since: 'Linux 6.6' });
  });
} else {
  t.test('a link sees each packet of its direction until it is closed', async (t) => {
    using egress = attachTcx({ ifindex, direction: 'egress', program: first });
    const ingress = attachTcx({ ifindex, direction: 'ingress', program: second });

    ping(3);
    ingress.close();
    ping(2);

    t.same(takeHits(), [5, 3, 0, 0]);
    t.equal(egress.isOpen, true);
    t.same(queryTcx(ifindex, 'egress'), [first.id]);
    t.same(queryTcx(ifindex, 'ingress'), []);
  });

  t.test('a link says what it is', async (t) => {
    using link = attachTcx({ ifindex, direction: 'egress', program: first });

    t.same(link.info(), {
      id: link.id,
      type: 'tcx',
      programId: first.id,
      ifindex,
      attachType: TCX_ATTACH_TYPES.egress,
    });
    t.ok([...BpfLink.ids()].includes(link.id));
    using same = BpfLink.fromId(link.id);
    t.same(same.info(), link.info());
  });

  t.test('links run in the order that they ask for', async (t) => {
    using one = attachTcx({ ifindex, direction: 'egress', program: first });
    using zero = attachTcx({ ifindex, direction: 'egress', program: second, before: one });
    t.same(queryTcx(ifindex, 'egress'), [second.id, first.id]);
    zero.close();

    using two = attachTcx({ ifindex, direction: 'egress', program: second, after: first });
    t.same(queryTcx(ifindex, 'egress'), [first.id, second.id]);
    two.close();

    using head = attachTcx({ ifindex, direction: 'egress', program: second, before: 'all' });
    t.same(queryTcx(ifindex, 'egress'), [second.id, first.id]);
    t.ok(head.isOpen && one.isOpen);
    ping(2);
    t.same(takeHits(), [2, 2, 0, 0]);
  });

  t.test('a pinned link outlives the object and the process', async (t) => {
    const script = `
      import { attachTcx } from ${JSON.stringify(new URL('../src/tcx.js', import.meta.url).href)};
      import { BpfProgram } from ${JSON.stringify(new URL('../src/program.js', import.meta.url).href)};
      const program = BpfProgram.fromId(${first.id});
      attachTcx({ ifindex: ${ifindex}, direction: 'egress', program }).pin('${pin}');`;
    execFileSync('nsenter', [
      `--net=/run/netns/${near}`,
      process.execPath,
      '--input-type=module',
      '--eval',
      script,
    ]);

    ping(2);
    t.same(takeHits(), [2, 0, 0, 0]);

    const link = BpfLink.openPinned(pin);
    t.match(link.info(), { type: 'tcx', programId: first.id, ifindex });
    link.unpin();
    t.same(queryTcx(ifindex, 'egress'), [first.id]);
    link.close();
    t.same(queryTcx(ifindex, 'egress'), []);
  });

  t.test('an update changes the program and misses no packet', async (t) => {
    using link = attachTcx({ ifindex, direction: 'egress', program: first });
    const id = link.id;
    const pings = 200;
    // the flood goes on in a child while the programs change places
    const flood = import('node:child_process').then(
      ({ spawn }) =>
        new Promise((resolve) => {
          spawn('ping', ['-q', '-c', `${pings}`, '-i', '0.002', '10.77.0.2']).on('exit', resolve);
        }),
    );
    let done = false;
    const finished = flood.then((status) => {
      done = true;
      return status;
    });
    let updates = 0;
    while (!done) {
      link.update(updates++ % 2 === 0 ? second : first);
      await new Promise((resolve) => setImmediate(resolve));
    }

    t.equal(await finished, 0);
    const [byFirst, bySecond] = takeHits();
    t.equal(byFirst! + bySecond!, pings, `each packet met one program (${updates} updates)`);
    t.ok(byFirst! > 0 && bySecond! > 0, `both had some: ${byFirst} and ${bySecond}`);
    t.equal(link.info().id, id);
  });

  t.test('a detached link is defunct and stays', async (t) => {
    using link = attachTcx({ ifindex, direction: 'egress', program: first });

    link.detach();
    link.detach();

    t.same(queryTcx(ifindex, 'egress'), []);
    t.match(link.info(), { ifindex: 0 });
    t.match(
      catchError(() => link.update(second)),
      { errnoName: 'ENOLINK' },
    );
  });

  t.test('a link of an interface that goes is defunct', async (t) => {
    run('ip', 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1');
    const { ifindex: gone } = JSON.parse(run('ip', '-j', 'link', 'show', 'dev', 'gone0'))[0];
    using link = attachTcx({ ifindex: gone, direction: 'ingress', program: first });

    run('ip', 'link', 'delete', 'gone0');

    t.match(link.info(), { type: 'tcx', ifindex: 0 });
    link.detach();
  });

  t.test('what cannot be attached says why', async (t) => {
    using link = attachTcx({ ifindex, direction: 'egress', program: first });
    const attach = (options: object) =>
      catchError(() => attachTcx({ ifindex, direction: 'egress', program: second, ...options }));

    t.match(attach({ ifindex: 999_999 }), { errnoName: 'ENODEV', message: /program "second" to egress/ });
    t.match(attach({ program: first }), { errnoName: 'EEXIST' });
    t.match(attach({ program: xdpFirst }), { errnoName: 'EINVAL' });
    t.type(attach({ program: xdpFirst }), SyscallError);
    t.match(attach({ before: second }), { errnoName: 'ENOENT' });
    t.throws(
      () => attachTcx({ ifindex, direction: 'egress', program: second, before: link, after: link }),
      TypeError,
    );
  });

  t.test('a pin that is no link is refused', async (t) => {
    first.pin(pin);
    t.teardown(() => rmSync(pin, { force: true }));

    t.type(
      catchError(() => BpfLink.openPinned(pin)),
      LayoutError,
    );
  });

  t.test('a closed link cannot be used', async (t) => {
    const link = attachTcx({ ifindex, direction: 'egress', program: first });
    link.close();
    link.close();

    t.match(
      catchError(() => link.info()),
      { code: 'ERR_BPF_CLOSED' },
    );
  });
}
