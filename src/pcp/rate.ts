// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** How fast one subscriber, and all together, may ask. Who asks faster is not answered, and asks again by himself. */

interface Bucket {
  tokens: number;
  atMs: number;
}

interface Rate {
  /** A second. */
  readonly rate: number;
  /** At once after a rest. */
  readonly burst: number;
}

export const SUBSCRIBER_RATE: Rate = { rate: 20, burst: 100 };
export const TOTAL_RATE: Rate = { rate: 200, burst: 400 };

/** Subscribers that are told apart; the one that was longest silent is forgotten first, and has rested. */
const MAX_BUCKETS = 4096;

export class RateLimit {
  readonly #total: Bucket = { tokens: TOTAL_RATE.burst, atMs: 0 };
  readonly #buckets = new Map<string, Bucket>();

  /** Takes one of the subscriber's; false: there is none. */
  take(subscriber: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(subscriber) ?? { tokens: SUBSCRIBER_RATE.burst, atMs: nowMs };
    this.#buckets.delete(subscriber);
    this.#buckets.set(subscriber, bucket);
    if (this.#buckets.size > MAX_BUCKETS) this.#buckets.delete(this.#buckets.keys().next().value!);
    return spend(bucket, SUBSCRIBER_RATE, nowMs) && spend(this.#total, TOTAL_RATE, nowMs);
  }
}

function spend(bucket: Bucket, { rate, burst }: Rate, nowMs: number): boolean {
  bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * rate) / 1000);
  bucket.atMs = nowMs;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}
