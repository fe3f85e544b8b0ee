// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The agent's log: a JSON object a line on stderr, written before the call returns. */
import { type Logger, pino } from 'pino';

export type AgentLog = Logger;

export function openLog(): AgentLog {
  const options = {
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(
    { ...options, level: process.env.CTNAT_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
}
