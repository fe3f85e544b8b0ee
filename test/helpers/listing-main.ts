// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The command `bpf ct list global` in a process of its own, over COUNT flows made up on the way.
// usage: node listing-main.js COUNT [options of list]

import { execute } from '../../src/cli/execute.js';
import { exampleFlow, FakeProduct } from './fake-product.js';

const [count, ...options] = process.argv.slice(2);
const product = new FakeProduct();
product.flows = function* () {
  for (let mark = 0; mark < Number(count); mark++) yield exampleFlow({ mark });
};
const status = await execute(['bpf', 'ct', 'list', 'global', ...options], {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signals: process,
  openProduct: async () => product,
});
process.exit(status);
