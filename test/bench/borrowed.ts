// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Settings of the whole machine that a run of the bench needs otherwise, and that are put back when it ends. What was
// there before is kept in a file: a run that was killed could not put it back, and the next one does.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

const RECORD = '/run/ctnat-bench.json';

interface Loan {
  pid: number;
  /** When that process began (proc(5)): another one may have its number by now. */
  began: string;
  /** What the files held. */
  before: Record<string, string>;
}

/** When a process began, in ticks since the machine did; undefined: there is none of this number. */
function beganAt(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19];
  } catch {
    return undefined;
  }
}

function readLoan(record: string): Loan | undefined {
  try {
    return JSON.parse(readFileSync(record, 'utf8')) as Loan;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`Cannot read ${record}, by which an earlier bench's settings are put back`, {
      cause: error,
    });
  }
}

function giveBack({ before }: Loan, record: string): void {
  for (const [path, value] of Object.entries(before)) writeFileSync(path, value);
  rmSync(record, { force: true });
}

/**
 * Writes the values into the files, which are those of settings.
 * @returns what puts back what they held; calling it twice is harmless
 * @throws if another run that still goes on has changed settings
 */
export function borrow(values: Readonly<Record<string, number>>, record = RECORD): () => void {
  mend(record);
  const other = readLoan(record);
  if (other) throw new Error(`Cannot change the machine's settings: the bench of process ${other.pid} has`);
  const before = Object.fromEntries(Object.keys(values).map((path) => [path, readFileSync(path, 'utf8')]));
  const loan: Loan = { pid: process.pid, began: beganAt(process.pid)!, before };
  writeFileSync(record, JSON.stringify(loan));
  let lent = true;
  const back = (): void => {
    if (lent) giveBack(loan, record);
    lent = false;
  };
  try {
    for (const [path, value] of Object.entries(values)) writeFileSync(path, String(value));
  } catch (error) {
    back();
    throw error;
  }
  return back;
}

/** Puts back what a run has left that was killed. @returns the files that were put back */
export function mend(record = RECORD): string[] {
  const loan = readLoan(record);
  if (!loan || beganAt(loan.pid) === loan.began) return [];
  giveBack(loan, record);
  return Object.keys(loan.before);
}
