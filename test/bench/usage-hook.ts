// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Loaded into a measured process by --import: tells at its end, through descriptor 3, what it has used.
import { writeSync } from 'node:fs';

process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  writeSync(3, JSON.stringify({ rssKb: maxRSS, cpuMs: (userCPUTime + systemCPUTime) / 1000 }));
});
