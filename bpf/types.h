/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every struct and enum that the kernel side shares with userspace. No functions, no maps.
 * TypeScript reads these layouts from the compiled object's BTF (src/generated/): a change here is a
 * change of the pinned maps' format and needs a new LAYOUT_VERSION.
 *
 * Byte order: __be16/__be32 fields are as on the wire; everything else is the host's.
 * Time: a tick is 2^24 ns (16.8 ms) of CLOCK_MONOTONIC, in 32 bits. Ticks are compared by the sign of
 * their difference, so a deadline may be at most 1.1 years away.
 */
#ifndef CTNAT_TYPES_H
#define CTNAT_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>

/* Names what is put into BTF although no map mentions it: docs travel with it to TypeScript. */
#define DOC(text) __attribute__((btf_decl_tag("doc:" text)))

enum layout {
	LAYOUT_VERSION = 13,	 /* of the pinned maps: userspace refuses to read another one */
	TICK_SHIFT = 24,	 /* nanoseconds >> TICK_SHIFT are ticks */
	INDEX_CELLS = 7,	 /* of a row of the index */
	SPILLED_MASK = 0xffffff, /* of index_row.spilled: how many; above it, how often one has come */
	SPILLED_COME = 1 << 24,
	INDEX_SECRETS = 12,	  /* as many words as the longest key has, and two (bpf/index_hash.h) */
	WAYS_SHARED_TICKS = 1024, /* how far ahead somebody may vouch for shared ways (bpf/way.h) */
};

enum ct_dir {
	CT_DIR_ORIGINAL, /* the direction of the flow's first packet */
	CT_DIR_REPLY,
	CT_DIR_COUNT,
};

/* Status bits carry conntrack's numbers (include/uapi/linux/netfilter/nf_conntrack_common.h, IPS_*). */
enum ct_status {
	CT_EXPECTED = 1 << 0,
	CT_SEEN_REPLY = 1 << 1,
	CT_ASSURED = 1 << 2,
	CT_CONFIRMED = 1 << 3, /* the slot is in use; a slot whose status is 0 is free or being filled */
	CT_SRC_NAT = 1 << 4,
	CT_DST_NAT = 1 << 5,
	CT_FIXED_TIMEOUT = 1 << 10, /* packets do not move the deadline; of an endpoint: somebody has asked
				       for it until then (PCP), and it takes in anybody */
	CT_ENDPOINT = 1 << 15,	    /* the slot holds no flow, but an inside endpoint's outside port */
};

/* TCP's states in conntrack's order; other protocols leave CT_TCP_NONE. */
enum ct_tcp_state {
	CT_TCP_NONE,
	CT_TCP_SYN_SENT,
	CT_TCP_SYN_RECV,
	CT_TCP_ESTABLISHED,
	CT_TCP_FIN_WAIT,
	CT_TCP_CLOSE_WAIT,
	CT_TCP_LAST_ACK,
	CT_TCP_TIME_WAIT,
	CT_TCP_CLOSE,
	CT_TCP_SYN_SENT2,
	CT_TCP_STATE_COUNT,
};

/* SCTP's states in conntrack's order. */
enum ct_sctp_state {
	CT_SCTP_NONE,
	CT_SCTP_CLOSED,
	CT_SCTP_COOKIE_WAIT,
	CT_SCTP_COOKIE_ECHOED,
	CT_SCTP_ESTABLISHED,
	CT_SCTP_SHUTDOWN_SENT,
	CT_SCTP_SHUTDOWN_RECD,
	CT_SCTP_SHUTDOWN_ACK_SENT,
	CT_SCTP_HEARTBEAT_SENT,
	CT_SCTP_STATE_COUNT,
};

/* Index of a timeout in settings.timeouts; the names are Netfilter's sysctls' without the prefix. */
enum ct_timeout {
	CT_TIMEOUT_GENERIC,
	CT_TIMEOUT_TCP_SYN_SENT,
	CT_TIMEOUT_TCP_SYN_RECV,
	CT_TIMEOUT_TCP_ESTABLISHED,
	CT_TIMEOUT_TCP_FIN_WAIT,
	CT_TIMEOUT_TCP_CLOSE_WAIT,
	CT_TIMEOUT_TCP_LAST_ACK,
	CT_TIMEOUT_TCP_TIME_WAIT,
	CT_TIMEOUT_TCP_CLOSE,
	CT_TIMEOUT_TCP_SYN_SENT2,
	CT_TIMEOUT_TCP_RETRANS,
	CT_TIMEOUT_TCP_UNACK,
	CT_TIMEOUT_UDP,
	CT_TIMEOUT_UDP_STREAM,
	CT_TIMEOUT_ICMP,
	CT_TIMEOUT_ICMPV6,
	CT_TIMEOUT_GRE,
	CT_TIMEOUT_GRE_STREAM,
	CT_TIMEOUT_SCTP_CLOSED, /* SCTP's in the order of its states */
	CT_TIMEOUT_SCTP_COOKIE_WAIT,
	CT_TIMEOUT_SCTP_COOKIE_ECHOED,
	CT_TIMEOUT_SCTP_ESTABLISHED,
	CT_TIMEOUT_SCTP_SHUTDOWN_SENT,
	CT_TIMEOUT_SCTP_SHUTDOWN_RECD,
	CT_TIMEOUT_SCTP_SHUTDOWN_ACK_SENT,
	CT_TIMEOUT_SCTP_HEARTBEAT_SENT,
	CT_TIMEOUT_COUNT = 40, /* room for more without a new layout */
};

