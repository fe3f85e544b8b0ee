// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Programs of the object that are pinned: those for hooks and those that are run. Others are reached by tail calls. */
export const PROGRAM_NAMES = [
  'ct_ingress',
  'ct_egress',
  'ct_ingress_redirect',
  'ct_ingress_ip',
  'ct_egress_ip',
  'ct_ingress_upper',
  'ct_egress_upper',
  'ct_sweep4',
  'ct_sweep6',
  'ct_edit4',
  'ct_edit6',
] as const;

/** That of XDP mode, which is pinned elsewhere (load-xdp.ts). */
export const XDP_PROGRAM = 'ct_xdp';

export type ProgramName = (typeof PROGRAM_NAMES)[number];
