// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/**
 * Tells whether the environment variable LIBBPF_TS_DISABLE, a list separated by commas, names a kernel feature.
 * Then the package does without it, as it would on a kernel that lacks it: that is how fallbacks are tested.
 */
export function isDisabled(feature: string): boolean {
  const list = process.env.LIBBPF_TS_DISABLE;
  return list?.split(',').some((name) => name.trim() === feature) ?? false;
}
