/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The running kernel's nf_conntrack as a tracker. It is started inside the router's network namespace and
 * told the other one, where the far ends of the router's links are:
 *
 *   netfilter ENDS-NAMESPACE ROUTER-MAC
 *
 * Packets are written as whole frames to interface side-a, -b or -c over there and read back from another.
 * The router's rules log each packet's class to NFLOG's group 7. Entries are read and changed by ctnetlink.
 * All work on a packet is done when send() returns, because veth hands it on within the sender's own
 * softirq; should ksoftirqd be at it, a second packet that follows it tells when it is through.
 */
#define _GNU_SOURCE
#include "tracker.h"

#include "../tcp/netlink.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOG_GROUP = 7,
	MARKER_PROTO = 253,	/* that of the packet that follows; the rules neither track nor log it */
	MARKER_AFTER_MS = 2000, /* it comes, or the router is broken */
	LOCAL_AFTER_MS = 20,	/* what no end sees may take this long to be judged */
};

static int ends[SIDES];
static uint8_t router_mac[ETH_ALEN];
static int conntrack, nflog, count;

static struct {
	const char *name;
	const char *path;
	int fd;
} sysctls[] = {
	{"loose", "nf_conntrack_tcp_loose", -1},
	{"liberal", "nf_conntrack_tcp_be_liberal", -1},
	{"ignore-invalid-rst", "nf_conntrack_tcp_ignore_invalid_rst", -1},
	{"max-retrans", "nf_conntrack_tcp_max_retrans", -1},
	{"checksum", "nf_conntrack_checksum", -1},
};

/* --- the entries --- */

static uint16_t value16be(const void *attribute)
{
	uint16_t number;

	memcpy(&number, value(attribute), 2);
	return number;
}

/* --- entries --- */

static void entry_message(struct message *m, int type, int flags, const struct watch *watch)
{
	bool v6 = watch->family == 6;
	int length = v6 ? 16 : 4, icmp = v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID;
	struct nlattr *tuple, *inner;

	message_begin(m, NFNL_SUBSYS_CTNETLINK << 8 | type, flags, v6 ? AF_INET6 : AF_INET);
	tuple = nest(m, CTA_TUPLE_ORIG);
	inner = nest(m, CTA_TUPLE_IP);
	attribute(m, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, watch->tuple.source, length);
	attribute(m, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, watch->tuple.destination, length);
	nest_end(m, inner);
	inner = nest(m, CTA_TUPLE_PROTO);
	attribute(m, CTA_PROTO_NUM, &watch->proto, 1);
	if (watch_is_icmp(watch)) {
		uint8_t query = ntohs(watch->tuple.dport), code = 0;

		attribute(m, icmp, &watch->tuple.sport, 2);
		attribute(m, icmp + 1, &query, 1);
		attribute(m, icmp + 2, &code, 1);
	} else {
		attribute(m, CTA_PROTO_SRC_PORT, &watch->tuple.sport, 2);
		attribute(m, CTA_PROTO_DST_PORT, &watch->tuple.dport, 2);
	}
	nest_end(m, inner);
	nest_end(m, tuple);
}

static void endpoints_take(const void *tuple, bool v6, uint8_t proto, struct endpoints *to)
{
	const void *ip = within(tuple, CTA_TUPLE_IP), *l4 = within(tuple, CTA_TUPLE_PROTO), *port;
	int length = v6 ? 16 : 4;

	memcpy(to->source, value(within(ip, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC)), length);
	memcpy(to->destination, value(within(ip, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST)), length);
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		to->sport = to->dport = value16be(within(l4, v6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID));
		return;
	}
	port = look(value(l4), value_length(l4), CTA_PROTO_SRC_PORT);
	if (port)
		to->sport = value16be(port);
	port = look(value(l4), value_length(l4), CTA_PROTO_DST_PORT);
	if (port)
		to->dport = value16be(port);
}

