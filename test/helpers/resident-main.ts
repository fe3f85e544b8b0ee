// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Commands, one after the other, in this one process: each message is a command line, and the answer its outcome.

import { Readable, Writable } from 'node:stream';
import { execute } from '../../src/cli/execute.js';
import openProduct from '../../src/open.js';
import type { RunResult } from './process.js';

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function runLine(argv: readonly string[]): Promise<RunResult> {
  const [stdout, stderr] = [new Collected(), new Collected()];
  const status = await execute(argv, {
    stdout,
    stderr,
    stdin: Readable.from([]),
    env: process.env,
    signals: process,
    openProduct: async (options) => openProduct(options),
  });
  return { status, stdout: stdout.text, stderr: stderr.text };
}

process.on('message', async (argv: string[]) => process.send!(await runLine(argv)));
process.send!('ready');
