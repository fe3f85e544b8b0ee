// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What the running kernel can do, found out by doing it and never from its version: distributions carry features
 * back, and configurations leave them out. Each feature is probed when it is first asked for, and once a process.
 * The environment variable LIBBPF_TS_DISABLE (names, separated by commas) turns features off, to test fallbacks.
 */

import { isDisabled } from './disabled.js';
import { FEATURES, type FeatureName } from './feature-list.js';
import type { ProgramType } from './kernel-types.js';
import { type Answer, probeHelper } from './probe.js';

export type { FeatureName } from './feature-list.js';

export interface KernelFeature {
  readonly name: FeatureName;
  /** `unknown`: it could not be probed, as a rule for lack of privilege; then `available` is false. */
  readonly state: 'yes' | 'no' | 'unknown';
  readonly available: boolean;
  /** The kernel that brought it, or the option that it needs: of several the one that is missing, where that is known. */
  readonly since: string;
  /** What it is good for, in a few words. */
  readonly summary: string;
  /** Where it is not available: the kernel's reason. */
  readonly why?: string;
}

export type KernelFeatures = Readonly<Record<FeatureName, KernelFeature>>;

const NAMES = Object.keys(FEATURES) as FeatureName[];
const cache = new Map<FeatureName, KernelFeature>();

/** One feature. @throws RangeError when LIBBPF_TS_DISABLE holds a name that is no feature's */
export function feature(name: FeatureName): KernelFeature {
  checkDisabledNames();
  if (isDisabled(name)) return describe(name, { state: 'no', why: 'turned off by LIBBPF_TS_DISABLE' });
  let found = cache.get(name);
  if (!found) {
    found = describe(name, FEATURES[name].probe());
    cache.set(name, found);
  }
  return found;
}

function describe(name: FeatureName, { state, why, needs }: Answer): KernelFeature {
  const { since: listed, summary } = FEATURES[name];
  const since = needs ?? listed;
  return { name, state, available: state === 'yes', since, summary, ...(why !== undefined && { why }) };
}

/** Every feature. @throws RangeError as feature() */
export function probeFeatures(): KernelFeatures {
  return Object.fromEntries(NAMES.map((name) => [name, feature(name)])) as Record<FeatureName, KernelFeature>;
}

/** Whether a name is one of a feature. */
export function isFeatureName(name: string): name is FeatureName {
  return Object.hasOwn(FEATURES, name);
}

let checkedList: string | undefined;

/** A misspelt name would test nothing. */
function checkDisabledNames(): void {
  const list = process.env.LIBBPF_TS_DISABLE;
  if (list === undefined || list === checkedList) return;
  const names = list.split(',').map((name) => name.trim());
  const unknown = names.find((name) => name !== '' && !isFeatureName(name));
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot disable the feature "${unknown}" (LIBBPF_TS_DISABLE): it is none of ${NAMES.join(', ')}`,
    );
  }
  checkedList = list;
}

const helpers = new Map<string, boolean>();

/**
 * Whether programs of a type may call a helper, by its number in include/uapi/linux/bpf.h; false also where it
 * cannot be found out for lack of privilege.
 */
export function hasHelper(type: ProgramType, helper: number): boolean {
  const key = `${type} ${helper}`;
  let found = helpers.get(key);
  if (found === undefined) {
    found = probeHelper(type, helper).state === 'yes';
    helpers.set(key, found);
  }
  return found;
}
