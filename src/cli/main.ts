#!/usr/bin/env node
// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The ctnat command: the only place that ends the process. */
import { execute } from './execute.js';

const status = await execute(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signals: process,
  openProduct: async (options) => (await import('../open.js')).default(options),
});
process.exit(status);