static void protocol_take(const void *info, struct entry *e)
{
	const void *part = look(value(info), value_length(info), CTA_PROTOINFO_TCP);

	if (part) {
		e->state = *value(within(part, CTA_PROTOINFO_TCP_STATE));
		e->flags[0] = *value(within(part, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)) & 0x3f;
		e->flags[1] = *value(within(part, CTA_PROTOINFO_TCP_FLAGS_REPLY)) & 0x3f;
		e->scale[0] = *value(within(part, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL));
		e->scale[1] = *value(within(part, CTA_PROTOINFO_TCP_WSCALE_REPLY));
		return;
	}
	part = look(value(info), value_length(info), CTA_PROTOINFO_SCTP);
	if (part)
		e->state = *value(within(part, CTA_PROTOINFO_SCTP_STATE));
}

static ssize_t entry_get(const struct watch *watch, uint8_t *answer, size_t room)
{
	struct message m;

	entry_message(&m, IPCTNL_MSG_CT_GET, 0, watch);
	return message_exchange(conntrack, &m, answer, room);
}

enum { BODY = NLMSG_HDRLEN + sizeof(struct nfgenmsg) };

static void tracker_entry(const struct watch *watch, struct entry *e)
{
	uint8_t answer[4096];
	ssize_t length = entry_get(watch, answer, sizeof(answer));
	const uint8_t *body = answer + BODY;
	bool v6 = watch->family == 6;
	const void *original, *info, *query;

	if (!length)
		return;
	length -= BODY;
	original = find(body, length, CTA_TUPLE_ORIG);
	endpoints_take(original, v6, watch->proto, &e->original);
	endpoints_take(find(body, length, CTA_TUPLE_REPLY), v6, watch->proto, &e->reply);
	e->found = true;
	e->status = value32(find(body, length, CTA_STATUS));
	e->timeout = value32(find(body, length, CTA_TIMEOUT));
	e->reversed = memcmp(&e->original.source, &watch->tuple.source, 16) != 0;
	info = look(body, length, CTA_PROTOINFO);
	if (info)
		protocol_take(info, e);
	if (watch_is_icmp(watch)) {
		query = within(original, CTA_TUPLE_PROTO);
		e->state = *value(within(query, v6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE));
	}
}

/* Changes one attribute of the entry. False: there is none, or its timeout is fixed. */
static bool entry_change(const struct watch *watch, int type, uint32_t number)
{
	struct message m;
	uint8_t answer[4096];

	number = htonl(number);
	entry_message(&m, IPCTNL_MSG_CT_NEW, NLM_F_ACK, watch);
	attribute(&m, type, &number, 4);
	return message_exchange(conntrack, &m, answer, sizeof(answer)) != 0;
}

static bool tracker_age(const struct watch *watch, uint32_t seconds)
{
	return entry_change(watch, CTA_TIMEOUT, seconds);
}

static bool tracker_fix(const struct watch *watch)
{
	uint8_t answer[4096];
	ssize_t length = entry_get(watch, answer, sizeof(answer));

	if (!length)
		return false;
	return entry_change(watch, CTA_STATUS,
			    value32(find(answer + BODY, length - BODY, CTA_STATUS)) | IPS_FIXED_TIMEOUT);
}

static void tracker_delete(const struct watch *watch)
{
	uint8_t answer[4096];
	struct message m;

	entry_message(&m, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, watch);
	message_exchange(conntrack, &m, answer, sizeof(answer));
}

static uint32_t number_read(int fd)
{
	char text[16] = {};

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		die("sysctl");
	return strtoul(text, NULL, 10);
}

static uint32_t tracker_left(void)
{
	return number_read(count);
}

static bool tracker_set(const char *name, uint32_t number)
{
	char text[12];

	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
		if (strcmp(sysctls[i].name, name))
			continue;
		if (number_read(sysctls[i].fd) == number)
			return true;
		if (pwrite(sysctls[i].fd, text, snprintf(text, sizeof(text), "%u\n", number), 0) < 0)
			die(sysctls[i].path);
		return true;
	}
	return false;
}

/* --- the wire --- */

