// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What TCP tracking does beyond its transition table, rule by rule. Timeouts are those of TIMEOUTS.

import { header, NOP, SACK_PERMITTED, sack, windowScale } from './options.js';
import { a, b, type Scenario, type Step } from './scenario.js';
import type { Segment } from './segment.js';

/** Side a connects from 1000 to b at 5000: next are 1001 and 5001, both windows 65535, no options. */
const OPEN: readonly Step[] = [
  [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
  [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'],
  [a('A', 1001, 5001), 'established ESTABLISHED ASSURED 432000'],
  [b('A', 5001, 1001), 'established ESTABLISHED ASSURED 432000'],
];

const SYN_OPTIONS: Partial<Segment> = { options: header([SACK_PERMITTED, NOP, windowScale(3)]) };

/** Side a closes first, b follows, the last ACK is outstanding: LAST_ACK. Next: 1002 and 5002. */
const CLOSING: readonly Step[] = [
  ...OPEN,
  [a('FA', 1001, 5001), 'established FIN_WAIT ASSURED 120'],
  [b('A', 5001, 1002), 'established CLOSE_WAIT ASSURED 80'],
  [b('FA', 5001, 1002), 'established LAST_ACK ASSURED 30'],
];

const CLOSED: readonly Step[] = [...CLOSING, [a('A', 1002, 5002), 'established TIME_WAIT ASSURED 220']];

const ES = 'established ESTABLISHED ASSURED 432000';

export const RULES: readonly Scenario[] = [
  { name: 'a connection opens and closes', steps: CLOSED },

  // 1. A SYN that is let through and not believed.
  {
    name: 'rule 1: a SYN in ESTABLISHED is let through, and its SYN+ACK makes the flow its own',
    steps: [
      ...OPEN,
      { do: 'age', seconds: 1000 },
      [a('S', 90_000, 0, SYN_OPTIONS), 'established ESTABLISHED ASSURED 1000'],
      [b('SA', 70_000, 90_001), 'established SYN_RECV ASSURED 60'],
      [a('A', 90_001, 70_001), ES],
      [b('A', 70_001, 90_001, { payload: 100 }), 'established ESTABLISHED ASSURED 330'],
    ],
  },
  {
    name: 'rule 1: a SYN+ACK that acknowledges another SYN is let through and changes nothing',
    steps: [
      ...OPEN,
      { do: 'age', seconds: 1000 },
      [a('S', 90_000), 'established ESTABLISHED ASSURED 1000'],
      [b('SA', 70_000, 90_002), 'established ESTABLISHED ASSURED 1000'],
      [b('SA', 70_000, 90_001), 'established ESTABLISHED ASSURED 1000'],
    ],
  },
  {
    name: 'rule 1: the server challenges the SYN, the RST ends the flow and the SYN begins a new one',
    steps: [
      ...OPEN,
      [a('S', 90_000), ES],
      [b('A', 5001, 1001), ES],
      [a('R', 1001), 'established CLOSE ASSURED 10'],
      [a('S', 90_000), 'new SYN_SENT UNREPLIED 150 a'],
    ],
  },
  {
    name: 'rule 1: the server refuses the SYN: its RST need not know the old connection',
    steps: [...OPEN, [a('S', 90_000), ES], [b('RA', 0, 90_001), 'established CLOSE ASSURED 10']],
  },
  {
    name: 'rule 1: in LAST_ACK the challenge ACK is not the last ACK, the one after it is',
    steps: [
      ...CLOSING,
      [a('S', 90_000), 'established LAST_ACK ASSURED 30'],
      { do: 'age', seconds: 20 },
      [b('A', 5002, 1002), 'established LAST_ACK ASSURED 20'],
      [b('A', 5002, 1002), 'established TIME_WAIT ASSURED 220'],
    ],
  },
  {
    name: 'rule 1: a SYN in TIME_WAIT begins a new connection, from either side',
    steps: [...CLOSED, [a('S', 90_000), 'new SYN_SENT UNREPLIED 150 a']],
  },
  {
    name: 'rule 1: the server of a closed connection may call the client',
    steps: [...CLOSED, [b('S', 90_000), 'new SYN_SENT UNREPLIED 150 b']],
  },
  {
    name: 'rule 1: after the RST of its own side a SYN begins a new connection',
    steps: [
      ...OPEN,
      [a('R', 1001), 'established CLOSE ASSURED 10'],
      [a('S', 90_000), 'new SYN_SENT UNREPLIED 150'],
    ],
  },
  {
    name: "rule 1: after the other side's RST a SYN is only let through",
    steps: [
      ...OPEN,
      [b('R', 5001), 'established CLOSE ASSURED 10'],
      [a('S', 90_000), 'established CLOSE ASSURED 10'],
      [b('SA', 70_000, 90_001), 'established SYN_RECV ASSURED 60'],
    ],
  },

  // 2 and 3. The answer to a SYN.
  {
    name: 'rule 2: a challenge ACK in SYN_SENT is let through, and the RST with its number closes',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      { do: 'age', seconds: 100 },
      [b('A', 7000, 3000), 'established SYN_SENT REPLIED 100'],
      [a('R', 3000), 'established CLOSE REPLIED 10'],
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
    ],
  },
  {
    name: 'rule 2: a RST with another number does not close',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      [b('A', 7000, 2_000_000_000), 'established SYN_SENT REPLIED 150'],
      [a('R', 2_000_000_001), 'invalid SYN_SENT REPLIED 150'],
    ],
  },
  {
    name: 'rule 3: a SYN+ACK that acknowledges something else is invalid, the right one is not',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 9_000_000), 'invalid SYN_SENT UNREPLIED 150'],
      [b('SA', 1_000_000_000, 1001), 'established SYN_RECV REPLIED 60'],
    ],
  },

  // 4. A repeated SYN.
  {
    name: 'rule 4: a repeated SYN does not prolong the flow',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      { do: 'age', seconds: 100 },
      [a('S', 1000), 'new SYN_SENT UNREPLIED 100'],
    ],
  },
  {
    name: 'rule 4: a SYN with a higher number begins again',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      { do: 'age', seconds: 100 },
      [a('S', 900_000), 'new SYN_SENT UNREPLIED 100'],
      [b('SA', 5000, 900_001), 'established SYN_RECV REPLIED 60'],
    ],
  },

  // 5. Simultaneous open.
  {
    name: 'rule 5: both sides send a SYN',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      { do: 'age', seconds: 100 },
      [b('S', 5000), 'established SYN_SENT2 REPLIED 100'],
      [a('SA', 1000, 5001), 'established SYN_RECV REPLIED 60'],
      [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001), 'established ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: "rule 5: after both SYNs the reply side's ACK opens the connection",
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      [b('S', 5000), 'established SYN_SENT2 REPLIED 150'],
      [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'],
      [a('SA', 1000, 5001), 'established SYN_RECV REPLIED 60'],
      [b('A', 5001, 1001), 'established ESTABLISHED ASSURED 432000'],
    ],
  },

  // 6. RST.
  {
    name: 'rule 6: a refused connection leaves nothing',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      [b('RA', 0, 1001), 'established'],
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
    ],
  },
  {
    name: 'rule 6: a RST with exactly the number that is due closes',
    steps: [...OPEN, [b('R', 5001), 'established CLOSE ASSURED 10']],
  },
  {
    name: 'rule 6: a RST below what was acknowledged is invalid',
    steps: [
      ...OPEN,
      [b('R', 5000), 'invalid ESTABLISHED ASSURED 432000'],
      [b('R', 0), 'invalid ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 6: a RST below what was acknowledged shortens the timeout when such are not called invalid',
    steps: [
      ...OPEN,
      { do: 'set', name: 'ignore-invalid-rst', value: 1 },
      [b('R', 5000), 'established ESTABLISHED ASSURED 10'],
    ],
  },
  {
    name: 'rule 6: a RST in the window but not exact only shortens the timeout',
    steps: [...OPEN, [b('R', 5100), 'established ESTABLISHED ASSURED 10']],
  },
  {
    name: 'rule 6: a RST behind its own data closes, acknowledged or not',
    steps: [
      ...OPEN,
      [b('A', 5001, 1001, { payload: 500 }), 'established ESTABLISHED ASSURED 330'],
      [b('R', 5501), 'established CLOSE ASSURED 10'],
    ],
  },
  {
    name: 'rule 6: a RST far beyond the window is invalid',
    steps: [...OPEN, [b('R', 5001 + 200_000), 'invalid ESTABLISHED ASSURED 432000']],
  },
  {
    name: 'rule 6: while the connection closes any RST is believed',
    steps: [
      ...OPEN,
      [a('FA', 1001, 5001), 'established FIN_WAIT ASSURED 120'],
      [b('R', 3_000_000_000), 'established CLOSE ASSURED 10'],
    ],
  },

  // 7. In the middle.
  {
    name: 'rule 7: a connection is picked up in the middle, and assured by the packet after the first reply',
    steps: [
      [a('A', 1000, 5000), 'new ESTABLISHED UNREPLIED 300'],
      [b('A', 5000, 1000), 'established ESTABLISHED REPLIED 330'],
      [a('A', 1000, 5000), 'established ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 7: what was picked up is liberal',
    steps: [
      [a('A', 1000, 5000), 'new ESTABLISHED UNREPLIED 300'],
      [b('A', 5000, 1000), 'established ESTABLISHED REPLIED 330'],
      [a('A', 3_000_000, 5000, { payload: 100 }), 'established ESTABLISHED ASSURED 432000'],
      [b('A', 2_000_000_000, 3_000_100), 'established ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 7: nothing is picked up when that is not wanted',
    steps: [{ do: 'set', name: 'loose', value: 0 }, [a('A', 1000, 5000), 'invalid']],
  },
  {
    name: 'rule 7: only a plain ACK is picked up',
    steps: [
      [a('SA', 1000, 5000), 'invalid'],
      [a('FA', 1000, 5000), 'invalid'],
      [a('R', 1000), 'invalid'],
      [a('PA', 1000, 5000), 'new ESTABLISHED UNREPLIED 300'],
    ],
  },

  // 8. Windows.
  {
    name: 'rule 8: data up to the end of the window passes, data from behind it is invalid',
    steps: [
      ...OPEN,
      [a('A', 1001 + 65_535 - 1, 5001, { payload: 1 }), 'established ESTABLISHED ASSURED 330'],
      [a('A', 1001 + 3 * 65_535, 5001, { payload: 1 }), 'invalid ESTABLISHED ASSURED 330'],
    ],
  },
  {
    name: 'rule 8: an overshoot of less than a window is let through, and its acknowledgement is valid',
    steps: [
      [a('S', 1000, 0, { window: 1000 }), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001, { window: 1000 }), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001, { window: 1000 }), ES],
      { do: 'age', seconds: 1000 },
      [a('A', 2002, 5001, { window: 1000, payload: 500 }), 'established ESTABLISHED ASSURED 1000'],
      [b('A', 5001, 2502, { window: 1000 }), ES],
    ],
  },
  {
    name: 'rule 8: an overshoot of more than a window is invalid',
    steps: [
      [a('S', 1000, 0, { window: 1000 }), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001, { window: 1000 }), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001, { window: 1000 }), ES],
      [a('A', 2002, 5001, { window: 1000, payload: 1000 }), 'invalid ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 8: an acknowledgement of what was never sent is invalid',
    steps: [...OPEN, [b('A', 5001, 1002), 'invalid ESTABLISHED ASSURED 432000']],
  },
  {
    name: 'rule 8: data from below the window is let through without a trace',
    steps: [
      ...OPEN,
      [a('A', 1001, 5001, { payload: 60_000 }), 'established ESTABLISHED ASSURED 330'],
      [b('A', 5001, 61_001), ES],
      [a('A', 61_001, 5001, { payload: 60_000 }), 'established ESTABLISHED ASSURED 330'],
      { do: 'age', seconds: 1000 },
      [a('A', 1001, 5001, { payload: 1 }), 'established ESTABLISHED ASSURED 1000'],
    ],
  },
  {
    name: 'rule 8: an acknowledgement that is very late is let through without a trace',
    steps: [
      ...OPEN,
      [a('A', 1001, 5001, { payload: 60_000 }), 'established ESTABLISHED ASSURED 330'],
      [b('A', 5001, 61_001), ES],
      [a('A', 61_001, 5001, { payload: 60_000 }), 'established ESTABLISHED ASSURED 330'],
      [b('A', 5001, 121_001), ES],
      { do: 'age', seconds: 1000 },
      [b('A', 5001, 121_001 - 66_001), 'established ESTABLISHED ASSURED 1000'],
      [b('A', 5001, 121_001 - 66_000), ES],
    ],
  },
  {
    name: 'rule 8: windows are scaled when both SYNs say so',
    steps: [
      [a('S', 1000, 0, SYN_OPTIONS), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001, SYN_OPTIONS), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001), ES],
      [b('A', 5001, 1001), ES],
      [a('A', 1001 + 65_535 * 8 - 1, 5001, { payload: 1 }), ES.replace('432000', '330')],
    ],
  },
  {
    name: 'rule 8: windows are not scaled when one SYN does not say so',
    steps: [
      [a('S', 1000, 0, SYN_OPTIONS), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001), ES],
      [b('A', 5001, 1001), ES],
      [a('A', 1001 + 65_535 * 8 - 1, 5001, { payload: 1 }), 'invalid ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 8: SACKed data counts as acknowledged where both said that they SACK',
    steps: [
      [a('S', 1000, 0, SYN_OPTIONS), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001, SYN_OPTIONS), 'established SYN_RECV REPLIED 60'],
      [a('A', 1001, 5001), ES],
      [
        b('A', 5001, 1001, { options: header([NOP, NOP, sack([2001, 3001])]) }),
        'invalid ESTABLISHED ASSURED 432000',
      ],
      [a('A', 2001, 5001, { payload: 1000 }), 'established ESTABLISHED ASSURED 330'],
      [
        b('A', 5001, 1001, { options: header([NOP, NOP, sack([2001, 3001])]) }),
        'established ESTABLISHED ASSURED 330',
      ],
    ],
  },
  {
    name: 'rule 8: the liberal setting lets everything pass but a wrong RST',
    steps: [
      ...OPEN,
      { do: 'set', name: 'liberal', value: 1 },
      [a('A', 3_000_000, 5001, { payload: 1 }), ES],
      [b('A', 5001, 9_000_000), ES],
      [b('R', 5000), 'invalid ESTABLISHED ASSURED 432000'],
    ],
  },

  // 9. Timeouts.
  {
    name: 'rule 9: unacknowledged data shortens the timeout until it is acknowledged',
    steps: [
      ...OPEN,
      [a('A', 1001, 5001, { payload: 100 }), 'established ESTABLISHED ASSURED 330'],
      [b('A', 5001, 1051), 'established ESTABLISHED ASSURED 330'],
      [b('A', 5001, 1101), ES],
    ],
  },
  {
    name: 'rule 9: the third repetition of the same ACK shortens the timeout, another ACK restores it',
    steps: [
      ...OPEN,
      [a('A', 1001, 5001), ES],
      [a('A', 1001, 5001), ES],
      [a('A', 1001, 5001), ES],
      [a('A', 1001, 5001), 'established ESTABLISHED ASSURED 300'],
      [a('A', 1001, 5001), 'established ESTABLISHED ASSURED 300'],
      [b('A', 5001, 1001), ES],
    ],
  },
  {
    name: 'rule 9: how many repetitions that takes is a setting',
    steps: [
      { do: 'set', name: 'max-retrans', value: 1 },
      ...OPEN,
      [a('A', 1001, 5001), ES],
      [a('A', 1001, 5001), 'established ESTABLISHED ASSURED 300'],
    ],
  },
  {
    name: 'rule 9: a closed window shortens the timeout until it opens',
    steps: [
      ...OPEN,
      [b('A', 5001, 1001, { window: 0 }), 'established ESTABLISHED ASSURED 300'],
      [b('A', 5001, 1001, { window: 1 }), ES],
    ],
  },
  {
    name: 'rule 9: a fixed timeout stays',
    steps: [
      ...OPEN,
      { do: 'age', seconds: 1000 },
      { do: 'fix' },
      [a('A', 1001, 5001, { payload: 100 }), 'established ESTABLISHED ASSURED 1000'],
      [a('FA', 1101, 5001), 'established FIN_WAIT ASSURED 1000'],
    ],
  },

  // 10. ASSURED.
  {
    name: 'rule 10: a FIN right after the SYN+ACK never makes the flow assured',
    steps: [
      [a('S', 1000), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'],
      [a('FA', 1001, 5001), 'established FIN_WAIT REPLIED 120'],
      [b('A', 5001, 1002), 'established CLOSE_WAIT REPLIED 80'],
    ],
  },

  // 11. Invalid ends.
  {
    name: 'rule 11: invalid FINs or RSTs from both sides shorten the timeout',
    steps: [
      ...OPEN,
      [a('R', 500_000_000), 'invalid ESTABLISHED ASSURED 432000'],
      [b('FA', 500_000_000, 1001), 'invalid ESTABLISHED ASSURED 330'],
    ],
  },
  {
    name: 'rule 11: invalid FINs or RSTs from one side do not',
    steps: [
      ...OPEN,
      [a('FA', 500_000_000, 5001), 'invalid ESTABLISHED ASSURED 432000'],
      [a('R', 500_000_000), 'invalid ESTABLISHED ASSURED 432000'],
    ],
  },
  {
    name: 'rule 11: what has less than 120 s to live is not shortened',
    steps: [
      ...OPEN,
      [a('FA', 500_000_000, 5001), 'invalid ESTABLISHED ASSURED 432000'],
      { do: 'age', seconds: 100 },
      [b('FA', 500_000_000, 1001), 'invalid ESTABLISHED ASSURED 100'],
    ],
  },

  // 12. Data in a SYN.
  {
    name: 'rule 12: a SYN may carry data',
    steps: [
      [a('S', 1000, 0, { payload: 100 }), 'new SYN_SENT UNREPLIED 150'],
      [b('SA', 5000, 1101), 'established SYN_RECV REPLIED 60'],
      [a('A', 1101, 5001), ES],
    ],
  },

  {
    name: 'flag combinations that no TCP sends are invalid',
    steps: [
      ['-', 'F', 'SF', 'SR', 'SFRPAU', 'FR', 'FU', 'P', 'U', 'SAU', 'SAF', 'RU', 'RAU'].map(
        (flags) => [a(flags, 1000, 5000), 'invalid'] as Step,
      ),
      [
        [a('SPU', 1000), 'new SYN_SENT UNREPLIED 150'] as Step,
        [b('SA', 5000, 1001), 'established SYN_RECV REPLIED 60'] as Step,
        [a('APU', 1001, 5001), ES] as Step,
        [b('FAPU', 5001, 1001), 'established FIN_WAIT ASSURED 120'] as Step,
      ],
    ].flat(),
  },
];