enum nat_type {
	NAT_NONE,
	NAT_MASQUERADE,
	NAT_SNAT,
	NAT_DNAT,
	NAT_REDIRECT,
	NAT_NETMAP,
};

/*
 * flow.nat holds the type in its low bits. Above them stands how much of the source's address is the
 * subscriber that the flow is counted for (bpf/limit.h), 0: it is not counted. 1 to 30: an IPv6 prefix of 35
 * to 64 bits.
 */
enum nat_limit {
	NAT_TYPE_MASK = 7,
	NAT_LIMIT_SHIFT = 3,
	NAT_LIMIT_64 = 30,
	NAT_LIMIT_ADDRESS = 31, /* all of it */
};

/* Mapping behaviour (RFC 4787 section 4.1): address-and-port-dependent or endpoint-independent. */
enum nat_mapping_mode {
	NAT_MAPPING_APDM,
	NAT_MAPPING_EIM,
};

/*
 * Filtering behaviour (RFC 4787 section 5): who else may send to the outside port of an endpoint-independent
 * mapping. Address-and-port-dependent: nobody, address-dependent: the addresses that the inside endpoint
 * sends to, endpoint-independent: anybody.
 */
enum nat_filtering {
	NAT_FILTERING_APDF,
	NAT_FILTERING_ADF,
	NAT_FILTERING_EIF,
};

/*
 * A connection's two tuples are as on the wire in their direction, before translation on the original's
 * side and as the replies arrive on the reply's. For ICMP queries both ports hold the identifier, for GRE
 * what its key folds to; protocols without either have 0.
 */
struct tuple4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
};

struct tuple6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};

/* What tuple_key.flags holds; the high nibble is the ICMP query's kind (enum icmp_kind). */
enum key_flags {
	KEY_LOCAL = 1 << 0,    /* a local socket's flow whose plain key a translated flow already holds */
	KEY_MIDDLE = 1 << 1,   /* between the hooks: destination translated, source not yet; zone: the slot's
				  low bits */
	KEY_ENDPOINT = 1 << 2, /* an endpoint's: inside, with the outside address at port 0 as the other
				  end; outside, where the other end is 0 */
	KEY_PEER = 1 << 3,     /* outside endpoint and, at port 0, an address that it has sent to */
	KEY_ICMP_SHIFT = 4,
	KEY_MIDDLE_SLOT_MASK = (1 << 14) - 1,
};

/* ICMP query types that can be tracked; a reply has the kind of its request. */
enum icmp_kind {
	ICMP_KIND_NONE,
	ICMP_KIND_ECHO,
	ICMP_KIND_TIMESTAMP,
	ICMP_KIND_INFO,
	ICMP_KIND_ADDRESS,
};

/*
 * What a flow is found by, and the key of the tuple maps. The two endpoints are sorted (by address, then
 * port, as numbers in memory order), so that a packet of either direction of an untranslated flow makes the
 * same key.
 */
struct tuple4_key {
	__be32 addr[2];
	__be16 port[2];
	__u8 proto;
	__u8 flags;
	__u16 zone;
};

struct tuple6_key {
	__be32 addr[2][4];
	__be16 port[2];
	__u8 proto;
	__u8 flags;
	__u16 zone;
};

/* Which of a flow's tuples a key is, and which way round. */
enum tuple_form {
	FORM_SOURCE_HIGH = 1 << 0, /* the tuple's source is endpoint 1 of the sorted key, not endpoint 0 */
	FORM_ORIGINAL = 1 << 1,
	FORM_REPLY = 1 << 2, /* both FORM_ORIGINAL and FORM_REPLY: the flow is not translated */
	FORM_MIDDLE = 1 << 3,
	FORM_PEER = 1 << 4, /* of a key with KEY_PEER: the flow is one of those that vouch for the address */
};

/* What a key leads to, and the value of the tuple maps: where the flow is. */
struct tuple_ref {
	__u32 slot;
	__u16 gen; /* differs from the slot's: the flow is gone and the slot another one's */
	__u8 form;
	__u8 pad;
};

/* Of one key. `tag` 0: free. */
struct index_cell {
	__u64 tag;
	__u64 ref; /* struct tuple_ref as a number: slot, generation << 32, form << 48, 1 << 56 for IPv6 */
};

