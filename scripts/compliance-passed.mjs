// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Whether the tests that docs/rfc-compliance.md names have passed, by the results that scripts/run-tests.mjs has left of
// this run: as TAP, a test point for each test. One that was skipped has shown nothing.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { DOCUMENT, readRows } from './compliance.mjs';

const RESULTS = 'build/test-results';

/** What the results of a file are called. */
function resultsOf(file) {
  return `${RESULTS}/${`dist/${file.replace(/\.ts$/, '.js')}`.replaceAll('/', '_')}.tap`;
}

/** Every test point, however deep. */
function pointsOf(tap) {
  const points = [];
  for (const line of tap.split('\n')) {
    const [, not, name, directive = ''] = /^ *(not )?ok \d+ - (.*?)(?: +# *(time=|skip|todo).*)?(?: \{)?$/i.exec(line) ?? [];
    if (name === undefined) continue;
    points.push({ isOk: !not, name: name.replaceAll('\\#', '#'), isSkipped: /skip|todo/i.test(directive) });
  }
  return points;
}

/** Why a test is not known to have passed; '' if it has. */
function whyNot(file, title) {
  const results = resultsOf(file);
  if (!existsSync(results)) return `${file} did not run`;
  if (statSync(results).mtimeMs < statSync(file).mtimeMs) return `${file} has changed since it ran`;
  const points = pointsOf(readFileSync(results, 'utf8')).filter(({ name }) => name === title);
  if (points.length === 0) return `${file} has run no such test`;
  if (points.some(({ isOk }) => !isOk)) return 'it failed';
  return points.every(({ isSkipped }) => isSkipped) ? 'it was skipped' : '';
}

const tests = new Map();
for (const row of readRows(readFileSync(DOCUMENT, 'utf8')).filter(({ answer }) => answer === 'yes'))
  for (const { file, title } of row.tests) tests.set(`${file}: ${title}`, { file, title });

let failed = 0;
console.log('TAP version 14');
[...tests].forEach(([name, { file, title }], i) => {
  const why = whyNot(file, title);
  if (why) failed++;
  console.log(`${why ? 'not ok' : 'ok'} ${i + 1} - ${name.replaceAll('#', '\\#')}`);
  if (why) console.log(`  ---\n  output: ${why}\n  ...`);
});
console.log(`1..${tests.size}`);
process.exitCode = failed > 0 ? 1 : 0;
