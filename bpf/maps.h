/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every map. Sizes here are defaults; the loader sets those that the configuration names.
 * docs/data-model.md tells for each who writes, who reads and what evicts.
 */
#ifndef CTNAT_MAPS_H
#define CTNAT_MAPS_H

#include "compiler.h"

enum {
	FLOWS_DEFAULT = 262144,
	FLOWS6_DEFAULT = 65536,
#ifdef CTNAT_FETCH
	INDEX_ROWS_DEFAULT = (FLOWS_DEFAULT + FLOWS6_DEFAULT) / 2,
#else
	INDEX_ROWS_DEFAULT = 1,
#endif
	HINT_ROWS_DEFAULT = (FLOWS_DEFAULT + FLOWS6_DEFAULT) / 16 * 7,
	FRAGMENTS_MAX = 8192,
	IFACES_MAX = 1024,
	EXEMPT_MAX = 1024,
	LABELS_MAX = 65536,
	SUBSCRIBERS_MAX = 65536,
};

/* Flows, by slot. The loader adds BPF_F_MMAPABLE where the kernel has it (5.5). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow4);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS6_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow6);
} flows6 SEC(".maps");

/* The rest of what is known of them, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow_extra);
} extras4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS6_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow_extra);
} extras6 SEC(".maps");

/*
 * Where the flow of a tuple is. A translated flow has two keys: who claims the reply's has the port.
 * From 5.12 on the index has the keys (bpf/index.h), and these those that find no room in it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS_DEFAULT * 2);
	__type(key, struct tuple4_key);
	__type(value, struct tuple_ref);
} tuples4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS6_DEFAULT * 2);
	__type(key, struct tuple6_key);
	__type(value, struct tuple_ref);
} tuples6 SEC(".maps");

/* Where the flow of a key is, by the key's hash, of both families. One row where no atomic operation says
 * what was there before it; else from a page's first byte on, so that a row is two cache lines. The loader
 * sizes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INDEX_ROWS_DEFAULT);
#ifdef CTNAT_FETCH
	__uint(map_flags, BPF_F_MMAPABLE);
#endif
	__type(key, __u32);
	__type(value, struct index_row);
} tuple_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct index_head);
} index_head SEC(".maps");

/* Where the flow of a key probably is, by the key's hash (bpf/hint.h). For both families; the loader sizes
 * it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HINT_ROWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct hint_row);
} hints SEC(".maps");

struct fragment4_key {
	__be32 saddr;
	__be32 daddr;
	__be16 id;
	__u8 proto;
	__u8 hook;  /* enum hook_dir: the addresses are those at that hook */
	__u16 zone; /* that the datagram came in by */
	__u16 pad;
};

struct fragment6_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be32 id;
	__u8 proto;
	__u8 hook;
	__u16 zone;
};

/* What only the first fragment says. */
struct fragment {
	__be16 sport;
	__be16 dport;
	__u32 tick; /* when it was seen: an identifier is reused, RFC 4787 REQ-14 asks for no longer than 60 s
		     */
	__u8 kind;  /* enum icmp_kind */
	__u8 pad[3];
};

/* An LRU: what it evicts costs one datagram, never a flow. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment4_key);
	__type(value, struct fragment);
} fragments4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment6_key);
	__type(value, struct fragment);
} fragments6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, IFACES_MAX);
	__type(key, __u32);
	__type(value, struct iface);
} ifaces SEC(".maps");

/* Interfaces that forward past the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FORWARD_PORTS_MAX);
	__type(key, __u32);
	__type(value, struct forward_port);
} forward_ports SEC(".maps");

/* When a packet to a neighbour went by the stack last; by hash. Two that share one hear of each other's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NEIGHBOURS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} neighbour_ticks SEC(".maps");

/*
 * The way past the stack that packets took last, and all that the kernel was told when it was asked for it:
 * once a timer tick, not for each packet. That costs more than all else that is done to one.
 */
struct way {
	__u32 moment;  /* of the timer, when the kernel was asked */
	__u32 in;      /* ifindex where they come in */
	__u32 traffic; /* of struct fast_packet */
	__u32 about;   /* protocol, family, and which mode asked (way.h) */
	__u32 ports;   /* the source's low; 0 where no route depends on them */
	__u32 out;
	__u8 dmac[6];
	__u8 smac[6];
	__u16 longest; /* packet that was asked for: what is no longer goes the same way */
	__u16 pad;
	__be32 from[4]; /* IPv4: word 0; word 1 the destination as it came */
	__be32 to[4];	/* as it leaves */
};

enum { WAYS_BITS = 11, WAYS_MAX = 1 << WAYS_BITS };

/* Those that share an entry take it from each other, which costs them the question. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS_MAX);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

/*
 * Until which tick somebody vouches that no rule and no route looks at ports, at most WAYS_SHARED_TICKS
 * ahead: until then all flows between two addresses have one way. The agent does, and writes 0 when it is
 * so no longer (src/shared-ways.ts).
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ways_shared SEC(".maps");

/* Whether packets between two addresses leave by an interface that ctnat is attached to, as of a timer tick.
 */
struct lead {
	__u32 moment; /* of the timer, when the kernel was asked */
	__u32 in;     /* ifindex where they come in */
	__be32 saddr[4];
	__be32 daddr[4];
	__u32 about;   /* protocol, and the family above it */
	__u32 to_hook; /* 1: they do */
};