/* Two cache lines: the keys of one hash (bpf/index.h). */
struct index_row {
	struct bpf_spin_lock lock;
	__u32 spilled; /* keys of this row that are in the tuple maps, for want of room, or on their way there
			  (24 bits), and how often one has come there (8 bits) */
	__u64 pad;
	struct index_cell cells[INDEX_CELLS];
};

/* Value of index_head: written before the first packet, and never again. */
struct index_head {
	__u32 rows; /* entries of tuple_index */
	__u32 zero; /* as the settings' */
	__u32 secrets[INDEX_SECRETS];
};

enum { HINTS_IN_ROW = 4 };

/* Value of the map of hints: each names one of a flow's tuples (bpf/hint.h). */
struct hint_row {
	__u32 hints[HINTS_IN_ROW];
};

/* What TCP's window tracking knows of one sender (RFC 9293 section 3.3.1, names after Netfilter's). */
struct tcp_sender {
	__u32 end;    /* highest sequence number sent, plus one */
	__u32 maxend; /* highest sequence number that its peer has allowed it, plus one */
	__u32 maxwin; /* largest window that it has offered, scaled */
	__u32 maxack; /* highest acknowledgement that it has sent */
};

/*
 * The reply side's part lies as far behind the original's as its bytes behind the original's, so that BPF
 * reaches all of a side by one pointer. What is not a side's own fills the room between. 48 bytes.
 */
struct tcp_track {
	struct tcp_sender original;
	__u8 original_flags;   /* enum tcp_sender_flags, bpf/tcp.h */
	__u8 original_unacked; /* 1: has sent what was not acknowledged yet */
	__u8 scale;	/* window scales: low nibble the original side's, high nibble the reply side's */
	__u8 last_kind; /* SYN, ACK, FIN and RST bits of the last segment, 0: there was none; bit 7: its
			   direction */
	__u32 last_end; /* of the last ACK that was believed, or the last segment that was not: end of its
			   sequence space */
	struct tcp_sender reply;
	__u8 reply_flags;
	__u8 reply_unacked;
	__u8 retrans;	 /* how often the last ACK has come again, at most 255 */
	__u8 notes;	 /* enum tcp_notes, bpf/tcp.h */
	__u32 last_mark; /* of the segment of last_end: of an ACK that was believed what tells it from others
			    (bpf/tcp.h, tcp_mark), of a SYN that was not its window and options, of what
			    else was not its acknowledgement, inverted */
};

/* What is known of an SCTP association; lies where a TCP flow has its tcp_track (bpf/flow_sctp.h). */
struct sctp_track {
	__u32 vtag[CT_DIR_COUNT]; /* verification tag of each direction's packets, as on the wire; 0: not
				     known */
	__u8 notes;		  /* enum sctp_notes, bpf/sctp.h */
	__u8 pad[3];
};

/* What a flow has sent in one direction. */
struct flow_count {
	__u64 packets;
	__u64 bytes; /* of the IP packets, headers included */
};

/*
 * One flow: the part that both families share. 104 bytes, and not one more: with its tuples an IPv4 flow is
 * two cache lines, where the map begins at one (it does where it can be mapped, Linux 5.5). What a packet
 * needs which is no segment, and goes with the flow, is all in the second; TCP's track and the replies' count
 * are the first. What no usual packet needs is elsewhere (struct flow_extra).
 *
 * lock: ownership of the slot, two counters that are only added to and taken from atomically (enum
 * flow_lock). claim: whoever adds 1 and then reads 1 owns the slot; a slot in use keeps its 1. An endpoint
 * has 1 more for each of its flows. kill:  whoever adds 1 and then reads 1 may tear the flow down. See
 * bpf/slot.h for why this is a lock on kernels without compare-and-swap.
 *
 * An endpoint (CT_ENDPOINT) is a slot as well, with tuples of its own: original from the inside endpoint to
 * the outside address at port 0, reply from 0 to the outside endpoint (bpf/endpoint.h). Its deadline says how
 * long it takes in strangers.
 */
struct flow {
	struct tcp_track tcp;
	struct flow_count counts[CT_DIR_COUNT]; /* the replies' first (bpf/slot.h, counts_of) */
	__u32 created;				/* tick */
	__u32 lock;
	__u32 deadline; /* tick after which the flow no longer matches */
	__u16 gen;
	__u16 status; /* enum ct_status */
	__u8 proto;
	__u8 state; /* enum ct_tcp_state, enum ct_sctp_state; for ICMP the request's type */
	__u8 nat;   /* enum nat_type and enum nat_limit */
	__u8 flags; /* enum flow_flags */
	__u16 zone; /* of both tuples, or of the one that the flags leave it to */
	__u16 rule; /* id of the NAT rule that made the mapping, 0 for none */
};

/* More of a flow, of the same slot, and owned with it. */
struct flow_extra {
	__u32 ifindex; /* whose hook created the flow: the outgoing one where the source is translated */
	__u32 mark;
};

