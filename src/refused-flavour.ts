// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What is told of flavours that the kernel has the features for and its verifier does not take. */
import type { FlavourName } from './flavours.js';
import type { MissingFeature } from './kernel-support.js';
import type { State } from './state.js';

const REFUSED = 'flavour-';

/** Flavours that the verifier refused, in the same words. */
export function refusedFlavours({ flavour: used, refused = [] }: State): readonly MissingFeature[] {
  return refused.map(({ flavour, program, reason }) => ({
    name: refusedName(flavour),
    needs: `a verifier that takes the program ${program}`,
    why: reason,
    instead: `the flavour ${used} of the programs`,
  }));
}

/** What there is to say when another flavour was loaded for it. */
export function refusalText({ name, why, needs, instead }: MissingFeature): string {
  return `the kernel refuses the programs in their ${name.replace('-', ' ')}, which needs ${needs} (${why}): loaded ${instead}`;
}

/** Whether a missing feature is a flavour that was refused. */
export function isRefusal({ name }: MissingFeature): boolean {
  return name.startsWith(REFUSED);
}

/** The name that a refused flavour has among the features. */
export function refusedName(flavour: FlavourName): string {
  return `${REFUSED}${flavour}`;
}
