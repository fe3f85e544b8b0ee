/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ctnat's datapath as a tracker: the hooks as they are shipped, run by BPF_PROG_TEST_RUN behind
 * bpf/test/harness.bpf.c, in the order in which a forwarded packet meets them. It is started inside a
 * router's network namespace, whose routes the hooks ask:
 *
 *   datapath IFINDEX-A IFINDEX-B IFINDEX-C ROUTER-MAC LOCAL-ADDRESS...
 *
 * What is addressed to a local address (in hex) is not forwarded. The objects come as open files, by enum fd.
 */
#define _GNU_SOURCE
#include "tracker.h"
#define inline_ static inline
#define UNROLL
#define hide(x) (void)(x)
#include "index_hash.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum fd {
	FD_HARNESS = 3, /* program harness_step, whose hooks are the datapath's */
	FD_SWEEP4,
	FD_SWEEP6,
	FD_TUPLES4,
	FD_TUPLES6,
	FD_INDEX,
	FD_INDEX_HEAD,
	FD_FLOWS4,
	FD_FLOWS6,
	FD_METRICS,
	FD_SETTINGS,
};

enum {
	HARNESS_MAGIC = 0x63746e61, /* bpf/test/harness.bpf.c: the request's and the answer's last word */
	DATA_MAX = 1024,	    /* bytes of a frame that are handed over; the harness adds zeros */
	LAST_PACKET_TICKS = 1,	    /* bpf/flow_tcp.h: a flow with so little left has seen its last packet */
	CPUS_MAX = 256,
	LOCAL_MAX = 16,
	INDEX_ROWS_MAX = 16384,
};

static __u32 ifindex[SIDES];
static uint8_t router_mac[ETH_ALEN];
static struct {
	uint8_t bytes[16];
	long length;
} local[LOCAL_MAX];
static int locals;
static uint32_t cpus;

static int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static bool map_get(int map, const void *key, void *value)
{
	union bpf_attr attr = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};

	if (!bpf(BPF_MAP_LOOKUP_ELEM, &attr))
		return true;
	if (errno != ENOENT)
		die("map look-up");
	return false;
}

static void map_put(int map, const void *key, const void *value)
{
	union bpf_attr attr = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};

	if (bpf(BPF_MAP_UPDATE_ELEM, &attr))
		die("map update");
}

/* The datapath's clock (bpf/clock.h), in the flavour that takes the coarse one as well as in the others. */
static __u32 clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (now.tv_sec * 1000000000ULL + now.tv_nsec) >> TICK_SHIFT;
}

/* --- flows --- */

/* A flow of either family as it lies in its map. */
union flow_any {
	struct flow head;
	struct flow4 v4;
	struct flow6 v6;
};

struct place {
	bool found;
	__u32 slot;
	union flow_any flow;
};

static __u8 icmp_kind(uint32_t query)
{
	switch (query) {
	case 13:
		return ICMP_KIND_TIMESTAMP;
	case 15:
		return ICMP_KIND_INFO;
	case 17:
		return ICMP_KIND_ADDRESS;
	default:
		return ICMP_KIND_ECHO;
	}
}

union key_any {
	struct tuple4_key v4;
	struct tuple6_key v6;
};

/* The key of a tuple: endpoints in order, as numbers in memory order (bpf/tuple.h). */
static void key_make(const struct watch *watch, union key_any *key)
{
	const struct endpoints *t = &watch->tuple;
	__u16 sport = t->sport, dport = watch_is_icmp(watch) ? t->sport : t->dport;
	__u8 flags = watch_is_icmp(watch) ? icmp_kind(ntohs(t->dport)) << KEY_ICMP_SHIFT : 0;
	int words = watch->family == 4 ? 1 : 4, order = 0;
	__u32 a[4], b[4];

	memcpy(a, t->source, 16);
	memcpy(b, t->destination, 16);
	for (int i = 0; i < words && !order; i++)
		order = (a[i] > b[i]) - (a[i] < b[i]);
	if (!order)
		order = (sport > dport) - (sport < dport);
	memset(key, 0, sizeof(*key));
	if (watch->family == 4) {
		key->v4.addr[order > 0] = a[0];
		key->v4.addr[order <= 0] = b[0];
		key->v4.port[order > 0] = sport;
		key->v4.port[order <= 0] = dport;
		key->v4.proto = watch->proto;
		key->v4.flags = flags;
	} else {
		memcpy(key->v6.addr[order > 0], a, 16);
		memcpy(key->v6.addr[order <= 0], b, 16);
		key->v6.port[order > 0] = sport;
		key->v6.port[order <= 0] = dport;
		key->v6.proto = watch->proto;
		key->v6.flags = flags;
	}
}