enum flow_lock {
	LOCK_CLAIM = 1,
	LOCK_KILL = 1 << 20,	/* above it: kill, up to 1,023; below: claim */
	LOCK_OPENING = 1 << 30, /* who makes an endpoint holds the kill half, and its inside key is next */
	LOCK_CLAIM_MASK = LOCK_KILL - 1,
};

enum flow_flags {
	FLOW_LOCAL_KEY = 1 << 0,	    /* its original tuple's key carries KEY_LOCAL */
	FLOW_MIDDLE_KEY = 1 << 1,	    /* it also has a key of form FORM_MIDDLE */
	FLOW_AT_INGRESS = 1 << 2,	    /* created at an ingress hook: the source has not been judged */
	FLOW_SOURCE_ENDPOINT = 1 << 3,	    /* its outside source is an endpoint's, which counts it */
	FLOW_DESTINATION_ENDPOINT = 1 << 4, /* its outside destination is, that it came in by */
	FLOW_ENDPOINT = 1 << 5,		    /* it is an endpoint, or about to be one */
	/* one of the two: the flow is between its zone and zone 0, also an untranslated one has two keys */
	FLOW_ZONE_REPLY = 1 << 6,    /* the zone is the reply tuple's alone */
	FLOW_ZONE_ORIGINAL = 1 << 7, /* the zone is the original tuple's alone */
	FLOW_ZONE_MASK = FLOW_ZONE_REPLY | FLOW_ZONE_ORIGINAL,
};

struct flow4 {
	struct flow head;
	struct tuple4 tuple[CT_DIR_COUNT];
};

struct flow6 {
	struct flow head;
	struct tuple6 tuple[CT_DIR_COUNT];
};

/* Why a packet was dropped or passed by; each has a counter per direction. CLI names are these in lower case.
 */
enum reason {
	REASON_FORWARDED,	    /* tracked and let through */
	REASON_DEFERRED,	    /* first packet of a flow that is born where it leaves: let through */
	REASON_RELATED,		    /* ICMP error about a flow: translated like its packets */
	REASON_UNTRACKED_PROTO,	    /* protocol that is not tracked: passed as it came */
	REASON_UNTRACKED_MULTICAST, /* multicast, broadcast or no source address: passed as it came */
	REASON_UNTRACKED_VLAN,	    /* tagged frame: belongs to the VLAN interface, attach there */
	REASON_UNTRACKED_ETHERTYPE, /* neither IPv4 nor IPv6 */
	REASON_PASSED_INVALID,	    /* no flow and none may begin with it; nothing to translate: passed */
	REASON_PASSED_FRAGMENT,	    /* fragment of a datagram whose first fragment was not seen, nothing to
				       translate */
	REASON_UNTRACKED_RULE,	    /* a rule for tracking says so: passed as it came */
	REASON_DROP_FIRST = 64,
	REASON_DROP_INVALID =
		REASON_DROP_FIRST, /* no flow, none may begin with it, and it may not leave untranslated */
	REASON_DROP_TRUNCATED,	   /* headers shorter than they say */
	REASON_DROP_FRAGMENT, /* a fragment that can't be matched to its first one may not leave untranslated
			       */
	REASON_DROP_NO_PORT,  /* no free external port or identifier */
	REASON_DROP_NO_ADDRESS,	 /* the masquerading interface has no address */
	REASON_DROP_TABLE_FULL,	 /* no slot is free and no flow that is not assured could give way */
	REASON_DROP_TUPLE_MAP,	 /* there was no room for the key */
	REASON_DROP_CLASH,	 /* the packet has the tuple of another flow's translated side */
	REASON_DROP_REWRITE,	 /* the packet could not be rewritten */
	REASON_DROP_RACE,	 /* lost a race with another CPU more often than it may retry */
	REASON_DROP_INTERNAL,	 /* a map or program that must be there is missing */
	REASON_DROP_PORT_SEARCH, /* the search for a port is not at its end; the flow's next packet goes on
				    with it */
	REASON_DROP_PORT_FIXED,	 /* the outside port or address is taken, and the protocol's port can't change
				  */
	REASON_DROP_ZONE,	 /* from one zone into another, or routed out of its flow's */
	REASON_DROP_FILTERED, /* from outside to an endpoint-independent mapping whose filter lets nobody in
				 from there */
	REASON_DROP_LIMIT_PORTS, /* the subscriber has as many translated flows as it may have */
	REASON_DROP_LIMIT_RATE,	 /* the subscriber begins translated flows faster than it may */
	REASON_COUNT = 128,
};

/*
 * Entries of the metrics map that are no reasons. METRIC_NEW: of the packets that a flow was found or made
 * for, and were counted by their own reason, those of class NEW (docs/conntrack.md tells the classes of the
 * others).
 */
enum metric_extra { METRIC_NEW = REASON_DROP_FIRST - 1 };

struct metric {
	__u64 packets;
	__u64 bytes;
};

