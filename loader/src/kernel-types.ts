// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The kernel's numbers of map and program types and map flags, by the names that bpftool uses (include/uapi/linux/bpf.h). */

/** Index is the number: enum bpf_map_type without BPF_MAP_TYPE_, in lower case. */
const MAP_TYPES = [
  'unspec',
  'hash',
  'array',
  'prog_array',
  'perf_event_array',
  'percpu_hash',
  'percpu_array',
  'stack_trace',
  'cgroup_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'array_of_maps',
  'hash_of_maps',
  'devmap',
  'sockmap',
  'cpumap',
  'xskmap',
  'sockhash',
  'cgroup_storage',
  'reuseport_sockarray',
  'percpu_cgroup_storage',
  'queue',
  'stack',
  'sk_storage',
  'devmap_hash',
  'struct_ops',
  'ringbuf',
  'inode_storage',
  'task_storage',
  'bloom_filter',
  'user_ringbuf',
  'cgrp_storage',
  'arena',
  'insn_array',
] as const;

/** Index is the number: enum bpf_prog_type without BPF_PROG_TYPE_, in lower case. */
const PROGRAM_TYPES = [
  'unspec',
  'socket_filter',
  'kprobe',
  'sched_cls',
  'sched_act',
  'tracepoint',
  'xdp',
  'perf_event',
  'cgroup_skb',
  'cgroup_sock',
  'lwt_in',
  'lwt_out',
  'lwt_xmit',
  'sock_ops',
  'sk_skb',
  'cgroup_device',
  'sk_msg',
  'raw_tracepoint',
  'cgroup_sock_addr',
  'lwt_seg6local',
  'lirc_mode2',
  'sk_reuseport',
  'flow_dissector',
  'cgroup_sysctl',
  'raw_tracepoint_writable',
  'cgroup_sockopt',
  'tracing',
  'struct_ops',
  'ext',
  'lsm',
  'sk_lookup',
  'syscall',
  'netfilter',
] as const;

export type MapType = (typeof MAP_TYPES)[number];
export type ProgramType = (typeof PROGRAM_TYPES)[number];

/** The name of a map type; `unspec` for one that this package does not know yet. */
export function mapTypeName(number: number): MapType {
  return MAP_TYPES[number] ?? 'unspec';
}

/** The kernel's number of a map type. */
export function mapTypeNumber(name: MapType): number {
  return MAP_TYPES.indexOf(name);
}

/** The name of a program type; `unspec` for one that this package does not know yet. */
export function programTypeName(number: number): ProgramType {
  return PROGRAM_TYPES[number] ?? 'unspec';
}

/** The kernel's number of a program type. */
export function programTypeNumber(name: ProgramType): number {
  return PROGRAM_TYPES.indexOf(name);
}

/** Flags at a map's creation. */
export const MapFlag = {
  /** Allocates entries as they come instead of all at once; lpm_trie needs it. */
  NO_PREALLOC: 1 << 0,
  /** lru_hash: one LRU list per CPU instead of a common one. */
  NO_COMMON_LRU: 1 << 1,
  /** Userspace may only read. Since Linux 4.15. */
  RDONLY: 1 << 3,
  /** Userspace may only write. Since Linux 4.15. */
  WRONLY: 1 << 4,
  /** Programs may only read. Since Linux 5.2. */
  RDONLY_PROG: 1 << 7,
  /** array: userspace may map it into its memory. Since Linux 5.5. */
  MMAPABLE: 1 << 10,
} as const;

/** Types whose value is one value per possible CPU, seen from userspace. */
export function isPerCpu(type: MapType): boolean {
  return (
    type === 'percpu_hash' ||
    type === 'percpu_array' ||
    type === 'lru_percpu_hash' ||
    type === 'percpu_cgroup_storage'
  );
}

/** Types whose every index has a value from the start: nothing can be deleted, only overwritten. */
export function isPlainArray(type: MapType): boolean {
  return type === 'array' || type === 'percpu_array';
}
