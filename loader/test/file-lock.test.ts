// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { SyscallError } from '../src/errors.js';
import { FileLock, LockTimeoutError } from '../src/file-lock.js';
import { catchError } from './helpers/catch-error.js';

const directory = mkdtempSync(join(tmpdir(), 'libbpf-ts-lock-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const slow = Number(process.env.VM_SLOW ?? 1);
const lockModule = JSON.stringify(new URL('../src/file-lock.js', import.meta.url).href);

let count = 0;
const newPath = (): string => join(directory, `lock-${++count}`);

function start(script: string): ChildProcess {
  const source = `import { FileLock } from ${lockModule};\n${script}`;
  return spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** A process that holds the lock until it is told, or killed. */
async function startHolder(path: string): Promise<ChildProcess> {
  const child = start(`
    const lock = await FileLock.acquire(${JSON.stringify(path)});
    console.log('held');
    process.stdin.once('data', () => { lock.release(); console.log('released'); });
    process.stdin.once('end', () => process.exit());`);
  await once(child.stdout!, 'data');
  return child;
}

t.test('one holder at a time, in one process too', async (t) => {
  const path = newPath();
  const lock = FileLock.tryAcquire(path);

  t.ok(lock?.isHeld);
  t.equal(FileLock.tryAcquire(path), undefined);
  t.equal(readFileSync(path, 'utf8'), `${process.pid}\n`);
  lock!.release();
  lock!.release();
  t.equal(lock!.isHeld, false);
  const again = FileLock.tryAcquire(path);
  t.ok(again?.isHeld);
  again!.release();
});

t.test('a waiting process gets the lock when its holder lets go', async (t) => {
  const path = newPath();
  const holder = await startHolder(path);
  t.equal(FileLock.tryAcquire(path), undefined);

  const acquiring = FileLock.acquire(path, { timeoutMs: 20_000 * slow });
  setImmediate(() => holder.stdin!.write('let go\n'));
  using lock = await acquiring;

  t.ok(lock.isHeld);
  holder.stdin!.end();
  await once(holder, 'exit');
});

t.test('a waiting process gets the lock when its holder is killed', async (t) => {
  const path = newPath();
  const holder = await startHolder(path);

  const acquiring = FileLock.acquire(path, { timeoutMs: 20_000 * slow });
  setImmediate(() => holder.kill('SIGKILL'));
  using lock = await acquiring;

  t.ok(lock.isHeld);
});

t.test('the wait has a limit and the error names the holder', async (t) => {
  const path = newPath();
  const holder = await startHolder(path);

  const started = performance.now();
  const error = await FileLock.acquire(path, { timeoutMs: 60 }).catch((error) => error);

  t.type(error, LockTimeoutError);
  t.match(error, { code: 'ERR_BPF_LOCKED', holder: holder.pid });
  t.match(error.message, new RegExp(`process ${holder.pid} still holds it after 60 ms`));
  const elapsed = performance.now() - started;
  t.ok(elapsed >= 55 && elapsed < 1_000 * slow, `${elapsed} ms`);
  holder.stdin!.end();
  await once(holder, 'exit');
});

t.test('waiting uses no processor time', async (t) => {
  const path = newPath();
  using lock = FileLock.tryAcquire(path)!;
  const before = process.cpuUsage();

  const waiters = [1, 2, 3].map(() => FileLock.acquire(path, { timeoutMs: 400 }).catch((error) => error));
  await Promise.all(waiters);

  const { user, system } = process.cpuUsage(before);
  t.ok(lock.isHeld);
  t.ok((user + system) / 1000 < 100 * slow, `${(user + system) / 1000} ms of 400`);
});

t.test('an abort ends the wait', async (t) => {
  const path = newPath();
  using lock = FileLock.tryAcquire(path)!;
  const controller = new AbortController();

  const acquiring = FileLock.acquire(path, { signal: controller.signal });
  setImmediate(() => controller.abort(new Error('enough')));

  await t.rejects(acquiring, { message: 'enough' });
  await t.rejects(FileLock.acquire(path, { signal: AbortSignal.abort(new Error('before')) }), {
    message: 'before',
  });
  t.ok(lock.isHeld);
});

t.test('racing processes never hold it together', async (t) => {
  const path = newPath();
  const counter = newPath();
  writeFileSync(counter, '0');
  const rounds = 40;
  const script = `
    import { readFileSync, writeFileSync } from 'node:fs';
    for (let round = 0; round < ${rounds}; round++) {
      const lock = await FileLock.acquire(${JSON.stringify(path)}, { timeoutMs: ${60_000 * slow} });
      const value = Number(readFileSync(${JSON.stringify(counter)}, 'utf8'));
      await new Promise((resolve) => setImmediate(resolve)); // the other has its chance to interfere
      writeFileSync(${JSON.stringify(counter)}, String(value + 1));
      lock.release();
    }`;

  const children = [start(script), start(script), start(script)];
  const statuses = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0]));

  t.same(statuses, [0, 0, 0]);
  t.equal(readFileSync(counter, 'utf8'), String(3 * rounds));
});

t.test('a path that cannot be opened is refused', async (t) => {
  t.match(
    catchError(() => FileLock.tryAcquire(join(directory, 'none', 'lock'))),
    { errnoName: 'ENOENT' },
  );
  const link = newPath();
  symlinkSync('/etc/passwd', link);
  const error = catchError(() => FileLock.tryAcquire(link));
  t.type(error, SyscallError);
  t.match(error, { errnoName: 'ELOOP' }, 'a symbolic link could point anywhere');
});
