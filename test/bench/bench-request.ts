// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The request that bpf/test/bench.bpf.c reads: which packet each run makes.
import type { BpfMap } from 'libbpf-ts';

/** struct bench_request, field by field; all are 32 bits. */
const FIELDS = [
  'flows',
  'sequential',
  'cursor',
  'seed',
  'hook',
  'reply',
  'outside',
  'proto',
  'tcpFlags',
  'seq',
  'ack',
  'hits',
  'ports',
  'clients',
] as const;

export type BenchRequest = Record<(typeof FIELDS)[number], number>;

const DEFAULTS: BenchRequest = {
  flows: 1,
  sequential: 0,
  cursor: 0,
  seed: 1,
  hook: 0,
  reply: 0,
  outside: 0,
  proto: 17,
  tcpFlags: 0,
  seq: 0,
  ack: 0,
  hits: 0,
  ports: 50_000,
  clients: 0,
};

const KEY = Buffer.alloc(4);

/** Writes a request. `outside` is in network order as it lies in memory; a random pick gets a seed of its own. */
export function writeRequest(map: BpfMap, request: Partial<BenchRequest>): void {
  const fields = { ...DEFAULTS, seed: 1 + Math.floor(Math.random() * 0xffff_fffe), ...request };
  const bytes = Buffer.alloc(FIELDS.length * 4);
  FIELDS.forEach((name, i) => {
    bytes.writeUInt32LE(fields[name], i * 4);
  });
  map.set(KEY, bytes);
}

export function readRequest(map: BpfMap): BenchRequest {
  const bytes = map.get(KEY)!;
  return Object.fromEntries(FIELDS.map((name, i) => [name, bytes.readUInt32LE(i * 4)])) as BenchRequest;
}
