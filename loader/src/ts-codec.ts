// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Writes the TypeScript of codecs: straight-line reads and writes of a DataView `view` from offset `o`. */
import type { ScalarName, StructLayout, ValueType } from './struct-layout.js';

/** "ct_entry" → "CtEntry". */
export function pascalCase(name: string): string {
  return name
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}

/** "last_seen_ns" → "lastSeenNs". */
export function camelCase(name: string): string {
  const pascal = pascalCase(name);
  return pascal.charAt(0).toLowerCase() + pascal.slice(1);
}

/** The TypeScript type of a value. */
export function tsType(type: ValueType): string {
  switch (type.kind) {
    case 'scalar':
      if (type.enumName !== undefined) return pascalCase(type.enumName);
      if (type.scalar === 'bool') return 'boolean';
      return is64(type.scalar) ? 'bigint' : 'number';
    case 'text':
      return 'string';
    case 'bytes':
      return 'Uint8Array';
    case 'array':
      return `${tsType(type.element)}[]`;
    case 'struct':
      return pascalCase(type.name);
  }
}

/** Helper functions that generated codecs may call, by the name that calls them. */
export const CODEC_HELPERS: Record<string, string> = {
  LE: `/** Fields that are neither be nor le are in this machine's byte order. */
const LE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;`,
  whole: `function whole(value: number, low: number, high: number, field: string): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new RangeError(\`Cannot write \${field}: \${value} is no whole number from \${low} to \${high}\`);
}`,
  unsigned64: `function unsigned64(value: bigint, field: string): bigint {
  if (BigInt.asUintN(64, value) === value) return value;
  throw new RangeError(\`Cannot write \${field}: \${value} is not from 0 to 2^64 - 1\`);
}`,
  signed64: `function signed64(value: bigint, field: string): bigint {
  if (BigInt.asIntN(64, value) === value) return value;
  throw new RangeError(\`Cannot write \${field}: \${value} is not from -2^63 to 2^63 - 1\`);
}`,
  times: `function times<T>(length: number, read: (i: number) => T): T[] {
  return Array.from({ length }, (_, i) => read(i));
}`,
  fixed: `function fixed<T>(items: readonly T[], length: number, field: string): readonly T[] {
  if (items.length === length) return items;
  throw new RangeError(\`Cannot write \${field}: \${items.length} elements where \${length} are needed\`);
}`,
  readText: `const decoder = new TextDecoder();

function readText(view: DataView, offset: number, size: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size);
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}`,
  writeText: `const encoder = new TextEncoder();

function writeText(view: DataView, offset: number, size: number, value: string, field: string): void {
  const bytes = encoder.encode(value);
  if (bytes.length >= size || bytes.includes(0)) {
    throw new RangeError(\`Cannot write \${field}: "\${value}" is not text of at most \${size - 1} bytes\`);
  }
  const target = new Uint8Array(view.buffer, view.byteOffset + offset, size);
  target.fill(0);
  target.set(bytes);
}`,
  readBytes: `function readBytes(view: DataView, offset: number, size: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, size).slice();
}`,
  writeBytes: `function writeBytes(view: DataView, offset: number, size: number, value: Uint8Array, field: string): void {
  if (value.length !== size) throw new RangeError(\`Cannot write \${field}: \${value.length} bytes, not \${size}\`);
  new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value);
}`,
  zero: `function zero(view: DataView, offset: number, size: number): void {
  for (let i = 0; i < size; i++) view.setUint8(offset + i, 0);
}`,
};

/** The codec literal of a struct. */
export function structCodec(layout: StructLayout): string {
  const fields = layout.fields.filter((field) => !field.padding);
  const zeros = [
    ...layout.gaps,
    ...layout.fields.filter((f) => f.padding).map((f) => ({ offset: f.offset, size: f.type.size })),
  ]
    .filter(({ size }) => size > 0)
    .sort((a, b) => a.offset - b.offset);
  return [
    '{',
    `  size: ${layout.size},`,
    '  read: (view, o) => ({',
    ...fields.map(
      (field) => `    ${camelCase(field.name)}: ${readExpression(field.type, plus('o', field.offset))},`,
    ),
    '  }),',
    '  write(view, o, value) {',
    ...fields.flatMap((field) =>
      writeStatements(
        field.type,
        plus('o', field.offset),
        `value.${camelCase(field.name)}`,
        `${layout.name}.${field.name}`,
      ).map((line) => `    ${line}`),
    ),
    ...zeros.map(({ offset, size }) => `    ${zeroStatement(plus('o', offset), size)}`),
    '  },',
    '}',
  ].join('\n');
}

/** The codec of any type: a struct's or scalar's by name, others as a literal. */
export function codecExpression(type: ValueType, name: string): string {
  if (type.kind === 'struct') return `${camelCase(type.name)}Codec`;
  if (type.kind === 'scalar' && type.enumName === undefined) return `${type.scalar}Codec`;
  return codecLiteral(type, name);
}

