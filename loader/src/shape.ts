// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * A struct's layout as short plain data: what generated files carry, so that an object or a pinned map that
 * differs is refused with the field's name instead of being misread.
 */
import { type StructLayout, typeText } from './struct-layout.js';

export interface StructShape {
  readonly name: string;
  readonly size: number;
  /** Without padding, ascending by offset. `type` as by typeText: "u32", "be32[4]", "struct tuple4[2]". */
  readonly fields: readonly { readonly name: string; readonly offset: number; readonly type: string }[];
}

export function shapeOf(layout: StructLayout): StructShape {
  const fields = layout.fields
    .filter((field) => !field.padding)
    .map(({ name, offset, type }) => ({ name, offset, type: typeText(type) }));
  return { name: layout.name, size: layout.size, fields };
}

/** What differs, one sentence each ("flow.mark: at 88, expected 84"); empty if nothing does. */
export function shapeDifferences(expected: StructShape, actual: StructShape): string[] {
  const differences: string[] = [];
  if (expected.size !== actual.size) {
    differences.push(`${expected.name}: ${actual.size} bytes, expected ${expected.size}`);
  }
  const found = new Map(actual.fields.map((field) => [field.name, field]));
  for (const { name, offset, type } of expected.fields) {
    const field = found.get(name);
    const path = `${expected.name}.${name}`;
    found.delete(name);
    if (field === undefined) differences.push(`${path}: missing`);
    else if (field.type !== type) differences.push(`${path}: ${field.type}, expected ${type}`);
    else if (field.offset !== offset) differences.push(`${path}: at ${field.offset}, expected ${offset}`);
  }
  for (const name of found.keys()) differences.push(`${expected.name}.${name}: not expected`);
  return differences;
}