static void endpoints_take(const struct place *place, bool v6, int dir, struct endpoints *to)
{
	if (v6) {
		const struct tuple6 *t = &place->flow.v6.tuple[dir];

		memcpy(to->source, t->saddr, 16);
		memcpy(to->destination, t->daddr, 16);
		to->sport = t->sport;
		to->dport = t->dport;
	} else {
		const struct tuple4 *t = &place->flow.v4.tuple[dir];

		memcpy(to->source, &t->saddr, 4);
		memcpy(to->destination, &t->daddr, 4);
		to->sport = t->sport;
		to->dport = t->dport;
	}
}

/* As bpf/tuple.h finds it. */
static bool key_find(const union key_any *key, bool v6, struct tuple_ref *ref)
{
	int count = (v6 ? sizeof(key->v6) : sizeof(key->v4)) / sizeof(__u32);
	__u32 words[sizeof(*key) / sizeof(__u32)], which = 0;
	static struct index_head head;
	struct index_row row;
	__u64 tag;

	memcpy(words, key, sizeof(words));
	if (!head.rows)
		map_get(FD_INDEX_HEAD, &which, &head);
	if (head.rows) {
		which = index_hash(words, count, &head, &tag);
		if (!map_get(FD_INDEX, &which, &row))
			return false;
		for (int i = 0; i < INDEX_CELLS; i++) {
			if (row.cells[i].tag != tag || !row.cells[i].ref)
				continue;
			ref->slot = row.cells[i].ref;
			ref->gen = row.cells[i].ref >> 32;
			return true;
		}
	}
	return map_get(v6 ? FD_TUPLES6 : FD_TUPLES4, key, ref);
}

/* Keys in the index; before 5.12 it is one empty row. */
static uint32_t cells_count(void)
{
	static struct index_row rows[INDEX_ROWS_MAX];
	static __u32 keys[INDEX_ROWS_MAX], next;
	union bpf_attr attr = {.batch = {.out_batch = (uintptr_t)&next,
					 .keys = (uintptr_t)keys,
					 .values = (uintptr_t)rows,
					 .count = INDEX_ROWS_MAX,
					 .map_fd = FD_INDEX}};
	struct index_head head;
	uint32_t found = 0;
	__u32 zero = 0;

	if (!map_get(FD_INDEX_HEAD, &zero, &head) || !head.rows)
		return 0;
	if (bpf(BPF_MAP_LOOKUP_BATCH, &attr) && errno != ENOENT)
		die("index");
	if (attr.batch.count != head.rows)
		die("the index has too many rows");
	for (__u32 i = 0; i < head.rows; i++)
		for (int j = 0; j < INDEX_CELLS; j++)
			found += rows[i].cells[j].tag != 0;
	return found;
}

/* Where the watched tuple leads, alive or not. A query's tuple is that of the flow which it began. */
static bool place_find(const struct watch *watch, struct place *place)
{
	bool v6 = watch->family == 6;
	struct tuple_ref ref;
	union key_any key;

	memset(place, 0, sizeof(*place));
	key_make(watch, &key);
	if (!key_find(&key, v6, &ref))
		return false;
	place->slot = ref.slot;
	if (!map_get(v6 ? FD_FLOWS6 : FD_FLOWS4, &ref.slot, &place->flow))
		return false;
	place->found = place->flow.head.gen == ref.gen && place->flow.head.status & CT_CONFIRMED;
	if (place->found && watch_is_icmp(watch)) {
		struct endpoints original = {};

		endpoints_take(place, v6, CT_DIR_ORIGINAL, &original);
		place->found = !memcmp(original.source, watch->tuple.source, 16);
	}
	return place->found;
}

