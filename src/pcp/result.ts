// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Result codes of PCP (RFC 6887 section 7.4), and how long a client is to believe an error. */

export const PcpResult = {
  SUCCESS: 0,
  UNSUPP_VERSION: 1,
  NOT_AUTHORIZED: 2,
  MALFORMED_REQUEST: 3,
  UNSUPP_OPCODE: 4,
  UNSUPP_OPTION: 5,
  MALFORMED_OPTION: 6,
  NETWORK_FAILURE: 7,
  NO_RESOURCES: 8,
  UNSUPP_PROTOCOL: 9,
  USER_EX_QUOTA: 10,
  CANNOT_PROVIDE_EXTERNAL: 11,
  ADDRESS_MISMATCH: 12,
} as const;

export type PcpResult = (typeof PcpResult)[keyof typeof PcpResult];

/** Seconds, by section 7.4: asking again sooner makes no sense. */
const LONG_SECONDS = 30 * 60;
const SHORT_SECONDS = 30;

const SHORT: ReadonlySet<PcpResult> = new Set([
  PcpResult.NETWORK_FAILURE,
  PcpResult.NO_RESOURCES,
  PcpResult.USER_EX_QUOTA,
  PcpResult.CANNOT_PROVIDE_EXTERNAL,
]);

/** The lifetime of an error response, in seconds, where the error itself says nothing of its end. */
export function errorLifetime(result: PcpResult): number {
  return SHORT.has(result) ? SHORT_SECONDS : LONG_SECONDS;
}

const NAMES = new Map<number, string>(Object.entries(PcpResult).map(([name, code]) => [code, name]));

/** The RFC's name of a code. */
export function resultName(result: PcpResult): string {
  return NAMES.get(result)!;
}
