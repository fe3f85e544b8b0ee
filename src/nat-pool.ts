// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The addresses of a rule's pool, one by one, each with its port ranges side by side. */
import { type Address, formatAddress } from './address.js';
import { POOL_ENTRIES_PER_BANK, type PoolEntry } from './generated/layouts.gen.js';
import type { NatRule } from './nat-rule.js';
import type { NatTarget } from './nat-target.js';
import type { PortRange } from './port-range.js';
import { fourWords } from './words.js';

/** As many entries as one bank of the map holds, of all rules together. */
export const MAX_POOL_ENTRIES = POOL_ENTRIES_PER_BANK;

/**
 * What of a rule needs a pool: several ranges, or one of which a host may get more than one address.
 * Undefined: the rule's range says everything.
 */
function poolTargets({ kind, to, toPorts, pool, isSpilling }: NatRule): readonly NatTarget[] | undefined {
  if (pool) return pool;
  if (kind !== 'snat') return undefined;
  return isSpilling && to ? [{ to, ...(toPorts && { ports: toPorts }) }] : undefined;
}

/**
 * The entries of a rule's pool, [] for a rule without one.
 * @throws RangeError if there are too many, or an address has a port twice
 */
export function poolEntries(rule: NatRule): PoolEntry[] {
  const targets = poolTargets(rule);
  if (!targets) return [];
  const total = targets.reduce((sum, { to }) => sum + rangeSize(to!.first, to!.last), 0n);
  if (total > BigInt(MAX_POOL_ENTRIES)) {
    throw new RangeError(
      `a pool of ${total} addresses is too large: several ranges together, or with spill, have at most ${MAX_POOL_ENTRIES}`,
    );
  }
  const places = new Map<string, { address: Address; ports: (PortRange | undefined)[] }>();
  for (const { to, ports } of targets) {
    for (const address of addressesOf(to!.first, to!.last)) {
      const text = formatAddress(address);
      const place = places.get(text) ?? { address, ports: [] };
      if (place.ports.some((other) => overlap(other, ports))) {
        throw new RangeError(`${text} is in the pool twice with the same ports`);
      }
      place.ports.push(ports);
      places.set(text, place);
    }
  }
  return [...places.values()].flatMap(({ address, ports }) =>
    ports.map((range, place) => ({
      addr: fourWords(address.bytes),
      portMin: range?.min ?? 0,
      portMax: range?.max ?? 0,
      place,
      places: ports.length,
    })),
  );
}

/** @throws RangeError for what no pool can be made of */
export function checkPool(rule: NatRule): void {
  if (rule.isSpilling && !rule.to && !rule.pool) throw new RangeError('spill needs addresses to choose from');
  poolEntries(rule);
}

/** Without a range a port keeps its class, which may be any. */
function overlap(a: PortRange | undefined, b: PortRange | undefined): boolean {
  return !a || !b || (a.min <= b.max && b.min <= a.max);
}

function toNumber(address: Address): bigint {
  return address.bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function rangeSize(first: Address, last: Address): bigint {
  return toNumber(last) - toNumber(first) + 1n;
}

function* addressesOf(first: Address, last: Address): Generator<Address> {
  const { length } = first.bytes;
  for (let value = toNumber(first); value <= toNumber(last); value++) {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn);
    yield { ...first, bytes };
  }
}