/* Hook directions in the metrics map: index = reason * 2 + direction. */
enum hook_dir {
	HOOK_INGRESS,
	HOOK_EGRESS,
	HOOK_DIR_COUNT,
};

/* Index of a per-CPU event counter in the counters map. */
enum counter {
	COUNTER_CREATED,  /* flows created */
	COUNTER_EXPIRED,  /* torn down by a sweep */
	COUNTER_REPLACED, /* expired or closed, torn down by the packet that needed the tuple or the slot */
	COUNTER_EVICTED,  /* not assured, gave way to a new flow in a full table */
	COUNTER_DELETED,  /* by command */
	COUNTER_CLOSED,	  /* TCP connections refused before any other reply: gone at once */
	COUNTER_CLASH_JOINED,	   /* two first packets raced, the loser joined the winner's flow */
	COUNTER_INSERTED,	   /* made by command, without a packet */
	COUNTER_ADDRESS,	   /* masqueraded with an address that its interface has no more */
	COUNTER_ENDPOINTS_OPENED,  /* endpoint-independent mappings made */
	COUNTER_ENDPOINTS_CLOSED,  /* and ended */
	COUNTER_ENDPOINT_ADMITTED, /* flows begun from outside by a mapping's filter */
	COUNTER_UNLIMITED,	   /* begun without being counted: no more subscribers could be told apart */
	COUNTER_COUNT = 16,
};

enum { NAT_RETRIES_BUCKETS = 34 }; /* 0..32 retries, last: refused */

enum iface_flags {
	IFACE_MASQUERADE4 = 1 << 0,
	IFACE_MASQUERADE6 = 1 << 1,
	IFACE_SNAT4 = 1 << 2, /* masquerades, or a source NAT rule names it: nothing leaves unjudged */
	IFACE_SNAT6 = 1 << 3,
	IFACE_EIM = 1 << 4, /* some protocol's mapping is endpoint-independent */
};

/* Where in iface.filtering a protocol's enum nat_filtering is: two bits each. */
enum iface_filtering {
	IFACE_FILTERING_TCP_SHIFT = 0,
	IFACE_FILTERING_UDP_SHIFT = 2,
	IFACE_FILTERING_MASK = 3,
};

/* A power of 2. Each that is full costs a new flow four tail calls of its 32. */
enum { IFACE_PORT_RANGES = 4 };

/* One attached interface; key: its ifindex. */
struct iface {
	__u32 flags;  /* enum iface_flags */
	__be32 addr4; /* what masquerade puts in, 0: none, new flows are refused */
	__be32 addr6[4];
	__u16 port_min[IFACE_PORT_RANGES]; /* of masquerade, host order, each range's lowest and highest */
	__u16 port_max[IFACE_PORT_RANGES];
	__u16 port_ranges; /* how many there are; 0: keep the port's class */
	__u8 mapping_tcp;  /* enum nat_mapping_mode */
	__u8 mapping_udp;
	__u8 mapping_icmp;
	__u8 filtering; /* enum nat_filtering of each protocol, by enum iface_filtering */
	__u8 pad[2];
	char name[16];
	__u16 mss; /* greatest that a SYN may announce here, host order; 0: any; MSS_OF_PATH */
	__u16 mtu; /* of the interface, 65535 at most; 0: not known */
	/* what one subscriber may have, behind this interface */
	__u32 limit_ports;  /* translated flows, or endpoint-independent mappings; 0: any number */
	__u32 limit_rate;   /* new ones a tick, in units of 2^-LIMIT_TOKEN_SHIFT; 0: any number */
	__u16 limit_burst;  /* new ones at once */
	__u16 limit_prefix; /* enum nat_limit for IPv6 sources; 0: the interface has no limits */
};

enum { LIMIT_TOKEN_SHIFT = 16 };

/* Who is limited: the inside address, or its IPv6 prefix, behind one outgoing interface. */
struct subscriber_key {
	__be32 addr[4]; /* IPv4: word 0 */
	__u32 ifindex;
	__u16 zone;  /* of its packets */
	__u8 family; /* 4 or 6 */
	__u8 prefix; /* enum nat_limit */
};

struct subscriber {
	__u32 flows;  /* translated flows and mappings that are counted; signed: below 0 after some were taken
			 off twice */
	__u32 tokens; /* new flows that it may begin now, in units of 2^-LIMIT_TOKEN_SHIFT */
	__u32 tick;   /* of its last new flow; tokens are of this time */
	__u32 pad;
	__u64 refused_ports; /* packets that would have begun one */
	__u64 refused_rate;
};

enum { MSS_OF_PATH = 0xffff }; /* what the path's MTU leaves room for */

