// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Reads protobuf's wire format without any definition: fields by number.

export type Fields = Record<number, (bigint | Uint8Array)[]>;

/** One message, or several of them behind their lengths. */
export function readMessage(bytes: Uint8Array, delimited = false): Fields[] {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('The message ends within a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error('The message ends within a field');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const messages: Fields[] = [];
  while (at < bytes.length || messages.length === 0) {
    const end = delimited ? Number(varint()) + at : bytes.length;
    const fields: Fields = {};
    while (at < end) {
      const tag = Number(varint());
      const value = [varint, () => take(8), () => take(Number(varint()))][tag & 7]?.();
      if (value === undefined) throw new Error(`Field ${tag >> 3} has wire type ${tag & 7}`);
      fields[tag >> 3] ??= [];
      fields[tag >> 3]!.push(value);
    }
    messages.push(fields);
  }
  return messages;
}
