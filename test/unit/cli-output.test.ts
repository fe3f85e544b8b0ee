// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Long listings: a slow reader, one that goes away, a full disk, speed and start-up.
import { spawn, spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { Output, OutputClosed } from '../../src/cli/output.js';
import { FLOW_FORMATTER } from '../../src/format-flow.js';
import { framed, LINES } from '../../src/frame.js';
import { ctnat } from '../helpers/command-line.js';
import { exampleFlow, FakeProduct } from '../helpers/fake-product.js';

const LISTING = fileURLToPath(new URL('../helpers/listing-main.js', import.meta.url));
const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const SLOW = Number(process.env.VM_SLOW ?? 1);

/** Items that count how many were taken. */
class Source {
  taken = 0;

  *items(count: number): Iterable<number> {
    for (let i = 0; i < count; i++) {
      this.taken++;
      yield i;
    }
  }
}

test('a slow reader slows the listing down: one chunk is under way, no more is made', async (t) => {
  const source = new Source();
  const waiting: (() => void)[] = [];
  let arrived: () => void = () => {};
  const slow = new Writable({
    highWaterMark: 1,
    write(_chunk, _encoding, done) {
      waiting.push(done);
      arrived();
    },
  });
  const next = () =>
    new Promise<void>((resolve) => {
      arrived = resolve;
    });
  const first = next();
  const done = new Output(slow).chunks(framed(source.items(100_000), (i) => `${i}${'x'.repeat(100)}`, LINES));

  await first;
  const takenAtFirst = source.taken;
  t.ok(takenAtFirst < 1000, `${takenAtFirst} items make the first chunk`);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(source.taken, takenAtFirst, 'nothing more is made while the reader is busy');
  const second = next();
  waiting.shift()!();
  await second;
  t.ok(source.taken > takenAtFirst && source.taken < 2000, `${source.taken} items after the second chunk`);
  slow.destroy();
  await t.rejects(done, OutputClosed);
});

test('a reader that goes away ends the listing at once, as done', async (t) => {
  const source = new Source();
  const product = new FakeProduct();
  product.flows = function* () {
    for (const i of source.items(1_000_000)) yield exampleFlow({ mark: i });
  };
  const gone = new Writable({
    write(_chunk, _encoding, done) {
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    },
  });

  t.match(await ctnat('bpf ct list global', { product, host: { stdout: gone } }), { status: 0, stderr: '' });
  t.ok(source.taken < 2000, `${source.taken} flows were made`);
  t.equal(product.closed, 1);
});

test('nobody at stderr is no failure', async (t) => {
  const gone = new Writable({
    write(_chunk, _encoding, done) {
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    },
  });
  t.match(await ctnat('foo', { host: { stderr: gone } }), { status: 2 });
});

test('head takes two lines of a million and the exit status is 0', async (t) => {
  const child = spawn('bash', [
    '-c',
    `set -o pipefail; "${process.execPath}" "${LISTING}" 1000000 -o jsonl | head -n 2`,
  ]);
  let text = '';
  let errors = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const status = await new Promise((resolve) => child.on('close', resolve));

  t.equal(status, 0);
  t.equal(errors, '');
  t.same(
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).mark),
    [0, 1],
  );
});

test('a full disk is told and exits 1', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [LISTING, '1000'], {
    stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
    encoding: 'utf8',
  });
  t.equal(status, 1);
  t.equal(stderr, 'ctnat: can not write to standard output: no space is left on the device (ENOSPC)\n');
});

test('every line arrives whole through a pipe, as a valid array too', async (t) => {
  for (const format of ['json', 'jsonl']) {
    const { stdout, status } = spawnSync(process.execPath, [LISTING, '20000', '-o', format], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    const flows =
      format === 'json'
        ? JSON.parse(stdout)
        : stdout
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line));
    t.equal(status, 0);
    t.equal(flows.length, 20_000);
    t.ok(
      flows.every((flow: { mark: number }, i: number) => flow.mark === i),
      format,
    );
  }
});

test('a million lines need little processor time and memory', { timeout: 60_000 * SLOW }, async (t) => {
  const flow = exampleFlow();
  function* flows(count: number) {
    for (let i = 0; i < count; i++) {
      flow.mark = i;
      yield flow;
    }
  }
  let bytes = 0;
  const out = new Output(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        done();
      },
    }),
  );
  await out.chunks(framed(flows(100_000), FLOW_FORMATTER.json, LINES)); // warms the compiler up
  bytes = 0;
  const before = process.memoryUsage().rss;
  const start = process.cpuUsage();
  await out.chunks(framed(flows(1_000_000), FLOW_FORMATTER.json, LINES));
  const { user, system } = process.cpuUsage(start);
  const perSecond = Math.round(1e12 / (user + system));

  t.comment(`${perSecond} lines a second of processor time`);
  t.ok(bytes > 300_000_000, `${bytes} bytes`);
  t.ok(perSecond > 400_000 / SLOW, `${perSecond} lines a second`);
  t.ok(process.memoryUsage().rss - before < 100e6, 'memory does not grow with the listing');
});

test('help loads nothing native and no parser', async (t) => {
  const script = `process.argv.splice(1, 0, 'ctnat'); process.on('exit', () => {
    const native = process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node'));
    const modules = Object.keys(require('module')._cache).map((path) => path.split('/node_modules/').at(-1).split('/')[0]);
    process.stderr.write(JSON.stringify({ native, modules: [...new Set(modules)] }));
  }); import(${JSON.stringify(MAIN)});`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script, '--', '--help'], {
    encoding: 'utf8',
  });

  t.equal(status, 0);
  t.match(stdout, /^Usage: ctnat/);
  t.same(JSON.parse(stderr), { native: [], modules: ['commander'] });
});

test('help and an empty listing take little more than node itself', async (t) => {
  const commands = [
    ['-e', '0'],
    [MAIN, '--help'],
    [LISTING, '0'],
  ];
  const best = commands.map(() => Number.POSITIVE_INFINITY);
  const more = (i: number): number => best[i]! - best[0]!;
  const isFast = (): boolean => [1, 2].every((i) => more(i) < 90 * SLOW + best[0]!);
  // in turns, and for longer where something else has the processors
  for (let round = 0; round < 5 || (round < 25 && !isFast()); round++)
    for (const [i, args] of commands.entries()) {
      const start = process.hrtime.bigint();
      spawnSync(process.execPath, args);
      best[i] = Math.min(best[i]!, Number(process.hrtime.bigint() - start) / 1e6);
    }

  t.comment(
    `node ${best[0]!.toFixed()} ms, help +${more(1).toFixed()} ms, empty list +${more(2).toFixed()} ms`,
  );
  t.ok(isFast());
});
