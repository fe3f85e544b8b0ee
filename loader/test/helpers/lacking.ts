// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { type FeatureName, feature } from '../../src/features.js';

/** Why a test that needs these features of the kernel is skipped, or false where all are there. */
export function lacking(...names: FeatureName[]): string | false {
  const missing = names.map((name) => feature(name)).find(({ available }) => !available);
  return missing ? `this kernel lacks ${missing.summary} (${missing.since}): ${missing.why}` : false;
}
