#!/usr/bin/env node
// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Command line of the layout generator:
 *   node bpf2ts.js --out FILE [--docs HEADER]... [--runtime MODULE] [--check] INPUT...
 * INPUT is a compiled object, or a .c file that is compiled first. Exit 0 written (or, with --check, equal),
 * 1 different or impossible, 2 wrong usage.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { BpfError } from './errors.js';
import { generateLayouts } from './generate.js';

const USAGE = 'Usage: bpf2ts --out FILE [--docs HEADER]... [--runtime MODULE] [--check] INPUT...';

interface Arguments {
  out: string;
  docs: string[];
  runtime?: string;
  check: boolean;
  inputs: string[];
}

function parseArguments(argv: string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      out: { type: 'string' },
      docs: { type: 'string', multiple: true },
      runtime: { type: 'string' },
      check: { type: 'boolean' },
    },
  });
  if (values.out === undefined || positionals.length === 0)
    throw new TypeError('an output and an input are needed');
  return {
    out: values.out,
    docs: values.docs ?? [],
    check: values.check ?? false,
    inputs: positionals,
    ...(values.runtime === undefined ? {} : { runtime: values.runtime }),
  };
}

/** @returns the exit status */
function main(argv: string[]): number {
  let args: Arguments;
  try {
    args = parseArguments(argv);
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  try {
    return run(args);
  } catch (error) {
    if (!(error instanceof BpfError) && !isFileError(error)) throw error;
    console.error(error.message);
    return 1;
  }
}

function run(args: Arguments): number {
  const text = generateLayouts({
    objects: args.inputs.map((path) => ({ name: path, bytes: readFileSync(path) })),
    headers: args.docs.map((path) => readFileSync(path, 'utf8')),
    source: args.inputs.join(', '),
    ...(args.runtime === undefined ? {} : { runtime: args.runtime }),
  });
  const present = readIfThere(args.out);
  if (args.check) {
    if (present === text) return 0;
    console.error(
      `${args.out} is not what ${args.inputs.join(', ')} make it: run "make layouts" and commit the result`,
    );
    return 1;
  }
  if (present !== text) replaceFile(args.out, text);
  return 0;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A reader sees the old file or the new one. An equal file is left alone, with its time. */
function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

process.exitCode = main(process.argv.slice(2));