/* How the programs may forward an interface's packets past the stack. */
enum forward_port_flags {
	FORWARD_PORT_NATIVE = 1 << 0, /* the program at XDP runs in the driver, else in the stack (generic) */
	FORWARD_PORT_SENDS = 1 << 1,  /* the driver takes packets that another interface's has received */
	FORWARD_PORT_RP_LOOSE = 1 << 2,	 /* rp_filter: the way back to the source must exist */
	FORWARD_PORT_RP_STRICT = 1 << 3, /* ... and lead through this interface */
	FORWARD_PORT_XDP = 1 << 4,	 /* XDP mode: at XDP */
	FORWARD_PORT_REDIRECT = 1 << 5,	 /* at TC */
	FORWARD_PORT_NO_IPV6 = 1 << 6, /* the stack forwards no IPv6 of it, which the lookup does not know */
};

/* One interface that forwards past the stack; index: the low bits of its ifindex. */
struct forward_port {
	__u32 ifindex;
	__u8 mac[6]; /* at XDP a frame to another one is the stack's */
	__u8 flags;  /* enum forward_port_flags */
	__u8 pad;
	__u16 mtu; /* of IPv4; as it was when the interface was attached */
	__u16 mtu6;
};

enum { FORWARD_PORTS_MAX = 4096 }; /* a power of 2 */

/*
 * How long a neighbour may be sent to past the stack before a packet goes there, 8.6 s: the stack doubts a
 * neighbour that it uses and has not heard of (RFC 4861 section 7.3.3), one that it does not use it never
 * asks.
 */
enum { NEIGHBOUR_TICKS = 512, NEIGHBOURS_MAX = 4096 /* a power of 2 */ };

enum nat_rule_kind {
	NAT_RULE_NONE,
	NAT_RULE_SNAT,
	NAT_RULE_MASQUERADE,
	NAT_RULE_DNAT,
	NAT_RULE_REDIRECT,   /* as DNAT, to the incoming interface's own address */
	NAT_RULE_NETMAP_OUT, /* source prefix to prefix, host bits kept */
	NAT_RULE_NETMAP_IN,  /* its other direction: destination */
};

enum nat_rule_flags {
	NAT_RULE_HAIRPIN = 1 << 0, /* also for what comes in by another interface: then the source is
				      translated as well (RFC 4787 REQ-9) */
	NAT_RULE_NEUTRAL = 1 << 1, /* netmap leaves the sum of the address as it was (RFC 6296) */
	NAT_RULE_SPILL = 1 << 2,   /* a host whose address has no port left gets another one of the pool */
};

/* One address of a pool with one range of its ports. An address's entries stand side by side. */
struct pool_entry {
	__be32 addr[4];
	__u16 port_min; /* host order; both 0: keep the port's class */
	__u16 port_max;
	__u16 place;  /* among the entries of its address, from 0 */
	__u16 places; /* how many there are */
};

enum { POOL_ENTRIES_PER_BANK = 8192 };

/* A NAT rule; the first of its bank that matches a new flow decides. Prefixes are given as value and mask. */
struct nat_rule {
	__u16 id;
	__u8 kind;   /* enum nat_rule_kind */
	__u8 family; /* 4 or 6 */
	__u8 proto;  /* 0: any */
	__u8 flags;  /* enum nat_rule_flags */
	__u8 pad[2];
	__u32 ifindex; /* outgoing for SNAT, incoming for DNAT; 0: any */
	__u32 mark;    /* of the packet, as far as mark_mask covers it */
	__u32 mark_mask;
	__be32 saddr[4];
	__be32 smask[4];
	__be32 daddr[4];
	__be32 dmask[4];
	__u16 dport_min; /* host order, inclusive; 0-65535: any */
	__u16 dport_max;
	__u16 to_port_min; /* host order; both 0: keep the port */
	__u16 to_port_max;
	__be32 to_min[4]; /* address range, inclusive; netmap: the prefix, whose mask is that of the other
			     side */
	__be32 to_max[4];
	__u32 pool_first; /* index into nat_pools; the addresses above do not count then */
	__u32 pool_size;  /* 0: no pool */
};

enum { NAT_RULES_PER_BANK = 256 };

enum track_rule_kind {
	TRACK_RULE_NONE,
	TRACK_RULE_NOTRACK, /* the packet is passed as it came */
	TRACK_RULE_SET,	    /* the flow gets a mark */
	TRACK_RULE_SAVE,    /* the flow gets the packet's mark */
	TRACK_RULE_RESTORE, /* the packet gets the flow's mark */
};

/*
 * A rule for tracking. What it does not restrict has a mask of 0, or ports 0-65535. Compared by 64 bits, a
 * word and the one behind it.
 */
struct track_rule {
	__be32 saddr[4];
	__be32 smask[4];
	__be32 daddr[4];
	__be32 dmask[4];
	__u32 in;  /* ifindex that the packet came in by */
	__u32 out; /* that it leaves by */
	__u32 in_mask;
	__u32 out_mask;
	__u32 mark; /* of the packet */
	__u32 proto;
	__u32 mark_mask;
	__u32 proto_mask;
	__u32 value;	  /* TRACK_RULE_SET: what the flow's mark gets */
	__u32 value_mask; /* the bits of it that change */
	__u16 sport_min;  /* host order, inclusive */
	__u16 sport_max;
	__u16 dport_min;
	__u16 dport_max;
	__u16 id;
	__u8 kind; /* enum track_rule_kind */
	__u8 pad[5];
};

