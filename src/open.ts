// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Opens the product over the kernel. Imported only when a command needs it: nothing native loads before. */
import { setNetns } from 'libbpf-ts';
import { refuseHiddenPins } from './bpffs.js';
import { KernelProduct } from './kernel-product.js';
import { requireCapabilities } from './privileges.js';
import type { GlobalOptions, Product } from './product.js';

/** The product of the pins and the network namespace that the options name; the process stays in that namespace. */
export default async function openProduct({ pinPath, netns }: GlobalOptions): Promise<Product> {
  requireCapabilities(`use ${pinPath}`, 'CAP_BPF');
  if (netns !== undefined) {
    requireCapabilities(`enter the network namespace ${netns}`, 'CAP_SYS_ADMIN');
    setNetns(netns);
  } else {
    refuseHiddenPins(pinPath);
  }
  return new KernelProduct(pinPath);
}
