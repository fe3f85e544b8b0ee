// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The situations of Linux's own packetdrill tests for connection tracking, as a tracker in the path sees them.

import { a, b, type Scenario, type Step } from './scenario.js';

const ES = 'established ESTABLISHED ASSURED 432000';
const UNACKED = 'established ESTABLISHED ASSURED 330';

/** Side b's data up to a number, in segments of 1460 bytes from 1 on, each acknowledged. */
function stream(count: number): Step[] {
  return Array.from({ length: count }, (_, i): Step[] => [
    [b('PA', 1 + i * 1460, 1, { payload: 1460 }), UNACKED],
    [a('A', 1, 1 + (i + 1) * 1460), ES],
  ]).flat();
}

export const PACKETDRILL: readonly Scenario[] = [
  {
    name: 'ack_loss_stall: the first segment again, long after it was acknowledged, passes',
    steps: [
      [b('S', 0), 'new SYN_SENT UNREPLIED 150 b'],
      [a('SA', 0, 1), 'established SYN_RECV REPLIED 60'],
      [b('A', 1, 1), ES],
      ...stream(46),
      [b('A', 1, 1, { payload: 1460 }), ES],
      [a('A', 1, 1 + 46 * 1460), ES],
    ],
  },
  {
    name: 'inexact_rst: after the close no stray RST is invalid',
    steps: [
      [a('S', 0), 'new SYN_SENT UNREPLIED 150 a'],
      [b('SA', 0, 1), 'established SYN_RECV REPLIED 60'],
      [a('A', 1, 1), ES],
      [b('A', 1, 1, { payload: 1000 }), UNACKED],
      [a('A', 1, 1001), ES],
      [b('A', 1001, 1, { payload: 1000 }), UNACKED],
      [b('FA', 2001, 1), 'established FIN_WAIT ASSURED 120'],
      [a('A', 1, 2002), 'established CLOSE_WAIT ASSURED 80'],
      [a('RA', 1, 2002), 'established CLOSE ASSURED 10'],
      [b('R', 2001), 'established CLOSE ASSURED 10'],
    ],
  },
  {
    name: 'rst_invalid: only the RST with the exact number ends the connection',
    steps: [
      [b('S', 3000), 'new SYN_SENT UNREPLIED 150 b'],
      [a('SA', 0, 3001), 'established SYN_RECV REPLIED 60'],
      [b('A', 3001, 1), ES],
      [b('R', 0), 'invalid ESTABLISHED ASSURED 432000'],
      [b('R', 1_000_000), 'invalid ESTABLISHED ASSURED 432000'],
      [b('R', 42), 'invalid ESTABLISHED ASSURED 432000'],
      [b('RA', 3000, 1), 'invalid ESTABLISHED ASSURED 432000'],
      [b('RA', 3001, 1), 'established CLOSE ASSURED 10'],
    ],
  },
  {
    name: 'syn_challenge_ack: a peer of an older connection challenges, and the connection opens in the end',
    steps: [
      [a('S', 0), 'new SYN_SENT UNREPLIED 150'],
      [b('A', 643_160_523, 643_160_523), 'established SYN_SENT REPLIED 150'],
      [a('R', 643_160_523), 'established CLOSE REPLIED 10'],
      [a('S', 0), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 0, 1), 'established SYN_RECV REPLIED 60'],
      [a('A', 1, 1), ES],
    ],
  },
  {
    name: 'synack_old: an old SYN+ACK is invalid, the right one with a lower number is not',
    steps: [
      [a('S', 0), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 145_824_453, 643_160_523), 'invalid SYN_SENT UNREPLIED 150'],
      [a('S', 0), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 145_758_918, 1), 'established SYN_RECV REPLIED 60'],
      [a('A', 1, 145_758_919), ES],
    ],
  },
  {
    name: 'synack_reuse: the client reuses its port with a higher number',
    steps: [
      [b('S', 0), 'new SYN_SENT UNREPLIED 150 b'],
      [a('SA', 0, 1), 'established SYN_RECV REPLIED 60'],
      [b('A', 1, 1), ES],
      [b('S', 8092), ES],
      [a('A', 1, 1), ES],
      [b('RA', 1, 1), 'established CLOSE ASSURED 10'],
      [b('S', 8092), 'new SYN_SENT UNREPLIED 150 b'],
      [a('SA', 9000, 8093), 'established SYN_RECV REPLIED 60'],
    ],
  },
];
