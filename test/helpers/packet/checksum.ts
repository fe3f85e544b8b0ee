// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Checksums from scratch, each by its RFC's definition: never incremental, never the datapath's arithmetic.

/** One's complement sum of 16-bit big-endian words (RFC 1071 section 1); an odd last byte is padded with zero. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (bytes.length % 2 === 1) sum += bytes[bytes.length - 1]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** Internet checksum of bytes whose checksum field is zero. */
export function internetChecksum(bytes: Uint8Array, start = 0): number {
  return ~onesSum(bytes, start) & 0xffff;
}

/** Whether bytes that contain their checksum sum up to minus zero, which is how a receiver judges. */
export function sumsToZero(bytes: Uint8Array, start = 0): boolean {
  return onesSum(bytes, start) === 0xffff;
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC32c (RFC 9260 appendix A, RFC 3720 appendix B.4) as a number; SCTP stores it low byte first. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC32C_TABLE[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}
