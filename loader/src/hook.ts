// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What all kinds of attachment share. */

/** The way of packets as the interface sees it: ingress is what it receives. */
export type Direction = 'ingress' | 'egress';

/** A loaded program; BpfProgram is one. */
export interface ProgramHandle {
  readonly fd: number;
  readonly id: number;
  readonly name: string;
}