enum { TRACK_RULES_MAX = 32 /* one bit each */ };

/* All of them, in order; of each kind the first that matches acts. A bit stands for a rule, the lowest for
 * the first. */
struct track_rules {
	__u32 count;
	__u32 notrack;
	__u32 change; /* set and save */
	__u32 restore;
	__u32 out; /* asked only where the packet leaves */
	__u32 ipv4;
	__u32 ipv6;
	__u32 pad;
	struct track_rule rule[TRACK_RULES_MAX];
};

enum settings_flags {
	SETTING_TCP_LOOSE = 1 << 0,   /* a connection may be picked up in the middle */
	SETTING_TCP_LIBERAL = 1 << 1, /* sequence numbers out of window are let through */
	SETTING_TCP_IGNORE_INVALID_RST = 1 << 2,
	SETTING_EIM = 1 << 3,	 /* an interface has endpoint-independent mappings */
	SETTING_ZONES = 1 << 4,	 /* an interface has a zone */
	SETTING_LIMITS = 1 << 5, /* an interface limits its subscribers */
	SETTING_TRACK = 1 << 6,	 /* there are rules for tracking */
};

/* What is told to those who listen. */
enum event_type {
	EVENT_NEW,     /* a flow has begun */
	EVENT_UPDATE,  /* its state, status or translation has changed */
	EVENT_DESTROY, /* it has ended */
	EVENT_DROP,    /* a packet was dropped */
	EVENT_TYPE_COUNT,
};

/* Why a flow ended. */
enum event_cause {
	CAUSE_EXPIRED,	/* past its deadline, met by a sweep */
	CAUSE_CLOSED,	/* the same, of a TCP connection in TIME_WAIT or CLOSE */
	CAUSE_REPLACED, /* over, and in the way of a new flow */
	CAUSE_EVICTED,	/* not assured, gave way to a new flow in a full table */
	CAUSE_DELETED,	/* by command */
	CAUSE_FLUSHED,	/* by command, with all others */
	CAUSE_ADDRESS,	/* its interface has another address now */
};

enum event_limits {
	EVENT_READERS = 8,	    /* at a time; a bit each in settings.events */
	EVENT_RING_BYTES = 4 << 20, /* of a reader's ring buffer */
	EVENT_CPUS = 1024,	    /* of a reader's perf buffer */
	EVENT_DROPS_PER_TICK = 8,   /* told of one reason on one CPU */
	EVENT_DROP_REASONS = 64,    /* enum reason from REASON_DROP_FIRST on */
};

/* One event, as it lies in a reader's buffer. Of EVENT_DROP the tuple is the packet's, in tuple[0]. */
struct event {
	__u64 time;	/* ns of CLOCK_MONOTONIC */
	__u64 sequence; /* of this reader's events on this CPU, from 1, the lost ones included */
	__u32 cpu;
	__u8 type;   /* enum event_type */
	__u8 cause;  /* enum event_cause; EVENT_DROP: enum reason */
	__u8 family; /* 4 or 6 */
	__u8 hook;   /* EVENT_DROP: enum hook_dir */
	__u32 slot;
	__u16 gen;
	__u16 status; /* enum ct_status */
	__u8 proto;
	__u8 state; /* as in struct flow; EVENT_DROP: the ICMP type */
	__u8 nat;   /* as in struct flow */
	__u8 flags; /* enum flow_flags */
	__u16 zone;
	__u16 rule;
	__u32 created;	/* tick */
	__u32 deadline; /* tick */
	__u32 ifindex;	/* EVENT_DROP: the hook's */
	__u32 mark;
	__u32 suppressed; /* EVENT_DROP: packets of this reason on this CPU that were not told since the last
			   */
	__u32 length;	  /* EVENT_DROP: bytes of the IP packet, as it says */
	__u64 packets[CT_DIR_COUNT];
	__u64 bytes[CT_DIR_COUNT];
	struct tuple6 tuple[CT_DIR_COUNT]; /* IPv4: word 0 of the addresses, the others 0 */
};

/* Which events a reader wants; a zero takes all. Types are bits in settings.events. */
struct event_reader {
	__u8 family; /* 4 or 6 */
	__u8 proto;
	__u8 pad[2];
	__be32 saddr[4]; /* of the original tuple, under these masks; with family */
	__be32 smask[4];
	__be32 daddr[4];
	__be32 dmask[4];
};

/* Per reader and CPU. */
struct event_count {
	__u64 sequence; /* of the last event */
	__u64 lost;	/* events that found no room in the buffer */
};

/* Per drop reason and CPU: how many have been told in a tick. */
struct event_allowance {
	__u32 tick;
	__u32 told;
	__u32 suppressed; /* since the last that was told */
};

