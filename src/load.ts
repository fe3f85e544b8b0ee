// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Puts the programs and maps into the kernel and pins them. The pins are made beside their places and moved there
 * at the end, the maps last: a pin path with a maps folder holds everything, whenever the loading process died.
 */
import { existsSync, mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import {
  BpfObject,
  ensurePinDirectory,
  feature,
  MapFlag,
  removePinDirectory,
  TypedMap,
  VerifierError,
} from 'libbpf-ts';
import { bpfObject, chooseFlavours } from './bpf-object.js';
import { CtnatError } from './errors.js';
import type { FlavourName } from './flavours.js';
import { Call, maps } from './generated/layouts.gen.js';
import { Ledger } from './ledger.js';
import { PROGRAM_NAMES } from './program-names.js';
import { initialSettings } from './settings.js';
import { emptyState, type RefusedFlavour } from './state.js';
import { sizeTables, startIndex } from './table-sizes.js';

export interface LoadOptions {
  /** Left out: CTNAT_FLAVOUR, or else the best that the kernel takes. */
  readonly flavour?: FlavourName;
  /** Flows of each family that can be tracked at a time. */
  readonly flows4: number;
  readonly flows6: number;
}

const PARTS = ['maps', 'programs'] as const;

/** Loads and pins, all or nothing. */
export async function loadPinned(pinPath: string, options: LoadOptions): Promise<void> {
  const loaded = await loadBest(options);
  const wasThere = existsSync(pinPath);
  try {
    ensurePinDirectory(pinPath);
    removeHalves(pinPath);
    const { object } = loaded;
    fillCalls(object);
    startIndex(object);
    const settings = new TypedMap(object.map('settings').map, maps.settings.key, maps.settings.value);
    settings.set(0, initialSettings(options.flows4, options.flows6, object.map('hints').maxEntries));
    pinAll(loaded, pinPath);
  } catch (error) {
    removeHalves(pinPath);
    if (!wasThere) removePinDirectory(pinPath);
    throw error;
  } finally {
    loaded.object.close();
  }
}

interface Loaded {
  readonly object: BpfObject;
  readonly flavour: FlavourName;
  readonly refused: readonly RefusedFlavour[];
}

/**
 * Puts the best flavour into the kernel that it takes. A kernel with all features may still refuse a program: verifiers
 * differ in what they walk through before they give up, and distributions change them.
 * @throws VerifierError if it takes none; then it is the oldest flavour's, or that of the one that was asked for
 */
async function loadBest(options: LoadOptions): Promise<Loaded> {
  const flavours = options.flavour ? [options.flavour] : chooseFlavours();
  const refused: RefusedFlavour[] = [];
  for (const [i, flavour] of flavours.entries()) {
    const object = BpfObject.open(await bpfObject(flavour));
    try {
      size(object, options);
      object.load();
      return { object, flavour, refused };
    } catch (error) {
      object.close();
      if (!isRefused(error) || i === flavours.length - 1) throw error;
      refused.push({ flavour, program: error.program, reason: error.summary });
    }
  }
  throw new CtnatError('can not load the programs: there is no flavour of them for this kernel');
}

/** Not so with EAGAIN: signals kept interrupting the verifier (it has looked at nothing, and libbpf has tried again). */
function isRefused(error: unknown): error is VerifierError {
  return error instanceof VerifierError && error.errno !== constants.errno.EAGAIN;
}

function size(object: BpfObject, { flows4, flows6 }: LoadOptions): void {
  sizeTables(object, flows4, flows6);
  if (!feature('mmap').available) return;
  // listings read the slots in place, where the kernel allows it
  for (const name of ['flows4', 'flows6', 'extras4', 'extras6']) {
    object.map(name).setFlags(object.map(name).flags | MapFlag.MMAPABLE);
  }
}

/** Puts the programs of tail calls under their indexes: call_NAME4 and call_NAME6 for CALL_NAME and the next. */
function fillCalls(object: BpfObject): void {
  const calls = new TypedMap(object.map('calls').map, maps.calls.key, maps.calls.value);
  for (const [name, index] of Object.entries(Call)) {
    calls.set(index, object.program(`call_${name.toLowerCase()}4`).fd);
    calls.set(index + 1, object.program(`call_${name.toLowerCase()}6`).fd);
  }
}

function pinAll({ object, flavour, refused }: Loaded, pinPath: string): void {
  const beside = join(pinPath, 'loading');
  mkdirSync(beside, { mode: 0o700 });
  for (const part of PARTS) mkdirSync(join(beside, part), { mode: 0o700 });
  for (const name of Object.keys(maps)) object.map(name).map.pin(join(beside, 'maps', name));
  using ledger = Ledger.create(emptyState(flavour, refused));
  ledger.map.pin(join(beside, 'maps', 'ledger'));
  for (const name of PROGRAM_NAMES) object.program(name).pin(join(beside, 'programs', name));
  renameSync(join(beside, 'programs'), join(pinPath, 'programs'));
  renameSync(join(beside, 'maps'), join(pinPath, 'maps'));
  rmdirSync(beside);
}

/** What a load that failed or was killed left behind; nothing if there is a whole one. */
function removeHalves(pinPath: string): void {
  removePinDirectory(join(pinPath, 'loading'));
  if (!existsSync(join(pinPath, 'maps'))) removePinDirectory(join(pinPath, 'programs'));
}
