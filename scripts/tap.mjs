// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Reads the TAP that one test file prints. Understands what tap 21 writes: subtests indented by four,
// YAML diagnostics, skip and todo directives, plans and bail-outs. Anything else on stdout is passed over.

const POINT = /^( *)(not )?ok\b(?: +\d+)?(?: +-)? ?(.*?)(?: +# *(skip|todo|time)\b *[:=]?(.*))?(?: \{)?$/i;
const PLAN = /^1\.\.(\d+)(?: +#.*)?$/;

/**
 * Counts of a file's outermost test points, and each failure in full.
 *
 * @param {string} text what the file printed on stdout
 * @returns {{passed: number, failed: number, skipped: string[], failures: string[], complete: boolean}}
 *   complete: there was a plan and as many points as it says
 */
export function readTap(text) {
  const lines = text.split('\n');
  const skipped = [];
  const failures = [];
  const subtests = []; // names of the open subtests, by depth
  const explained = []; // by depth: a point inside has failed already and says more than its parent's
  let passed = 0;
  let failed = 0;
  let points = 0;
  let planned;

  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    if (line.startsWith('Bail out!')) {
      failed++;
      failures.push(line);
      continue;
    }
    const plan = PLAN.exec(line);
    if (plan) planned = Number(plan[1]);
    const subtest = /^( *)# Subtest: (.*)$/.exec(line);
    if (subtest) subtests[subtest[1].length / 4] = subtest[2];
    const point = POINT.exec(line);
    if (!point) continue;

    const [, indent, not, name, directive = '', reason = ''] = point;
    const kind = directive.toLowerCase();
    const failing = Boolean(not) && kind !== 'todo' && kind !== 'skip';
    const depth = indent.length / 4;
    if (failing && !explained[depth + 1]) {
      failures.push([...subtests.slice(0, depth), name].join(' > ') + diagnostics(lines, i + 1));
    }
    explained[depth + 1] = false;
    explained[depth] ||= failing;
    if (indent.length > 0) continue;

    points++;
    if (failing) failed++;
    else if (kind === 'skip' || kind === 'todo') skipped.push(`${name} (${kind}${reason ? `: ${reason.trim()}` : ''})`);
    else passed++;
  }
  return { passed, failed, skipped, failures, complete: planned === points };
}

/** The YAML block that follows a test point, with a line break before it; '' if there is none. */
function diagnostics(lines, from) {
  if (lines[from]?.trim() !== '---') return '';
  const end = lines.findIndex((line, i) => i > from && line.trim() === '...');
  return `\n${lines.slice(from + 1, end < 0 ? lines.length : end).join('\n')}`;
}
