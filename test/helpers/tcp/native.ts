// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// bpf/tcp.h, compiled for the host, as a tracker.

import type { Teardown } from '../teardown.js';
import { type CompileOptions, compile } from './compile.js';
import { LineProcess, LineTracker, TIMEOUT_SYN_SENT2, TIMEOUTS } from './tracker.js';

/** enum ct_timeout from CT_TIMEOUT_TCP_SYN_SENT = 1 on. */
const ORDER = [
  TIMEOUTS.syn_sent,
  TIMEOUTS.syn_recv,
  TIMEOUTS.established,
  TIMEOUTS.fin_wait,
  TIMEOUTS.close_wait,
  TIMEOUTS.last_ack,
  TIMEOUTS.time_wait,
  TIMEOUTS.close,
  TIMEOUT_SYN_SENT2,
  TIMEOUTS.max_retrans,
  TIMEOUTS.unacknowledged,
];

/** Starts driver.c with TIMEOUTS. */
export async function startNative(teardown: Teardown, options?: CompileOptions): Promise<LineTracker> {
  const tracker = new LineTracker(new LineProcess([await compile('driver', teardown, options)]));
  teardown.defer('native tracker', () => tracker.close());
  await tracker.process.ask([...ORDER.map((seconds, i) => `timeout ${i + 1} ${seconds}`)]);
  return tracker;
}
