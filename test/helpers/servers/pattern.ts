// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Bytes for transfers: no two blocks are alike, so that a lost, doubled or swapped one changes the digest.

import { createHash } from 'node:crypto';

const BLOCK = 65_536;

/** `bytes` of pattern, block by block. The buffers are not to be kept: the next block overwrites them. */
export function* pattern(bytes: number): Generator<Buffer> {
  const block = Buffer.alloc(BLOCK);
  for (let i = 0; i < BLOCK; i++) block[i] = (i * 31 + (i >> 8)) & 0xff;
  for (let sent = 0; sent < bytes; sent += BLOCK) {
    block.writeUInt32BE(sent / BLOCK, 0);
    block.writeUInt32BE(sent / BLOCK, BLOCK / 2);
    yield block.subarray(0, Math.min(BLOCK, bytes - sent));
  }
}

/** SHA-256 of `bytes` of pattern, in hex. */
export function patternDigest(bytes: number): string {
  const hash = createHash('sha256');
  for (const block of pattern(bytes)) hash.update(block);
  return hash.digest('hex');
}