static uint32_t sum16(uint32_t sum, const uint8_t *data, uint32_t length)
{
	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += data[i] << 8 | data[i + 1];
	return sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + sum;
}

/* Gives a forwarded packet its TTL back. The header's checksum must have been right and is again. */
static void packet_unforward(uint8_t *ip, const struct packet_line *sent)
{
	uint32_t header = (ip[0] & 0xf) * 4;
	uint16_t check;

	if (sent->family == 6) {
		ip[7] = sent->frame[14 + 7];
		return;
	}
	if (sum_fold(sum16(0, ip, header)) != 0xffff)
		return;
	ip[8] = sent->frame[14 + 8];
	ip[10] = ip[11] = 0;
	check = ~sum_fold(sum16(0, ip, header));
	ip[10] = check >> 8;
	ip[11] = check;
}

static void end_open(int *end, const char *iface)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int size = 4 << 20, one = 1;

	*end = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (*end < 0)
		die("packet socket");
	setsockopt(*end, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(*end, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (setsockopt(*end, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		die("PACKET_IGNORE_OUTGOING");
	at.sll_ifindex = if_nametoindex(iface);
	if (!at.sll_ifindex || bind(*end, (struct sockaddr *)&at, sizeof(at)))
		die(iface);
}

/* The next frame with an IP packet: its length, 0: there is none. */
static ssize_t end_receive(int end, uint8_t *frame, size_t room)
{
	for (;;) {
		ssize_t got = recv(end, frame, room, MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			die("receive");
		if (got >= 34 &&
		    ((frame[12] == 0x08 && !frame[13]) || (frame[12] == 0x86 && frame[13] == 0xdd)))
			return got;
	}
}

static bool end_await(int end, int ms)
{
	struct pollfd ready = {.fd = end, .events = POLLIN};

	return poll(&ready, 1, ms) == 1;
}

static bool is_marker(const uint8_t *frame)
{
	return frame[12] == 0x08 ? frame[23] == MARKER_PROTO : frame[20] == MARKER_PROTO;
}

/* A packet from side to side that nothing keeps from coming through. Addresses as of the packet before. */
static void marker_send(const struct packet_line *after)
{
	uint8_t frame[14 + 40 + 8] = {};
	uint8_t *ip = frame + 14;
	uint16_t check;
	uint32_t length = after->family == 4 ? 28 : 48;

	memcpy(frame, after->frame, 14);
	if (after->family == 4) {
		memcpy(ip, (uint8_t[]){0x45, 0, 0, 28, 0, 0, 0, 0, 64, MARKER_PROTO}, 10);
		memcpy(ip + 12, (uint8_t[]){10, 255, after->in, 1, 10, 0, 0, 1}, 8);
		if (after->out != 'a')
			memcpy(ip + 16, (uint8_t[]){10, after->out == 'b' ? 128 : 192, 0, 1}, 4);
		check = ~sum_fold(sum16(0, ip, 20));
		ip[10] = check >> 8;
		ip[11] = check;
	} else {
		ip[0] = 0x60;
		ip[5] = 8;
		ip[6] = MARKER_PROTO;
		ip[7] = 64;
		memcpy(ip + 8, (uint8_t[]){0xfd, 0, 0, 0xee, after->in, [15] = 1}, 16);
		memcpy(ip + 24, (uint8_t[]){0xfd, 0, 0, 0xa + after->out - 'a', [15] = 1}, 16);
	}
	if (send(ends[after->in - 'a'], frame, 14 + length, 0) < 0)
		die("send");
}

static ssize_t pass(struct packet_line *p, uint8_t *frame, size_t room)
{
	int in = ends[p->in - 'a'], out = p->out == '-' ? -1 : ends[p->out - 'a'];
	ssize_t got;

	for (int i = 0; i < SIDES; i++) {
		if (!end_receive(ends[i], frame, room))
			continue;
		errno = EPROTO;
		die("a packet came out where none was to");
	}
	memcpy(p->frame, router_mac, ETH_ALEN);
	memcpy(p->frame + 6,
	       (uint8_t[]){2, 0, 0, 0, 0, 0x99, p->family == 4 ? 0x08 : 0x86, p->family == 4 ? 0 : 0xdd}, 8);
	if (send(in, p->frame, 14 + p->length, 0) != 14 + (ssize_t)p->length)
		die("send");
	if (out < 0)
		return 0;
	got = end_receive(out, frame, room);
	if (got)
		return got;
	marker_send(p);
	do {
		if (!end_await(out, MARKER_AFTER_MS)) {
			errno = ETIMEDOUT;
			die("packet that follows another");
		}
		got = end_receive(out, frame, room);
	} while (!got);
	if (is_marker(frame))
		return 0;
	/* the marker comes behind */
	while (!end_await(out, MARKER_AFTER_MS) || !end_receive(out, (uint8_t[2048]){}, 2048))
		;
	return got;
}

static const char *class_of(const uint8_t *answer, ssize_t length)
{
	static const char *const classes[] = {"new", "established", "related", "invalid", "untracked"};
	const char *prefix = (const char *)value(find(answer + BODY, length - BODY, NFULA_PREFIX));

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (!strcmp(prefix, classes[i]))
			return classes[i];
	return "unknown";
}

static void tracker_packet(struct packet_line *packet, const struct sequence *sequence,
			   struct outcome *outcome)
{
	static uint8_t frame[14 + PACKET_MAX];
	uint8_t answer[4096];
	ssize_t got = pass(packet, frame, sizeof(frame));

	(void)sequence;
	if (got) {
		outcome->lost = false;
		outcome->packet = frame + 14;
		outcome->length = got - 14;
		packet_unforward(outcome->packet, packet);
	}
	got = recv(nflog, answer, sizeof(answer), MSG_DONTWAIT);
	if (got < 0 && end_await(nflog, LOCAL_AFTER_MS))
		got = recv(nflog, answer, sizeof(answer), MSG_DONTWAIT);
	if (got > 0)
		outcome->class = class_of(answer, got);
}

/* --- beginning --- */

static int sysctl_open(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static int netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0)
		die("netlink socket");
	return fd;
}

static void nflog_configure(int type, const void *data, int length)
{
	uint8_t answer[4096];
	struct message m;

	message_begin(&m, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, NLM_F_ACK, AF_UNSPEC);
	m.family.res_id = htons(LOG_GROUP);
	attribute(&m, type, data, length);
	message_exchange(nflog, &m, answer, sizeof(answer));
}

static void nflog_open(void)
{
	struct nfulnl_msg_config_cmd bind_group = {.command = NFULNL_CFG_CMD_BIND};
	struct nfulnl_msg_config_mode mode = {.copy_mode = NFULNL_COPY_META};
	uint32_t one = htonl(1);

	nflog = netlink_open();
	nflog_configure(NFULA_CFG_CMD, &bind_group, sizeof(bind_group));
	nflog_configure(NFULA_CFG_MODE, &mode, sizeof(mode));
	nflog_configure(NFULA_CFG_QTHRESH, &one, sizeof(one));
}

/* What one processor does is done in order. */
static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

int main(int argc, char **argv)
{
	static const char *const links[SIDES] = {"side-a", "side-b", "side-c"};
	uint8_t *m = router_mac;
	int other;

	if (argc != 3 ||
	    sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) {
		fprintf(stderr, "usage: netfilter ENDS-NAMESPACE ROUTER-MAC\n");
		return 2;
	}
	stay_on_one_cpu();
	conntrack = netlink_open();
	nflog_open();
	count = sysctl_open("nf_conntrack_count", O_RDONLY);
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++)
		sysctls[i].fd = sysctl_open(sysctls[i].path, O_RDWR);
	other = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (other < 0 || setns(other, CLONE_NEWNET))
		die(argv[1]);
	for (int i = 0; i < SIDES; i++)
		end_open(&ends[i], links[i]);
	tracker_serve();
	return 0;
}
