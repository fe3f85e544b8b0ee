// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What Linux 4.19 knows, from its sources. Data only; floor.ts holds an object against it. */
import { helperId } from './helpers.js';
import { MapFlag, type MapType, mapTypeNumber, type ProgramType } from './kernel-types.js';

/** BPF_MAXINSNS, include/uapi/linux/bpf_common.h: of a program with its subprograms. */
export const MAX_INSTRUCTIONS = 4096;
/** MAX_BPF_STACK, include/linux/filter.h: of one frame, and of a chain of calls together. */
export const MAX_STACK = 512;
/** Granularity of a frame in that sum (check_max_stack_depth, kernel/bpf/verifier.c). */
export const FRAME_ROUNDING = 32;
/** MAX_CALL_FRAMES, include/linux/bpf_verifier.h. */
export const MAX_FRAMES = 8;
/** The last of enum bpf_func_id, include/uapi/linux/bpf.h. */
export const LAST_HELPER = helperId('skb_ancestor_cgroup_id');
/** The last of enum bpf_map_type, include/uapi/linux/bpf.h. */
export const LAST_MAP_TYPE = mapTypeNumber('reuseport_sockarray');

/**
 * Kinds of BTF since 4.19 (BTF_KIND_*, include/uapi/linux/btf.h) that an object can do without. Functions, variables
 * and sections are later ones, too (5.0 and 5.2), but clang tells of them always and every libbpf hides them.
 */
export const NEWER_BTF_KINDS = {
  float: 'Linux 5.13',
  decl_tag: 'Linux 5.16',
  type_tag: 'Linux 5.17',
  enum64: 'Linux 6.0',
} as const;

const NUMA_NODE = 1 << 2;
const STACK_BUILD_ID = 1 << 5;
const ACCESS = MapFlag.RDONLY | MapFlag.WRONLY;

/**
 * Flags that BPF_MAP_CREATE takes for a type (*_CREATE_FLAG_MASK and the *_alloc_check functions of
 * kernel/bpf/{arraymap,hashtab,lpm_trie,stackmap,devmap,cpumap,xskmap,sockmap,local_storage}.c).
 */
export function allowedMapFlags(type: MapType): number {
  switch (type) {
    case 'hash':
    case 'hash_of_maps':
      return MapFlag.NO_PREALLOC | NUMA_NODE | ACCESS;
    case 'percpu_hash':
      return MapFlag.NO_PREALLOC | ACCESS;
    case 'lru_hash':
      return MapFlag.NO_COMMON_LRU | NUMA_NODE | ACCESS;
    case 'lru_percpu_hash':
      return MapFlag.NO_COMMON_LRU | ACCESS;
    case 'lpm_trie':
      return MapFlag.NO_PREALLOC | NUMA_NODE | ACCESS;
    case 'percpu_array':
      return ACCESS;
    case 'stack_trace':
      return NUMA_NODE | ACCESS | STACK_BUILD_ID;
    case 'cpumap':
      return NUMA_NODE;
    default:
      return NUMA_NODE | ACCESS;
  }
}

/** bpf_base_func_proto, net/core/filter.c. */
const BASE_HELPERS = [
  'map_lookup_elem',
  'map_update_elem',
  'map_delete_elem',
  'get_prandom_u32',
  'get_smp_processor_id',
  'get_numa_node_id',
  'tail_call',
  'ktime_get_ns',
  'trace_printk',
];

/** tc_cls_act_func_proto, net/core/filter.c. */
const TC_HELPERS = [
  'skb_store_bytes',
  'skb_load_bytes',
  'skb_load_bytes_relative',
  'skb_pull_data',
  'csum_diff',
  'csum_update',
  'l3_csum_replace',
  'l4_csum_replace',
  'clone_redirect',
  'get_cgroup_classid',
  'skb_vlan_push',
  'skb_vlan_pop',
  'skb_change_proto',
  'skb_change_type',
  'skb_adjust_room',
  'skb_change_tail',
  'skb_get_tunnel_key',
  'skb_set_tunnel_key',
  'skb_get_tunnel_opt',
  'skb_set_tunnel_opt',
  'redirect',
  'get_route_realm',
  'get_hash_recalc',
  'set_hash_invalid',
  'set_hash',
  'perf_event_output',
  'skb_under_cgroup',
  'get_socket_cookie',
  'get_socket_uid',
  'fib_lookup',
  'skb_get_xfrm_state',
  'skb_cgroup_id',
  'skb_ancestor_cgroup_id',
];

/** xdp_func_proto, net/core/filter.c. */
const XDP_HELPERS = [
  'perf_event_output',
  'csum_diff',
  'xdp_adjust_head',
  'xdp_adjust_meta',
  'xdp_adjust_tail',
  'redirect',
  'redirect_map',
  'fib_lookup',
];

const HELPERS_BY_TYPE: Partial<Record<ProgramType, Set<number>>> = {
  sched_cls: new Set([...BASE_HELPERS, ...TC_HELPERS].map(helperId)),
  sched_act: new Set([...BASE_HELPERS, ...TC_HELPERS].map(helperId)),
  xdp: new Set([...BASE_HELPERS, ...XDP_HELPERS].map(helperId)),
};

/** Whether a helper of 4.19 may be called by programs of that type; true for types whose list is not kept here. */
export function allowsHelper(type: ProgramType, helper: number): boolean {
  return HELPERS_BY_TYPE[type]?.has(helper) ?? true;
}

/** The type of the programs in a section, as libbpf reads its name; `unspec` for sections that are not about packets. */
export function sectionProgramType(section: string): ProgramType {
  const name = section.replace(/^\?/, '').split(/[/.]/)[0] ?? '';
  if (name === 'tc' || name === 'tcx' || name === 'classifier') return 'sched_cls';
  if (name === 'action') return 'sched_act';
  return name === 'xdp' ? 'xdp' : 'unspec';
}
