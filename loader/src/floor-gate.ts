#!/usr/bin/env node
// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Command line of the floor check: node floor-gate.js OBJECT...
 * Prints each program with its instructions, then what Linux 4.19 would refuse, one line each.
 * Exit 0 nothing, 1 something or no readable object, 2 wrong usage.
 */
import { readFileSync } from 'node:fs';
import { parseElf } from './elf.js';
import { BpfError } from './errors.js';
import { checkFloor, programSizes } from './floor.js';
import { MAX_INSTRUCTIONS } from './floor-facts.js';
import type { Violation } from './floor-report.js';

function main(paths: string[]): number {
  if (paths.length === 0 || paths.some((path) => path.startsWith('-'))) {
    console.error('Usage: floor-gate OBJECT...');
    return 2;
  }
  let status = 0;
  for (const path of paths) {
    try {
      if (!report(path)) status = 1;
    } catch (error) {
      if (!(error instanceof BpfError) && !(error as NodeJS.ErrnoException).syscall) throw error;
      console.error(`${path}: ${(error as Error).message}`);
      status = 1;
    }
  }
  return status;
}

/** @returns whether 4.19 would take the object */
function report(path: string): boolean {
  const elf = parseElf(readFileSync(path));
  const sizes = programSizes(elf);
  const width = Math.max(...sizes.map(({ program }) => program.length), 'program'.length);
  console.log(`${path}: ${sizes.length} programs, at most ${MAX_INSTRUCTIONS} instructions each`);
  for (const { program, section, instructions } of sizes) {
    const percent = Math.round((instructions / MAX_INSTRUCTIONS) * 100);
    console.log(
      `  ${program.padEnd(width)}  ${String(instructions).padStart(6)}  ${String(percent).padStart(4)} %  ${section}`,
    );
  }
  const violations = checkFloor(elf);
  for (const text of summary(violations)) console.error(text);
  if (violations.length > 0)
    console.error(`${path}: ${violations.length} violations of what Linux 4.19 knows`);
  return violations.length === 0;
}

const SHOWN = 5;

/** One line a violation; of one rule in one function the first few. */
function summary(violations: Violation[]): string[] {
  const groups = new Map<string, Violation[]>();
  for (const each of violations) {
    const key = `${each.rule} ${each.program} ${each.function} ${each.map}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].flatMap((group) => {
    const more = group.length - SHOWN;
    const lines = group.slice(0, SHOWN).map(line);
    return more > 0 ? [...lines, `  and ${more} more [${group[0]?.rule}] in ${group[0]?.function}`] : lines;
  });
}

/** "bpf/nat.h:12: [loop] nat_egress/translate: jump from ..." */
function line(violation: Violation): string {
  const place = violation.file === undefined ? '' : `${violation.file}:${violation.line}: `;
  const names = [
    violation.map,
    violation.program,
    violation.function === violation.program ? undefined : violation.function,
  ];
  return `${place}[${violation.rule}] ${names.filter((name) => name !== undefined).join('/')}: ${violation.message}`;
}

process.exitCode = main(process.argv.slice(2));
