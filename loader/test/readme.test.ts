// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** The README's only block of code in a language. */
function block(language: string): string {
  const found = [...README.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))];
  if (found.length !== 1) throw new Error(`The README has ${found.length} blocks of ${language}`);
  return found[0]?.[1] ?? '';
}

t.test('the packet counter works as it is printed', async (t) => {
  const directory = t.testdir();
  writeFileSync(join(directory, 'count.bpf.c'), block('c'));
  writeFileSync(join(directory, 'count.mjs'), block('js'));
  const script = 'ip link set lo up && exec "$0" count.mjs lo';
  const counter = spawn('unshare', ['--net', 'sh', '-c', script, process.execPath], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => counter.kill('SIGKILL'));
  let complaints = '';
  counter.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });

  let sum = 0;
  for await (const line of createInterface(counter.stdout)) {
    sum = Number(/^(\d+) packets$/.exec(line)?.[1]);
    t.ok(sum >= 0, line);
    if (sum > 0) break;
    const namespace = `--net=/proc/${counter.pid}/ns/net`;
    const ping = spawnSync('nsenter', [namespace, 'ping', '-q', '-c', '3', '-i', '0.01', '127.0.0.1']);
    t.equal(ping.status, 0, 'ping');
  }
  counter.kill('SIGINT');
  const [status] = await once(counter, 'exit');

  t.equal(complaints, '');
  t.equal(sum, 6, 'three requests and three replies');
  t.equal(status, 0, 'Ctrl-C ends it');
});

t.test('every name in the README is exported, or a member of what is', async (t) => {
  const exported: Record<string, unknown> = await import('../src/index.js');
  const classes = Object.values(exported).filter((value) => typeof value === 'function');
  const members = classes.flatMap((value) => [
    ...Object.getOwnPropertyNames(value),
    ...Object.getOwnPropertyNames(value.prototype ?? {}),
  ]);
  // fields, and the words that set() takes
  const others = ['maps', 'programs', 'any', 'noexist', 'exist'];
  const known = new Set([...Object.keys(exported), ...members, ...others]);

  const table = README.slice(README.indexOf('## What there is'), README.indexOf('Rules that hold'));
  const names = [...table.matchAll(/`(?:new )?([A-Za-z]\w+)(?=[`(.])/g)].map(([, name]) => name ?? '');

  t.ok(names.length > 50, `${names.length} names`);
  t.same(
    names.filter((name) => !known.has(name)),
    [],
  );
});
