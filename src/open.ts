// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Opens the product over the kernel. Imported only when a command needs it: nothing native loads before. */
import { CtnatError } from './errors.js';
import type { GlobalOptions, Product } from './product.js';

/** The product of the pins and the network namespace that the options name. */
export default async function openProduct(options: GlobalOptions): Promise<Product> {
  throw new CtnatError(`can not open ${options.pinPath}: this build has no datapath; build it with make`);
}
