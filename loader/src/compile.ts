// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Compiles C for BPF with clang, once: the object is kept with a key made of the preprocessed source, the flags
 * and the compiler's version, and is used again while the key is the same.
 *
 * Several processes may compile at once, also the same source: each writes its own temporary file, which replaces
 * the object in one step. A note beside the object holds the key and the object's own hash, so that an object
 * whose note is another build's is compiled again instead of being believed.
 */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type Clang, findAsmIncludes, findClang, findStrip } from './clang.js';
import { parseElf } from './elf.js';
import { CompileError } from './errors.js';
import { countInstructions, readFunctions } from './function-spec.js';

/** One way to compile a source. */
export interface Flavour {
  /** Names the folder under outDir. */
  name: string;
  /** Instruction set: v1 for every kernel, v2 from 4.14, v3 from 5.1. */
  cpu: 'v1' | 'v2' | 'v3';
  /** Macros; true defines one without a value. */
  defines?: Record<string, string | number | true>;
}

export interface CompileOptions {
  /** The C file. */
  source: string;
  flavour: Flavour;
  /** Folders to search for headers besides the source's own and the system's. */
  includes?: string[];
  /** The object becomes outDir/FLAVOUR/NAME.bpf.o for NAME.bpf.c. */
  outDir: string;
  /** Name or path of the compiler; default: findClang(). */
  clang?: string;
}

export interface CompileResult {
  /** Path of the object. */
  object: string;
  /** Whether an object from an earlier call was used. */
  cached: boolean;
  /** The compiler's version line. */
  clang: string;
  /** Of each program by its C name, as the kernel counts: with all subprograms that it reaches. */
  instructions: Record<string, number>;
}

/**
 * Compiles a source, or finds that it is compiled already.
 * @throws CompileError if there is no compiler, or with its first errors if it refuses the source
 */
export async function compileBpf(options: CompileOptions): Promise<CompileResult> {
  await checkSource(options);
  const clang = await findClang(options.clang);
  const flags = await makeFlags(options);
  const folder = join(options.outDir, options.flavour.name);
  const object = join(folder, basename(options.source).replace(/\.c$/, '.o'));
  const key = await makeKey(options, clang, flags);
  const known = await readObject(object, key);
  if (known !== undefined) return result(object, true, clang, known);

  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(object)}.${process.pid}.${randomUUID()}`);
  try {
    await run(clang.path, [...flags, '-c', inFolder(options), '-o', resolve(temporary)], options);
    await strip(clang, temporary);
    const bytes = await readFile(temporary);
    const compiled = result(object, false, clang, bytes);
    await rename(temporary, object);
    await writeNote(object, key, bytes);
    return compiled;
  } finally {
    await rm(temporary, { force: true });
  }
}

async function checkSource(options: CompileOptions): Promise<void> {
  try {
    await stat(options.source);
  } catch (cause) {
    throw new CompileError(operation(options), 'the file is not there', { cause });
  }
}

function operation({ source, flavour }: CompileOptions): string {
  return `compile ${source} (${flavour.name})`;
}

/**
 * Warnings are errors. Debug information, of which BTF is made, names files from the folder above the source's on:
 * the same on every machine, and clang, which runs there, finds them and puts their lines into BTF.
 */
async function makeFlags({ flavour, includes = [] }: CompileOptions): Promise<string[]> {
  const asm = await findAsmIncludes();
  const defines = Object.entries(flavour.defines ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    '-O2',
    '-g',
    '-target',
    'bpf',
    `-mcpu=${flavour.cpu}`,
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fdebug-compilation-dir=.',
    ...defines.map(([name, value]) => (value === true ? `-D${name}` : `-D${name}=${value}`)),
    ...includes.flatMap((folder) => ['-I', resolve(folder)]),
    ...(asm === undefined ? [] : ['-idirafter', asm]),
  ];
}

/** Comments count: BTF holds the text of source lines. */
async function makeKey(options: CompileOptions, clang: Clang, flags: string[]): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([clang.version, flags]));
  await run(clang.path, [...flags, '-E', '-C', inFolder(options)], options, (chunk) => hash.update(chunk));
  return hash.digest('hex');
}

interface Note {
  key: string;
  /** sha256 of the object. */
  object: string;
}

function notePath(object: string): string {
  return `${object}.key`;
}

/** @returns the object's bytes if it is the one that the key stands for */
async function readObject(object: string, key: string): Promise<Buffer | undefined> {
  try {
    const note = JSON.parse(await readFile(notePath(object), 'utf8')) as Partial<Note> | null;
    const bytes = await readFile(object);
    return note?.key === key && note.object === sha256(bytes) ? bytes : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeNote(object: string, key: string, bytes: Uint8Array): Promise<void> {
  const note: Note = { key, object: sha256(bytes) };
  const temporary = `${notePath(object)}.${process.pid}.${randomUUID()}`;
  try {
    await writeFile(temporary, `${JSON.stringify(note)}\n`);
    await rename(temporary, notePath(object));
  } finally {
    await rm(temporary, { force: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function result(object: string, cached: boolean, clang: Clang, bytes: Uint8Array): CompileResult {
  const programs = readFunctions(parseElf(bytes)).filter((each) => each.isProgram);
  const instructions = Object.fromEntries(programs.map((each) => [each.name, countInstructions(each)]));
  return { object, cached, clang: clang.version, instructions };
}

/** Takes DWARF out, which nothing reads at load time; without the tool the object is just larger. */
async function strip(clang: Clang, path: string): Promise<void> {
  const tool = await findStrip(clang);
  if (tool === undefined) return;
  const { status, errors } = await start(tool, ['-g', path], dirname(path));
  if (status !== 0) throw new CompileError(`strip ${path}`, errors.trim());
}

/** Where the compiler runs: the folder above the source's. */
function workingFolder({ source }: CompileOptions): string {
  return dirname(dirname(resolve(source)));
}

/** The source's path from there. */
function inFolder(options: CompileOptions): string {
  return relative(workingFolder(options), resolve(options.source));
}

async function run(
  path: string,
  args: string[],
  options: CompileOptions,
  onOutput: (chunk: Buffer) => void = () => {},
): Promise<void> {
  const { status, errors } = await start(path, args, workingFolder(options), onOutput);
  if (status !== 0) throw new CompileError(operation(options), firstErrors(errors), { output: errors });
}

async function start(
  path: string,
  args: string[],
  cwd: string,
  onOutput: (chunk: Buffer) => void = () => {},
): Promise<{ status: number | null; errors: string }> {
  return new Promise((done, failed) => {
    const child = spawn(path, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    child.stdout.on('data', onOutput);
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on('error', (cause) => failed(new CompileError(`run ${path}`, cause.message, { cause })));
    child.on('close', (status) => done({ status, errors }));
  });
}

const ERRORS_SHOWN = 3;

/** What people need of a compiler's output: its first errors; the rest is in the error's `output`. */
function firstErrors(output: string): string {
  const errors = output.split('\n').filter((line) => /\berror:/.test(line));
  const shown = errors.slice(0, ERRORS_SHOWN).map((line) => line.trim());
  const more = errors.length - shown.length;
  if (shown.length === 0) return output.trim().split('\n')[0] || 'the compiler failed and said nothing';
  return `${shown.join('; ')}${more > 0 ? ` (and ${more} more)` : ''}`;
}
