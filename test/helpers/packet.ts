// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets for the tests of the datapath: built from layers, parsed into layers, judged and shown. Shares no
// code with the product, so that what it computes can be held against what the datapath did.
export { ip4Bytes, ip4Text, ip6Bytes, ip6Text, macBytes, macText } from './packet/address.js';
export { build } from './packet/build.js';
export { crc32c, internetChecksum, onesSum } from './packet/checksum.js';
export { fragments, quote, underived } from './packet/derive.js';
export { dump, dumpIp } from './packet/dump.js';
export { type FrameOptions, frame, frame6, frame6With, frameWith } from './packet/frame.js';
export * from './packet/hosts.js';
export * from './packet/layer.js';
export { find, parse, parseIp, quoted } from './packet/parse.js';
export { sctpChunk } from './packet/sctp.js';
export { synOptions } from './packet/tcp.js';
export { verify } from './packet/verify.js';