/* The one entry of the settings map. */
struct settings {
	__u32 layout; /* LAYOUT_VERSION */
	__u32 flags;  /* enum settings_flags */
	__u32 slots4; /* entries of flows4 that may be used */
	__u32 slots6;
	__u32 rule_bank;		  /* 0 or 1: which half of nat_rules holds */
	__u32 rule_count;		  /* rules in it */
	__u32 timeouts[CT_TIMEOUT_COUNT]; /* ticks */
	__u8 events[EVENT_TYPE_COUNT];	  /* by type: the readers that want it, a bit each */
	__u8 tcp_max_retrans;
	__u8 track_bank; /* which entry of track_rules holds */
	__u16 outsides;	 /* by ifindex % 16: where flows leave whose source is translated (bpf/home.h) */
	__u32 zero;	 /* always 0, which only the verifier does not know (bpf/compiler.h, blur) */
	__u32 hint_rows; /* entries of hints */
};

/* What the sweep program does to the flows that it meets. */
enum sweep_mode {
	SWEEP_EXPIRED, /* past its deadline by more than the grace */
	SWEEP_ALL,     /* every flow */
	SWEEP_ONE,     /* the flow in slot `slot`, if its generation is `gen` */
	SWEEP_ADDRESS, /* the same, because its outside address is gone */
};

/* First bytes of the packet handed to the control programs by BPF_PROG_TEST_RUN, and of what it returns. */
struct sweep_request {
	__u8 ether[16]; /* a test run insists on a link header */
	__u32 mode;
	__u32 family; /* 4 or 6 */
	__u32 cursor; /* in: first slot; out: where the next run begins */
	__u32 limit;  /* one past the last slot */
	__u32 slot;
	__u16 gen;
	__u16 pad;
	__u32 looked; /* out, added up over repeats: slots looked at, flows alive, flows torn down */
	__u32 live;
	__u32 deleted;
	__u32 endpoints; /* and endpoints closed */
};

/* What the edit program does with one flow. */
enum edit_op {
	EDIT_INSERT, /* makes the flow in slot `slot`, which is free */
	EDIT_UPDATE, /* changes what `fields` names of the flow in slot `slot` of generation `gen` */
	EDIT_OPEN,   /* makes the endpoint in slot `slot`, which is free; `status` and `timeout` hold */
	EDIT_KEEP,   /* gives the endpoint in slot `slot` of generation `gen` that status and timeout */
	EDIT_FREE,   /* frees cell `held_gen` of row `held_slot` of the index, which leads to that slot and
			generation; INDEX_CELLS: a key of the row has left the tuple map */
};

enum edit_fields {
	EDIT_TIMEOUT = 1 << 0,
	EDIT_MARK = 1 << 1,
	EDIT_STATUS = 1 << 2, /* bits are added, none is taken away */
	EDIT_STATE = 1 << 3,
	EDIT_ZERO = 1 << 4, /* packets and bytes are taken off the flow's counters */
};

/* What has become of it. */
enum edit_result {
	EDIT_PENDING, /* the program has not run */
	EDIT_DONE,
	EDIT_GONE,	 /* there is no such flow any more */
	EDIT_BUSY,	 /* another CPU holds it: again */
	EDIT_SLOT_TAKEN, /* the slot is not free: another one */
	EDIT_EXISTS,	 /* a tuple is another flow's, whose slot and generation are held_slot and held_gen */
	EDIT_NO_ROOM,	 /* there was no room for the key */
	EDIT_LIMIT,	 /* EDIT_OPEN: the subscriber has as many ports as it may have */
};

/* The "packet" of the edit program, and what it returns. Tuples of IPv4 have their addresses in word 0. */
struct edit_request {
	__u8 ether[16]; /* a test run insists on a link header */
	__u64 packets[CT_DIR_COUNT];
	__u64 bytes[CT_DIR_COUNT];
	__u32 op;
	__u32 result;
	__u32 slot;
	__u32 fields;
	__u32 timeout; /* ticks from now */
	__u32 mark;
	__u32 mark_mask; /* EDIT_UPDATE: bits that are cleared before mark is added without carry */
	__u32 held_slot;
	__u16 held_gen;
	__u16 gen; /* EDIT_INSERT returns it */
	__u16 status;
	__u16 zone;
	__u8 proto;
	__u8 state;
	__u8 nat;
	__u8 flags;
	struct tuple6 tuple[CT_DIR_COUNT];
	__u32 ifindex;		  /* EDIT_OPEN: the outgoing interface */
	__u32 vtag[CT_DIR_COUNT]; /* EDIT_INSERT: SCTP's verification tags, as in struct sctp_track */
};

/* Labels of a flow, kept by userspace alone. Key: which flow. */
struct label_key {
	__u32 slot;
	__u16 gen;
	__u8 family; /* 4 or 6 */
	__u8 pad;
};

struct label_set {
	__u64 bits[2]; /* labels 0 to 63, 64 to 127 */
};

#endif