/** A codec as an object literal; what it writes is called `name` in errors. */
export function codecLiteral(type: ValueType, name: string): string {
  return [
    '{',
    `  size: ${type.size},`,
    `  read: (view, o) => ${readExpression(type, 'o')},`,
    '  write(view, o, value) {',
    ...writeStatements(type, 'o', 'value', name).map((line) => `    ${line}`),
    '  },',
    '}',
  ].join('\n');
}

/** Arrays of no more values, all dimensions together, are read without a loop. */
const UNROLLED = 8;

function readExpression(type: ValueType, at: string, depth = 0): string {
  switch (type.kind) {
    case 'scalar':
      return readScalar(type.scalar, at, type.enumName);
    case 'text':
      return `readText(view, ${at}, ${type.size})`;
    case 'bytes':
      return `readBytes(view, ${at}, ${type.size})`;
    case 'struct':
      return `${camelCase(type.name)}Codec.read(view, ${at})`;
    case 'array': {
      const { element, length } = type;
      if (countValues(type) <= UNROLLED) {
        const items = Array.from({ length }, (_, i) =>
          readExpression(element, plus(at, i * element.size), depth),
        );
        return `[${items.join(', ')}]`;
      }
      const index = INDICES.charAt(depth);
      return `times(${length}, (${index}) => ${readExpression(element, `${at} + ${stride(index, element.size)}`, depth + 1)})`;
    }
  }
}

function writeStatements(type: ValueType, at: string, value: string, field: string, depth = 0): string[] {
  switch (type.kind) {
    case 'scalar':
      return [writeScalar(type.scalar, at, value, field)];
    case 'text':
      return [`writeText(view, ${at}, ${type.size}, ${value}, '${field}');`];
    case 'bytes':
      return [`writeBytes(view, ${at}, ${type.size}, ${value}, '${field}');`];
    case 'struct':
      return [`${camelCase(type.name)}Codec.write(view, ${at}, ${value});`];
    case 'array': {
      const index = INDICES.charAt(depth);
      const item = `item${depth === 0 ? '' : depth}`;
      const inner = writeStatements(
        type.element,
        `${at} + ${index} * ${type.element.size}`,
        item,
        field,
        depth + 1,
      );
      return [
        `fixed(${value}, ${type.length}, '${field}').forEach((${item}, ${index}) => {`,
        ...inner.map((line) => `  ${line}`),
        '});',
      ];
    }
  }
}

function countValues(type: ValueType): number {
  return type.kind === 'array' ? type.length * countValues(type.element) : 1;
}

/** Loop variables by depth; layout.ts allows no deeper nesting. */
const INDICES = 'ijklmnpqrstuvwxyz';

function stride(index: string, size: number): string {
  return size === 1 ? index : `${index} * ${size}`;
}

function is64(scalar: ScalarName): boolean {
  return scalar.endsWith('64') && scalar !== 'f64';
}

/** DataView's method suffix and byte-order argument. */
function accessor(scalar: ScalarName): [string, string] {
  const bits = Number(/\d+$/.exec(scalar)?.[0] ?? 8);
  const order =
    bits === 8 ? '' : scalar.startsWith('be') ? ', false' : scalar.startsWith('le') ? ', true' : ', LE';
  if (scalar.startsWith('f')) return [`Float${bits}`, order];
  return [`${bits === 64 ? 'Big' : ''}${scalar.startsWith('i') ? 'Int' : 'Uint'}${bits}`, order];
}

function readScalar(scalar: ScalarName, at: string, enumName: string | undefined): string {
  const [method, order] = accessor(scalar);
  const read = `view.get${method}(${at}${order})`;
  if (scalar === 'bool') return `${read} !== 0`;
  return enumName === undefined ? read : `${read} as ${pascalCase(enumName)}`;
}

function writeScalar(scalar: ScalarName, at: string, value: string, field: string): string {
  const [method, order] = accessor(scalar);
  return `view.set${method}(${at}, ${checked(scalar, value, field)}${order});`;
}

function checked(scalar: ScalarName, value: string, field: string): string {
  if (scalar === 'bool') return `${value} ? 1 : 0`;
  if (scalar.startsWith('f')) return value;
  if (is64(scalar)) return `${scalar === 'i64' ? 'signed64' : 'unsigned64'}(${value}, '${field}')`;
  const bits = Number(/\d+$/.exec(scalar)?.[0]);
  const [low, high] = scalar.startsWith('i') ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return `whole(${value}, ${low}, ${high}, '${field}')`;
}

function zeroStatement(at: string, size: number): string {
  return size === 1 ? `view.setUint8(${at}, 0);` : `zero(view, ${at}, ${size});`;
}

/** "o" and 8 → "o + 8"; "o + 8" and 4 → "o + 12". */
function plus(at: string, offset: number): string {
  if (offset === 0) return at;
  const match = /^(.*?)(?: \+ (\d+))?$/.exec(at);
  return `${match?.[1] ?? at} + ${Number(match?.[2] ?? 0) + offset}`;
}