/* The same, if the flow is alive and will be for another packet. */
static bool place_live(const struct watch *watch, struct place *place)
{
	return place_find(watch, place) &&
	       (__s32)(place->flow.head.deadline - clock_now()) > LAST_PACKET_TICKS;
}

/* A sender's flags in Netfilter's numbers: bit 4 is unacknowledged data, bit 5 that it has acknowledged. */
static uint32_t shown_flags(__u8 flags, __u8 unacked)
{
	return (flags & 0xf) | (unacked ? 0x10 : 0) | (flags & 0x10 ? 0x20 : 0);
}

static void tracker_entry(const struct watch *watch, struct entry *e)
{
	const struct tcp_track *track;
	struct place place;

	if (!place_live(watch, &place))
		return;
	e->found = true;
	e->state = place.flow.head.state;
	e->status = place.flow.head.status;
	e->timeout = (__u64)(place.flow.head.deadline - clock_now()) * (1 << TICK_SHIFT) / 1000000000;
	endpoints_take(&place, watch->family == 6, CT_DIR_ORIGINAL, &e->original);
	endpoints_take(&place, watch->family == 6, CT_DIR_REPLY, &e->reply);
	e->reversed = memcmp(e->original.source, watch->tuple.source, 16) != 0;
	if (watch->proto != IPPROTO_TCP)
		return;
	track = &place.flow.head.tcp;
	e->flags[0] = shown_flags(track->original_flags, track->original_unacked);
	e->flags[1] = shown_flags(track->reply_flags, track->reply_unacked);
	e->scale[0] = track->scale & 0xf;
	e->scale[1] = track->scale >> 4;
}

static void place_store(const struct watch *watch, const struct place *place)
{
	map_put(watch->family == 6 ? FD_FLOWS6 : FD_FLOWS4, &place->slot, &place->flow);
}

static bool tracker_age(const struct watch *watch, uint32_t seconds)
{
	struct place place;

	if (!place_live(watch, &place) || place.flow.head.status & CT_FIXED_TIMEOUT)
		return false;
	place.flow.head.deadline =
		clock_now() + (seconds ? (__u32)(seconds * 1000000000ULL >> TICK_SHIFT) : (__u32)-1);
	place_store(watch, &place);
	return true;
}

static bool tracker_fix(const struct watch *watch)
{
	struct place place;

	if (!place_live(watch, &place))
		return false;
	place.flow.head.status |= CT_FIXED_TIMEOUT;
	place_store(watch, &place);
	return true;
}

/* As `ctnat bpf ct delete` does it. */
static void tracker_delete(const struct watch *watch)
{
	struct sweep_request request = {.mode = SWEEP_ONE, .family = watch->family};
	union bpf_attr attr = {};
	struct place place;

	if (!place_find(watch, &place))
		return;
	request.slot = request.cursor = place.slot;
	request.limit = place.slot + 1;
	request.gen = place.flow.head.gen;
	attr.test.prog_fd = watch->family == 6 ? FD_SWEEP6 : FD_SWEEP4;
	attr.test.data_in = attr.test.data_out = (uintptr_t)&request;
	attr.test.data_size_in = attr.test.data_size_out = sizeof(request);
	if (bpf(BPF_PROG_TEST_RUN, &attr))
		die("sweep");
	if (request.deleted != 1) {
		errno = EBUSY;
		die("a flow that nothing else uses can't be deleted");
	}
}

static uint32_t keys_count(int map)
{
	union key_any key, next;
	union bpf_attr attr = {.map_fd = map, .key = 0, .next_key = (uintptr_t)&next};
	uint32_t found = 0;

	for (; !bpf(BPF_MAP_GET_NEXT_KEY, &attr); found++) {
		key = next;
		attr.key = (uintptr_t)&key;
	}
	if (errno != ENOENT)
		die("map walk");
	return found;
}

/* Keys, of which a flow has one or two: what matters is whether there are any. */
static uint32_t tracker_left(void)
{
	return keys_count(FD_TUPLES4) + keys_count(FD_TUPLES6) + cells_count();
}

