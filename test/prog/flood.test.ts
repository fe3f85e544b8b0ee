// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A flood of SYNs from spoofed addresses, a table of 100,000 entries: connections that are open stay, and others
// open, in spite of it.
//
//   FLOOD_PACKETS=N  packets of each flood (default 200000; the claim is 2000000)

import t, { type Test } from 'tap';
import { CtStatus } from '../../src/generated/layouts.gen.js';
import { Crowd, type FloodRequest, SEGMENTS } from '../helpers/datapath/crowd.js';
import { flavours } from '../helpers/datapath/load.js';

const PACKETS = Number(process.env.FLOOD_PACKETS ?? 200_000);
const SLOTS = 100_000;
const ESTABLISHED = 10_000;
const ATTEMPTS = 100;
/** As many SYNs as Linux sends before it gives up (tcp_syn_retries 6). */
const TRIES = 7;
/** Flow number of the first connection that opens during the flood. */
const LEGITIMATE = 500_000;
const ASSURED = CtStatus.SEEN_REPLY | CtStatus.ASSURED;

const FLOODS: Record<string, FloodRequest & { plain: boolean }> = {
  'of SYNs that nobody answers': {
    source: '11.0.0.0/8',
    destination: '198.51.0.0/16',
    port: 0,
    answered: false,
    plain: false,
  },
  'of SYNs that a server answers': {
    source: '0.0.0.0/1',
    destination: '192.0.2.9/32',
    port: 443,
    answered: true,
    plain: true,
  },
};

t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file
const built = flavours();
for (const flavour of new Set([built[0]!, built.at(-1)!])) {
  for (const [name, request] of Object.entries(FLOODS)) {
    t.test(`${flavour}: a flood of ${PACKETS} packets ${name}`, async (t) => flood(t, flavour, request));
  }
}

async function flood(
  t: Test,
  flavour: string,
  { plain, ...request }: FloodRequest & { plain: boolean },
): Promise<void> {
  const crowd = new Crowd({ flavour, slots: SLOTS, plain });
  t.teardown(() => crowd.close());
  crowd.open(0, ESTABLISHED);
  t.equal(assured(crowd), ESTABLISHED);

  crowd.flood(request, request.answered ? 2 * SLOTS : SLOTS);
  t.ok(crowd.counter('EVICTED') > ESTABLISHED / 2, 'the table is full');

  let connected = 0;
  let retries = 0;
  for (let i = 0; i < ATTEMPTS; i++) {
    // the flood goes on between a SYN and its answer: here as much as on a busy link in 10 ms
    let tries = 0;
    let isOpen = false;
    while (!isOpen && tries < TRIES) {
      crowd.flood(request, Math.ceil(PACKETS / ATTEMPTS / 2));
      if (crowd.send(SEGMENTS.syn, LEGITIMATE + i, 1)) {
        crowd.flood(request, Math.ceil(PACKETS / ATTEMPTS / 2));
        isOpen = crowd.answers(SEGMENTS.synAck, LEGITIMATE + i);
      }
      tries++;
    }
    if (isOpen) {
      connected++;
      crowd.send(SEGMENTS.ack, LEGITIMATE + i, 1);
    }
    retries += tries - 1;
  }

  t.ok(connected >= 99, `${connected} of ${ATTEMPTS} connections opened, ${retries} SYNs were repeated`);
  t.equal(assured(crowd), ESTABLISHED + connected, 'every established connection is there');
  const before = crowd.reason('FORWARDED');
  const created = crowd.counter('CREATED');
  crowd.send(SEGMENTS.ack, 0, ESTABLISHED);
  t.equal(crowd.reason('FORWARDED') - before, ESTABLISHED, 'and its packets pass');
  t.equal(crowd.counter('CREATED'), created, 'as packets of a flow that is known');
  t.ok(crowd.counter('EVICTED') > PACKETS / 4, `${crowd.counter('EVICTED')} flows gave way`);
  t.comment(`dropped for want of room: ${crowd.reason('DROP_TABLE_FULL')}`);
}

/** Established connections, the flood's flows not counted. */
function assured(crowd: Crowd): number {
  let count = 0;
  for (const { head } of crowd.flows()) if ((head.status & ASSURED) === ASSURED) count++;
  return count;
}