enum { LEADS_MAX = 256 };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LEADS_MAX);
	__type(key, __u32);
	__type(value, struct lead);
} leads SEC(".maps");

/* Zones by ifindex, of those interfaces that have one: attached ones, and the VRFs above them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, IFACES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} zones SEC(".maps");

/* Two banks, so that a new set of rules is written beside the live one and taken by one store. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NAT_RULES_PER_BANK * 2);
	__type(key, __u32);
	__type(value, struct nat_rule);
} nat_rules SEC(".maps");

/* What rules with a pool translate to; as many banks as nat_rules has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POOL_ENTRIES_PER_BANK * 2);
	__type(key, __u32);
	__type(value, struct pool_entry);
} nat_pools SEC(".maps");

/* Rules for tracking; two banks, as nat_rules has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct track_rules);
} track_rules SEC(".maps");

struct exempt4_key {
	__u32 prefix;
	__be32 addr;
};

struct exempt6_key {
	__u32 prefix;
	__be32 addr[4];
};

/* Destinations that are never source-translated. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, EXEMPT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exempt4_key);
	__type(value, __u32);
} exempt4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, EXEMPT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exempt6_key);
	__type(value, __u32);
} exempt6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASON_COUNT *HOOK_DIR_COUNT);
	__type(key, __u32);
	__type(value, struct metric);
} metrics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NAT_RETRIES_BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} nat_retries SEC(".maps");

/*
 * What searches for an outside port remember of the ports toward one other side (bpf/ports.h). Two of them
 * with one hash take the entry from each other, and walk further than they had to.
 */
struct port_hint {
	__u32 tag;     /* whose it is */
	__u32 walked;  /* ports looked at in order since one became free */
	__u32 tick;    /* of the last walk */
	__u16 offset;  /* where the next one goes on */
	__u16 freed;   /* a port that has become free since, 0: none */
	__u32 closing; /* 1 + port of a TCP connection that was closed when the walk came by it */
};

enum { PORT_HINTS_MAX = 4096 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_HINTS_MAX);
	__type(key, __u32);
	__type(value, struct port_hint);
} port_hints SEC(".maps");

/* Outside ports in use, a bit each (bpf/port_map.h): eight for each of a million flows. */
enum { PORT_MAP_WORDS = 1 << 17 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_MAP_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} port_map SEC(".maps");

/* Labels of those flows that have any. No program looks at them: conntrack -L and -U do, and the sweep
 * forgets those of flows that are gone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LABELS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct label_key);
	__type(value, struct label_set);
} labels SEC(".maps");

/* Flows that were refused because no outside port was left, by what it was wanted for. */
struct refusal_key {
	__be32 external[4]; /* IPv4: word 0 */
	__be32 remote[4];
	__be16 port; /* the other side's; 0 for ICMP */
	__u8 proto;
	__u8 family;
};

struct refusal {
	__u64 packets;
};

enum { REFUSALS_MAX = 1024 };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, REFUSALS_MAX);
	__type(key, struct refusal_key);
	__type(value, struct refusal);
} refusals SEC(".maps");

/*
 * What each subscriber has (bpf/limit.h). Not an LRU: what that evicts would be forgotten while its flows go
 * on. Userspace takes those away that have no flow and have rested.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SUBSCRIBERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct subscriber_key);
	__type(value, struct subscriber);
} subscribers SEC(".maps");

/* How many ICMP errors this CPU has sent in this tick. */
struct refuse_allowance {
	__u32 tick;
	__u32 told;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct refuse_allowance);
} refuse_allowances SEC(".maps");

/* Where a CPU's search for a free slot goes on: a clock's hand (bpf/slot.h). */
struct hand {
	__u32 position;
	__u32 full; /* searches left that give up early, because a long one just found nothing free */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2); /* IPv4, IPv6 */
	__type(key, __u32);
	__type(value, struct hand);
} hands SEC(".maps");

/* The tick of the present timer tick, which most packets find here (bpf/clock.h). */
struct clock_tick {
	__u64 word; /* high half: low half of jiffies; low half: the tick. 0: none yet */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock_tick);
} clock_ticks SEC(".maps");

/* Who listens to events, by the bit in settings.events. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EVENT_READERS);
	__type(key, __u32);
	__type(value, struct event_reader);
} event_readers SEC(".maps");

/*
 * Each reader's own buffer, which it puts here and takes away. libbpf calls the map inside as this one with
 * ".inner" behind it, cut to 15 bytes: before 5.3 the kernel takes no dot, which so long a name keeps out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, EVENT_READERS);
	__type(key, __u32);
	__type(value, __u32);
	__array(
		values, struct {
#ifdef CTNAT_RINGBUF
			__uint(type, BPF_MAP_TYPE_RINGBUF);
			__uint(max_entries, EVENT_RING_BYTES);
#else
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
		__uint(max_entries, EVENT_CPUS);
		__uint(key_size, 4);
		__uint(value_size, 4);
#endif
		});
} event_reader_buffers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_READERS);
	__type(key, __u32);
	__type(value, struct event_count);
} event_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_DROP_REASONS);
	__type(key, __u32);
	__type(value, struct event_allowance);
} event_allowances SEC(".maps");

/* Programs that others go on to by tail call; the loader fills it, by enum call in calls.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 128);
	__type(key, __u32);
	__type(value, __u32);
} calls SEC(".maps");

#endif