static bool tracker_set(const char *name, uint32_t value)
{
	struct settings settings, before;
	__u32 zero = 0, flag;

	if (!map_get(FD_SETTINGS, &zero, &settings))
		return false;
	before = settings;
	if (!strcmp(name, "max-retrans")) {
		settings.tcp_max_retrans = value;
	} else {
		if (!strcmp(name, "loose"))
			flag = SETTING_TCP_LOOSE;
		else if (!strcmp(name, "liberal"))
			flag = SETTING_TCP_LIBERAL;
		else if (!strcmp(name, "ignore-invalid-rst"))
			flag = SETTING_TCP_IGNORE_INVALID_RST;
		else
			return !strcmp(name, "checksum"); /* never looked at */
		settings.flags = value ? settings.flags | flag : settings.flags & ~flag;
	}
	if (memcmp(&before, &settings, sizeof(settings)))
		map_put(FD_SETTINGS, &zero, &settings);
	return true;
}

/* --- packets --- */

struct walk {
	uint8_t data[DATA_MAX];
	uint32_t length; /* of the whole frame */
	uint32_t tc_index;
	bool passed;
};

static void step(struct walk *w, int hook, char at, char from)
{
	static uint8_t back[14 + PACKET_MAX];
	struct __sk_buff in = {}, out;
	union bpf_attr attr = {};

	in.ifindex = ifindex[at - 'a'];
	in.ingress_ifindex = ifindex[from - 'a'];
	in.cb[0] = hook;
	in.cb[1] = w->tc_index;
	in.cb[2] = w->length > DATA_MAX ? w->length : 0;
	in.cb[4] = HARNESS_MAGIC;
	attr.test.prog_fd = FD_HARNESS;
	attr.test.data_in = (uintptr_t)w->data;
	attr.test.data_size_in = w->length > DATA_MAX ? DATA_MAX : w->length;
	attr.test.data_out = (uintptr_t)back;
	attr.test.data_size_out = sizeof(back);
	attr.test.ctx_in = (uintptr_t)&in;
	attr.test.ctx_out = (uintptr_t)&out;
	attr.test.ctx_size_in = attr.test.ctx_size_out = sizeof(in);
	if (bpf(BPF_PROG_TEST_RUN, &attr))
		die("test run");
	if (out.cb[4] != HARNESS_MAGIC || attr.test.data_size_out != w->length) {
		fprintf(stderr, "the hook did not run: it returned %u, the frame has %u bytes and not %u\n",
			attr.test.retval, attr.test.data_size_out, w->length);
		exit(1);
	}
	memcpy(w->data, back, attr.test.data_size_in);
	w->passed = attr.test.retval != 2; /* TC_ACT_SHOT */
	w->tc_index = out.cb[0];
}

static bool is_local(const uint8_t *address, int length)
{
	for (int i = 0; i < locals; i++)
		if (local[i].length == length && !memcmp(local[i].bytes, address, length))
			return true;
	return false;
}

/* A counter over all processors. */
static __u64 reason_count(uint32_t reason, int hook)
{
	struct metric values[CPUS_MAX];
	uint32_t key = reason * HOOK_DIR_COUNT + hook;
	__u64 packets = 0;

	if (!map_get(FD_METRICS, &key, values))
		die("metrics");
	for (uint32_t cpu = 0; cpu < cpus; cpu++)
		packets += values[cpu].packets;
	return packets;
}

/* Which reason the last run of a hook has counted; REASON_COUNT: none. The usual ones are looked at first. */
static uint32_t last_reason(int hook)
{
	static const uint32_t usual[] = {REASON_FORWARDED, REASON_DEFERRED, REASON_PASSED_INVALID,
					 REASON_RELATED, REASON_DROP_INVALID};
	static __u64 before[REASON_COUNT][HOOK_DIR_COUNT];

	for (uint32_t i = 0; i < sizeof(usual) / sizeof(*usual) + REASON_COUNT; i++) {
		uint32_t reason =
			i < sizeof(usual) / sizeof(*usual) ? usual[i] : i - sizeof(usual) / sizeof(*usual);
		__u64 now;

		if (reason == METRIC_NEW) /* no reason: counted beside one */
			continue;
		now = reason_count(reason, hook);
		if (now == before[reason][hook])
			continue;
		before[reason][hook] = now;
		return reason;
	}
	return REASON_COUNT;
}

