// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Which object file this kernel gets, and where it lies: as it was built, or compiled now from the shipped sources.
 * CTNAT_FLAVOUR forces a flavour; CTNAT_BPF_OBJECTS names another folder of built ones.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileBpf, feature } from 'libbpf-ts';
import { CtnatError, quoted } from './errors.js';
import { FLAVOURS, type FlavourName, isFlavourName, usableFlavours } from './flavours.js';
import { packageFile, version } from './version.js';

/** `xdp`: the programs of XDP mode. */
export type ObjectName = 'ctnat' | 'xdp';

/** The flavour that is asked for and no other, or else all that this kernel has the features for, the best first. */
export function chooseFlavours(asked: string | undefined = process.env.CTNAT_FLAVOUR): FlavourName[] {
  if (asked === undefined || asked === '') return usableFlavours((name) => feature(name).available);
  if (isFlavourName(asked)) return [asked];
  const names = FLAVOURS.map(({ name }) => name).join(', ');
  throw new CtnatError(`can not load the flavour ${quoted(asked)} (CTNAT_FLAVOUR): it is none of ${names}`);
}

/**
 * The path of a flavour's object file, compiled first if it was not shipped.
 * @throws CompileError without a compiler, or naming what it dislikes
 */
export async function bpfObject(name: FlavourName, object: ObjectName = 'ctnat'): Promise<string> {
  const folder = process.env.CTNAT_BPF_OBJECTS ?? fileURLToPath(packageFile('build/bpf'));
  const built = join(folder, name, `${object}.bpf.o`);
  if (existsSync(built)) return built;
  const flavour = FLAVOURS.find((each) => each.name === name)!;
  const source = fileURLToPath(packageFile(`bpf/${object}.bpf.c`));
  return (await compileBpf({ source, flavour, outDir: cacheFolder() })).object;
}

/** Where objects are kept that were compiled on this machine. */
function cacheFolder(): string {
  const { XDG_CACHE_HOME, CACHE_DIRECTORY } = process.env;
  // systemd sets CACHE_DIRECTORY for a service with CacheDirectory=
  const base = CACHE_DIRECTORY?.split(':')[0] ?? (process.getuid?.() === 0 ? '/var/cache/ctnat' : undefined);
  return join(base ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ctnat'), version());
}
