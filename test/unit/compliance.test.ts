// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The compliance table is judged: a yes without a test, or with one that is not there, fails.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HEAD =
  '## RFC 1: x\n\n| item | level | asks | ctnat | why, how | shown by |\n|---|---|---|---|---|---|\n';

test('rows of the compliance table are judged', async (t) => {
  const file = join(t.testdir(), 'table.md');
  const judge = (row: string): string => {
    writeFileSync(file, HEAD + row);
    const { status, stdout } = spawnSync(process.execPath, ['scripts/compliance.mjs', file], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    t.equal(status, stdout === '' ? 0 : 1);
    return stdout;
  };
  const self = 'test/unit/compliance.test.ts';

  t.equal(judge(`| A | MUST | x | yes | | \`${self}: rows of the compliance table are judged\` |`), '');
  t.equal(judge('| A | MUST | x | no | because | |'), '');
  t.match(judge('| A | MUST | x | yes | | |'), /names no test/);
  t.match(judge(`| A | MUST | x | yes | | \`${self}: ${'something'} else\` |`), /has not/);
  t.match(judge('| A | MUST | x | yes | | `test/unit/nowhere.test.ts: x` |'), /is not there/);
  t.match(judge('| A | MUST | x | perhaps | | |'), /neither yes, no nor n\/a/);
  t.match(judge('| A | MUST | x | n/a | | |'), /not why/);
  t.match(judge(''), /no row/);
});
