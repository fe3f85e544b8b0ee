#!/usr/bin/env node
// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Command line of the layout generator:
 *   node bpf2ts.js --out FILE [--docs HEADER]... [--complete HEADER]... [--runtime MODULE] [--check] INPUT...
 * INPUT is a compiled object, or a .c file that is compiled first and whose own headers give the doc comments;
 * --docs names further ones. Every struct and enum of a --complete header must come out. --check writes nothing. Exit 0 written (or, with --check, equal),
 * 1 different or impossible, 2 wrong usage.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileBpf } from './compile.js';
import { BpfError } from './errors.js';
import { generateLayouts } from './generate.js';
import type { ObjectFile } from './type-model.js';

const USAGE =
  'Usage: bpf2ts --out FILE [--docs HEADER]... [--complete HEADER]... [--runtime MODULE] [--check] INPUT...';

interface Arguments {
  out: string;
  docs: string[];
  complete: string[];
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
      complete: { type: 'string', multiple: true },
      runtime: { type: 'string' },
      check: { type: 'boolean' },
    },
  });
  if (values.out === undefined || positionals.length === 0)
    throw new TypeError('an output and an input are needed');
  return {
    out: values.out,
    docs: values.docs ?? [],
    complete: values.complete ?? [],
    check: values.check ?? false,
    inputs: positionals,
    ...(values.runtime === undefined ? {} : { runtime: values.runtime }),
  };
}

/** @returns the exit status */
async function main(argv: string[]): Promise<number> {
  let args: Arguments;
  try {
    args = parseArguments(argv);
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'bpf2ts-'));
  try {
    return await run(args, scratch);
  } catch (error) {
    if (!(error instanceof BpfError) && !isFileError(error)) throw error;
    console.error(error.message);
    return 1;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

async function run(args: Arguments, scratch: string): Promise<number> {
  const objects: ObjectFile[] = [];
  const headers = new Set(args.docs);
  for (const path of args.inputs) {
    objects.push({ name: path, bytes: readFileSync(await compiled(path, scratch)) });
    if (path.endsWith('.c')) for (const header of localHeaders(path)) headers.add(header);
  }
  const text = generateLayouts({
    objects,
    headers: [...headers].map((path) => readFileSync(path, 'utf8')),
    complete: args.complete.map((path) => readFileSync(path, 'utf8')),
    source: args.inputs.join(', '),
    ...(args.runtime === undefined ? {} : { runtime: args.runtime }),
  });
  const present = readIfThere(args.out);
  if (present === text) return 0;
  if (args.check) {
    console.error(
      `${args.out} is not what ${args.inputs.join(', ')} makes: generate it again and commit the result`,
    );
    return 1;
  }
  replaceFile(args.out, text);
  return 0;
}

/** @returns the object of an input */
async function compiled(path: string, scratch: string): Promise<string> {
  if (!path.endsWith('.c')) return path;
  const { object } = await compileBpf({
    source: path,
    flavour: { name: 'layouts', cpu: 'v2' },
    outDir: scratch,
  });
  return object;
}

/** The source and the headers that it includes by "NAME", and theirs, as far as they are beside the file that names them. */
function localHeaders(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path) || !existsSync(path)) return found;
  found.add(path);
  for (const match of readFileSync(path, 'utf8').matchAll(/^[ \t]*#[ \t]*include[ \t]*"([^"]+)"/gm)) {
    localHeaders(join(dirname(path), match[1] ?? ''), found);
  }
  return found;
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

process.exitCode = await main(process.argv.slice(2));
