// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What a client wants, whichever protocol it speaks, and what it gets. */
import { type Address, compareAddresses } from '../address.js';
import type { Held, Inside } from './mapper.js';
import type { PcpResult } from './result.js';

export interface MapWish {
  readonly inside: Inside;
  readonly nonce: string;
  /** Seconds, not 0. */
  readonly lifetime: number;
  /** 0: any. */
  readonly externalPort: number;
  readonly externalAddress?: Address;
  /** The port and address that are named, or none. */
  readonly isStrict: boolean;
}

export type MapResult =
  | {
      readonly result: typeof PcpResult.SUCCESS;
      readonly external: Held['external'];
      readonly lifetime: number;
    }
  /** `lifetime`: seconds until it may be otherwise, where that is known. */
  | { readonly result: Exclude<PcpResult, typeof PcpResult.SUCCESS>; readonly lifetime?: number };

/** Whether a client that wants what it names gets that. */
export function fits(
  { isStrict, externalPort, externalAddress }: MapWish,
  external: Held['external'],
): boolean {
  if (!isStrict) return true;
  if (externalPort !== 0 && externalPort !== external.port) return false;
  if (!externalAddress || isUnspecified(externalAddress)) return true;
  return (
    externalAddress.family === external.address.family &&
    compareAddresses(externalAddress, external.address) === 0
  );
}

function isUnspecified({ bytes }: Address): boolean {
  return bytes.every((byte) => byte === 0);
}
