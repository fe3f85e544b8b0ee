/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The running kernel's nf_conntrack behind the lines of line.h. It is started inside the router's network
 * namespace and told the other one, where the two ends of the router's links are:
 *
 *   netfilter ENDS-NAMESPACE ROUTER-MAC-A ROUTER-MAC-B
 *
 * Side a sits behind interface a0 as 10.0.0.2, side b behind b0 as 10.0.1.2. Segments are written as whole
 * frames to one interface and read back from the other; the router's rules have put the packet's class
 * into its DSCP field. Entries are read and changed by ctnetlink. Nothing here waits for time to pass.
 */
#define _GNU_SOURCE
#include "line.h"

#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT_A_FIRST = 1024, PORT_B = 80, LOST_AFTER_MS = 2000, FRAME_MAX = 65535 + 14 };

static const char *const ADDRESS[] = {"10.0.0.2", "10.0.1.2"};

struct end {
	int socket;
	uint8_t router_mac[6];
	uint32_t address; /* network order */
	uint16_t port;	  /* network order */
};

static struct end ends[2];
static int netlink;

static struct {
	const char *name;
	const char *path;
	int fd;
} sysctls[] = {
	{"loose", "nf_conntrack_tcp_loose", -1},
	{"liberal", "nf_conntrack_tcp_be_liberal", -1},
	{"ignore-invalid-rst", "nf_conntrack_tcp_ignore_invalid_rst", -1},
	{"max-retrans", "nf_conntrack_tcp_max_retrans", -1},
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- the wire --- */

static void end_open(struct end *end, const char *iface, const char *address, const char *router_mac)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	uint8_t *m = end->router_mac;
	int size = 4 << 20;

	if (sscanf(router_mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) {
		errno = EINVAL;
		die(router_mac);
	}
	end->address = inet_addr(address);
	end->socket = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
	if (end->socket < 0)
		die("packet socket");
	at.sll_ifindex = if_nametoindex(iface);
	if (!at.sll_ifindex || bind(end->socket, (struct sockaddr *)&at, sizeof(at)))
		die(iface);
	setsockopt(end->socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(end->socket, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
}

static uint32_t sum(uint32_t s, const uint8_t *data, uint32_t length)
{
	for (uint32_t i = 0; i + 1 < length; i += 2)
		s += data[i] << 8 | data[i + 1];
	if (length & 1)
		s += data[length - 1] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	s = (s >> 16) + (s & 0xffff);
	return ~((s >> 16) + s);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static uint32_t frame_build(uint8_t *frame, const struct line_segment *seg)
{
	const struct end *from = &ends[seg->side == 'b'], *to = &ends[seg->side == 'a'];
	uint32_t tcp_header = 20 + seg->options_length, tcp_length = tcp_header + seg->payload;
	uint8_t *ip = frame + 14, *tcp = ip + 20;

	memset(frame, 0, 14 + 20 + tcp_length);
	memcpy(frame, from->router_mac, 6);
	frame[6] = 2; /* a local address, whose is of no interest */
	put16(frame + 12, ETH_P_IP);
	ip[0] = 0x45;
	put16(ip + 2, 20 + tcp_length);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, &from->address, 4);
	memcpy(ip + 16, &to->address, 4);
	put16(ip + 10, fold(sum(0, ip, 20)));
	memcpy(tcp, &from->port, 2);
	memcpy(tcp + 2, &to->port, 2);
	put32(tcp + 4, seg->seq);
	put32(tcp + 8, seg->ack);
	tcp[12] = tcp_header / 4 << 4;
	tcp[13] = seg->flags;
	put16(tcp + 14, seg->window);
	memcpy(tcp + 20, seg->options, seg->options_length);
	put16(tcp + 16, fold(sum(sum(IPPROTO_TCP + tcp_length, ip + 12, 8), tcp, tcp_length)));
	return 14 + 20 + tcp_length;
}

/* Whether the frame is the packet that was just sent, seen on the other link. */
static int frame_is(const uint8_t *frame, ssize_t length, const uint8_t *sent)
{
	return length >= 54 && !memcmp(frame + 26, sent + 26, 8) && !memcmp(frame + 34, sent + 34, 16);
}

/* Sends the segment through the router. Returns its class by the router's rules. */
static const char *pass(const struct line_segment *seg)
{
	static const char *const classes[] = {"unmarked", "invalid", "established", "new"};
	static uint8_t frame[FRAME_MAX], back[FRAME_MAX + 64];
	uint32_t length = frame_build(frame, seg);
	int from = seg->side == 'b', to = !from;
	struct pollfd ready = {.fd = ends[to].socket, .events = POLLIN};
	struct sockaddr_ll source;
	socklen_t size;
	ssize_t got;

	if (send(ends[from].socket, frame, length, 0) != (ssize_t)length)
		die("send");
	while (poll(&ready, 1, LOST_AFTER_MS) == 1) {
		size = sizeof(source);
		got = recvfrom(ends[to].socket, back, sizeof(back), 0, (struct sockaddr *)&source, &size);
		if (got < 0)
			die("receive");
		if (source.sll_pkttype != PACKET_OUTGOING && frame_is(back, got, frame))
			return classes[(back[15] >> 2) & 3];
	}
	return "lost";
}

/* --- ctnetlink --- */

/* A message about the connection's entry, found by the tuple from a to b whichever direction that is. */
static void entry_message(struct message *m, int type, int flags)
{
	struct nlattr *tuple, *inner;
	uint8_t proto = IPPROTO_TCP;

	message_begin(m, NFNL_SUBSYS_CTNETLINK << 8 | type, flags, AF_INET);
	tuple = nest(m, CTA_TUPLE_ORIG);
	inner = nest(m, CTA_TUPLE_IP);
	attribute(m, CTA_IP_V4_SRC, &ends[0].address, 4);
	attribute(m, CTA_IP_V4_DST, &ends[1].address, 4);
	nest_end(m, inner);
	inner = nest(m, CTA_TUPLE_PROTO);
	attribute(m, CTA_PROTO_NUM, &proto, 1);
	attribute(m, CTA_PROTO_SRC_PORT, &ends[0].port, 2);
	attribute(m, CTA_PROTO_DST_PORT, &ends[1].port, 2);
	nest_end(m, inner);
	nest_end(m, tuple);
}

static ssize_t entry_get(uint8_t *answer, size_t room)
{
	struct message m;

	entry_message(&m, IPCTNL_MSG_CT_GET, 0);
	return message_exchange(netlink, &m, answer, room);
}

static void show(const char *class)
{
	uint8_t answer[4096];
	ssize_t length = entry_get(answer, sizeof(answer));
	const uint8_t *body = answer + NLMSG_HDRLEN + sizeof(struct nfgenmsg);
	const void *source, *tcp;

	if (!length) {
		printf("%s -\n", class);
		return;
	}
	length -= body - answer;
	source = within(within(find(body, length, CTA_TUPLE_ORIG), CTA_TUPLE_IP), CTA_IP_V4_SRC);
	tcp = within(find(body, length, CTA_PROTOINFO), CTA_PROTOINFO_TCP);
	printf("%s %c %u %u %u %u %u %u %u\n", class, memcmp(value(source), &ends[0].address, 4) ? 'b' : 'a',
	       *value(within(tcp, CTA_PROTOINFO_TCP_STATE)),
	       value32(find(body, length, CTA_STATUS)) & STATUS_SHOWN,
	       value32(find(body, length, CTA_TIMEOUT)),
	       *value(within(tcp, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)) & 0x3f,
	       *value(within(tcp, CTA_PROTOINFO_TCP_FLAGS_REPLY)) & 0x3f,
	       *value(within(tcp, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL)),
	       *value(within(tcp, CTA_PROTOINFO_TCP_WSCALE_REPLY)));
}

/* Changes one attribute of the entry. 0: there is none. */
static int entry_change(int type, uint32_t number)
{
	struct message m;
	uint8_t answer[4096];

	number = htonl(number);
	entry_message(&m, IPCTNL_MSG_CT_NEW, NLM_F_ACK);
	attribute(&m, type, &number, 4);
	return message_exchange(netlink, &m, answer, sizeof(answer)) != 0;
}

static int entry_fix(void)
{
	uint8_t answer[4096];
	ssize_t length = entry_get(answer, sizeof(answer));
	const uint8_t *body = answer + NLMSG_HDRLEN + sizeof(struct nfgenmsg);

	if (!length)
		return 0;
	return entry_change(CTA_STATUS,
			    value32(find(body, length - (body - answer), CTA_STATUS)) | IPS_FIXED_TIMEOUT);
}

/* --- lines --- */

static int set(const char *line)
{
	char name[32], number[12];
	unsigned value;

	if (sscanf(line, "set %31s %u", name, &value) != 2)
		return 0;
	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
		if (strcmp(sysctls[i].name, name))
			continue;
		if (pwrite(sysctls[i].fd, number, snprintf(number, sizeof(number), "%u\n", value), 0) < 0)
			die(sysctls[i].path);
		return 1;
	}
	return 0;
}

/* Another port for each connection, so that a segment still underway is not taken for this one's. */
static void next_connection(void)
{
	unsigned port = ntohs(ends[0].port) + 1;
	uint8_t answer[4096];
	struct message m;

	entry_message(&m, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	message_exchange(netlink, &m, answer, sizeof(answer));

	ends[0].port = htons(port > 0xffff ? PORT_A_FIRST : port);
}

static void sysctls_open(void)
{
	char path[128];

	for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", sysctls[i].path);
		sysctls[i].fd = open(path, O_RDWR | O_CLOEXEC);
		if (sysctls[i].fd < 0)
			die(path);
	}
}

int main(int argc, char **argv)
{
	struct line_segment seg;
	char line[256];
	unsigned number;
	int other;

	if (argc != 4) {
		fprintf(stderr, "usage: netfilter ENDS-NAMESPACE ROUTER-MAC-A ROUTER-MAC-B\n");
		return 2;
	}
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (netlink < 0)
		die("netlink socket");
	sysctls_open();
	other = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (other < 0 || setns(other, CLONE_NEWNET))
		die(argv[1]);
	end_open(&ends[0], "a0", ADDRESS[0], argv[2]);
	end_open(&ends[1], "b0", ADDRESS[1], argv[3]);
	ends[0].port = htons(PORT_A_FIRST);
	ends[1].port = htons(PORT_B);
	while (fgets(line, sizeof(line), stdin)) {
		if (line_read_segment(line, &seg)) {
			show(pass(&seg));
		} else if (!strcmp(line, "new\n")) {
			next_connection();
			puts("ok");
		} else if (set(line)) {
			puts("ok");
		} else if (sscanf(line, "age %u", &number) == 1) {
			puts(entry_change(CTA_TIMEOUT, number) ? "ok" : "none");
		} else if (!strcmp(line, "sync\n")) {
			puts("ok");
			fflush(stdout);
		} else if (!strcmp(line, "fix\n")) {
			puts(entry_fix() ? "ok" : "none");
		} else {
			printf("bad line: %s", line);
		}
	}
	return 0;
}