/* As Netfilter would call it; what a flow was before the packet tells NEW from ESTABLISHED. */
static const char *class_of(uint32_t reason, bool established)
{
	static char other[32];

	switch (reason) {
	case REASON_FORWARDED:
		return established ? "established" : "new";
	case REASON_RELATED:
		return "related";
	case REASON_PASSED_INVALID:
	case REASON_DROP_INVALID:
	case REASON_DROP_TRUNCATED:
		return "invalid";
	case REASON_UNTRACKED_PROTO:
	case REASON_UNTRACKED_MULTICAST:
		return "untracked";
	default:
		snprintf(other, sizeof(other), "reason-%u", reason);
		return other;
	}
}

static uint64_t packets_of(const struct place *place)
{
	return place->flow.head.counts[0].packets + place->flow.head.counts[1].packets;
}

/* Whether the packet, which a watched flow has taken, goes its flow's way back or after its first reply. */
static bool is_established(const struct packet_line *p, const struct sequence *s, const struct place *before)
{
	int length = p->family == 4 ? 4 : 16;
	const uint8_t *source = p->frame + 14 + (p->family == 4 ? 12 : 8);

	for (uint32_t i = 0; i < s->count; i++) {
		struct endpoints original;
		struct place after;

		if (!before[i].found)
			continue;
		if (!place_find(&s->watches[i], &after) || after.slot != before[i].slot ||
		    after.flow.head.gen != before[i].flow.head.gen)
			continue; /* it began a new one in this one's place */
		if (packets_of(&after) == packets_of(&before[i]))
			continue; /* it is another flow's */
		if (before[i].flow.head.status & CT_SEEN_REPLY)
			return true;
		endpoints_take(&before[i], p->family == 6, CT_DIR_ORIGINAL, &original);
		return memcmp(original.source, source, length) != 0;
	}
	return false;
}

static void tracker_packet(struct packet_line *p, const struct sequence *s, struct outcome *outcome)
{
	static struct walk w;
	struct place before[WATCHES_MAX];
	int length = p->family == 4 ? 4 : 16;
	uint8_t *destination = w.data + 14 + (p->family == 4 ? 16 : 24);
	uint32_t reason;
	char out = p->out;

	for (uint32_t i = 0; i < s->count; i++)
		before[i].found = place_live(&s->watches[i], &before[i]);
	memcpy(p->frame, router_mac, ETH_ALEN);
	memcpy(p->frame + 6,
	       (uint8_t[]){2, 0, 0, 0, 0, 0x99, p->family == 4 ? 0x08 : 0x86, p->family == 4 ? 0 : 0xdd}, 8);
	w.length = 14 + p->length;
	w.tc_index = 0;
	memcpy(w.data, p->frame, w.length < DATA_MAX ? w.length : DATA_MAX);
	step(&w, HOOK_INGRESS, p->in, p->in);
	reason = last_reason(HOOK_INGRESS);
	if (w.passed && out != '-' && !is_local(destination, length)) {
		step(&w, HOOK_EGRESS, out, p->in);
		reason = last_reason(HOOK_EGRESS);
		outcome->lost = !w.passed;
	}
	outcome->packet = w.data + 14;
	outcome->length = p->length;
	outcome->class = class_of(reason, is_established(p, s, before));
}

/* --- beginning --- */

/* How many values a per-CPU map has for each key. */
static uint32_t possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "r");
	unsigned first, last = 0;
	int got;

	if (!file)
		die("/sys/devices/system/cpu/possible");
	got = fscanf(file, "%u-%u", &first, &last);
	fclose(file);
	if (got < 1 || last >= CPUS_MAX) {
		errno = ENOTSUP;
		die("/sys/devices/system/cpu/possible");
	}
	return last + 1;
}

int main(int argc, char **argv)
{
	uint8_t *m = router_mac;

	if (argc < 5 || argc > 5 + LOCAL_MAX ||
	    sscanf(argv[4], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) {
		fprintf(stderr,
			"usage: datapath IFINDEX-A IFINDEX-B IFINDEX-C ROUTER-MAC LOCAL-ADDRESS...\n");
		return 2;
	}
	for (int i = 0; i < SIDES; i++)
		ifindex[i] = atoi(argv[i + 1]);
	for (; locals < argc - 5; locals++)
		local[locals].length = hex_read(argv[5 + locals], local[locals].bytes, 16);
	cpus = possible_cpus();
	tracker_serve();
	return 0;
}
