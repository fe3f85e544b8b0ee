// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Finds the C compiler for BPF and the strip tool that belongs to it. */
import { execFile } from 'node:child_process';
import { access, constants, readdir, realpath, stat } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { CompileError } from './errors.js';

export interface Clang {
  path: string;
  /** First line of `clang --version`. */
  version: string;
  major: number;
}

/** The first clang whose BPF objects all of this package's features work with. */
const OLDEST = 14;
const NEWEST = 22;
/** What the project is built and tested with. */
const PREFERRED = 19;
const HINT = `Install clang ${OLDEST} or newer: apt-get install clang llvm`;

/**
 * The compiler to use: `wanted`, else the environment's CLANG, else clang-19, the newest other clang-N from 14 on,
 * or clang, on the PATH.
 * @throws CompileError if there is none, or the wanted one is missing or too old
 */
export async function findClang(wanted = process.env.CLANG): Promise<Clang> {
  if (wanted !== undefined && wanted !== '') {
    const path = await findCommand(wanted);
    if (path === undefined)
      throw new CompileError('compile for BPF', `there is no ${wanted}`, { hint: HINT });
    const clang = await identify(path);
    if (clang.major < OLDEST)
      throw new CompileError('compile for BPF', `${wanted} is ${clang.version}`, { hint: HINT });
    return clang;
  }
  for (const name of candidates()) {
    const path = await findCommand(name);
    if (path === undefined) continue;
    const clang = await identify(path);
    if (clang.major >= OLDEST) return clang;
  }
  throw new CompileError('compile for BPF', 'no clang is installed', { hint: HINT });
}

/** llvm-strip beside the compiler or of its version; undefined if there is none. It takes DWARF out and leaves BTF. */
export async function findStrip(clang: Clang): Promise<string | undefined> {
  const beside = join(dirname(await realpath(clang.path)), 'llvm-strip');
  if (await isExecutable(beside)) return beside;
  return (await findCommand(`llvm-strip-${clang.major}`)) ?? (await findCommand('llvm-strip'));
}

/**
 * The folder to add to the include path so that <linux/types.h> finds <asm/types.h>: Debian keeps it in a folder
 * of the machine's type.
 * @returns undefined where /usr/include/asm itself exists
 * @throws CompileError if the kernel's headers are not installed
 */
export async function findAsmIncludes(root = '/usr/include'): Promise<string | undefined> {
  if (await isFile(join(root, 'asm/types.h'))) return undefined;
  const triplet = join(root, `${MACHINES[process.arch] ?? process.arch}-linux-gnu`);
  if (await isFile(join(triplet, 'asm/types.h'))) return triplet;
  for (const name of await readdir(root).catch(() => [])) {
    if (await isFile(join(root, name, 'asm/types.h'))) return join(root, name);
  }
  const hint = 'Install the kernel headers for userspace: apt-get install linux-libc-dev';
  throw new CompileError('compile for BPF', 'asm/types.h is not installed', { hint });
}

const MACHINES: Record<string, string> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64: 'powerpc64le',
  s390x: 's390x',
  loong64: 'loongarch64',
};

function candidates(): string[] {
  const versions = Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => NEWEST - i);
  const others = versions.filter((version) => version !== PREFERRED);
  return [PREFERRED, ...others].map((version) => `clang-${version}`).concat('clang');
}

async function identify(path: string): Promise<Clang> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version']);
    const version = stdout.split('\n')[0] ?? '';
    return { path, version, major: Number(/clang version (\d+)/.exec(version)?.[1] ?? 0) };
  } catch (cause) {
    throw new CompileError('compile for BPF', `${path} does not run`, { hint: HINT, cause });
  }
}

/** Looks a command up on the PATH; a name with a slash is a path. */
async function findCommand(name: string): Promise<string | undefined> {
  const folders = name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const folder of folders) {
    const path = join(folder, name);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  if (!(await isFile(path))) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
}
