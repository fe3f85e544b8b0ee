// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What an instance of ctnat has in the kernel, as bpftool and tc see it: the product is not asked.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Ctnat } from './ctnat.js';
import type { Namespace } from './netns.js';
import { run } from './process.js';

export interface KernelObjects {
  /** bpftool's ids. */
  maps: number[];
  programs: number[];
  links: number[];
}

interface ProgramInfo {
  id: number;
  map_ids?: number[];
}

/** Every file below the instance's pin path. */
export function pins(ctnat: Ctnat): string[] {
  if (!existsSync(ctnat.pinPath)) return [];
  return readdirSync(ctnat.pinPath, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The maps that are pinned, the programs that use one of them, and the links of these programs. */
export async function kernelObjects(ctnat: Ctnat): Promise<KernelObjects> {
  const maps: number[] = [];
  for (const pin of pins(ctnat)) {
    const { status, stdout } = await run(['bpftool', '-j', 'map', 'show', 'pinned', pin], { mayFail: true });
    if (status === 0) maps.push((JSON.parse(stdout) as { id: number }).id);
  }
  const programs = (await list<ProgramInfo>('prog'))
    .filter((program) => program.map_ids?.some((id) => maps.includes(id)))
    .map(({ id }) => id);
  const links = (await list<{ id: number; prog_id?: number }>('link'))
    .filter((link) => programs.includes(link.prog_id ?? -1))
    .map(({ id }) => id);
  return { maps, programs, links };
}

/** Those of the objects that still exist. */
export async function survivors(objects: KernelObjects): Promise<KernelObjects> {
  const alive = async (kind: 'map' | 'prog' | 'link', ids: number[]): Promise<number[]> => {
    const existing = new Set((await list<{ id: number }>(kind)).map(({ id }) => id));
    return ids.filter((id) => existing.has(id));
  };
  return {
    maps: await alive('map', objects.maps),
    programs: await alive('prog', objects.programs),
    links: await alive('link', objects.links),
  };
}

/** The clsact and ingress qdiscs in a namespace, as "DEVICE KIND". */
export async function hookQdiscs(ns: Namespace): Promise<string[]> {
  const { stdout } = await run(['tc', '-n', ns.name, 'qdisc', 'show']);
  return [...stdout.matchAll(/^qdisc (clsact|ingress) \S+ dev (\S+)/gm)].map(
    (match) => `${match[2]} ${match[1]}`,
  );
}

async function list<T>(kind: 'map' | 'prog' | 'link'): Promise<T[]> {
  const { status, stdout } = await run(['bpftool', '-j', kind, 'show'], { mayFail: true });
  // Links can be listed since 5.8; before 5.7 there are none.
  if (kind === 'link' && status !== 0 && stdout.includes("can't get next link: Invalid argument")) return [];
  if (status !== 0) throw new Error(`bpftool ${kind} show exited with status ${status}: ${stdout}`);
  return JSON.parse(stdout || '[]') as T[];
}
