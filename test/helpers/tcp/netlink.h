/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Netlink messages of the Netfilter subsystems: made, sent, answered, their attributes found. The
 * program that includes this has a die() to end it, which says what failed and errno.
 */
#ifndef CTNAT_TEST_NETLINK_H
#define CTNAT_TEST_NETLINK_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

static void die(const char *what);

static uint32_t sequence_number; /* of the last message */

struct message {
	struct nlmsghdr head;
	struct nfgenmsg family;
	uint8_t attributes[512];
};

static inline void *attribute(struct message *m, int type, const void *data, int length)
{
	struct nlattr *a = (struct nlattr *)((uint8_t *)m + m->head.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + length;
	if (length)
		memcpy((uint8_t *)a + NLA_HDRLEN, data, length);
	m->head.nlmsg_len += NLA_ALIGN(a->nla_len);
	return a;
}

static inline struct nlattr *nest(struct message *m, int type)
{
	return attribute(m, type | NLA_F_NESTED, NULL, 0);
}

static inline void nest_end(struct message *m, struct nlattr *a)
{
	a->nla_len = (uint8_t *)m + m->head.nlmsg_len - (uint8_t *)a;
}

static inline void message_begin(struct message *m, int type, int flags, int family)
{
	memset(m, 0, sizeof(*m));
	m->head.nlmsg_len = NLMSG_HDRLEN + sizeof(m->family);
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | flags;
	m->head.nlmsg_seq = ++sequence_number;
	m->family.nfgen_family = family;
}

/* The answer's length; 0 when there is no such entry or its timeout is fixed. An acknowledgement is an
 * answer.
 */
static inline ssize_t message_exchange(int socket, struct message *m, uint8_t *answer, size_t room)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	ssize_t got;
	int error;

	if (send(socket, m, m->head.nlmsg_len, 0) < 0)
		die("netlink");
	got = recv(socket, answer, room, 0);
	if (got < (ssize_t)NLMSG_HDRLEN || head->nlmsg_seq != sequence_number)
		die("netlink answer");
	if (head->nlmsg_type != NLMSG_ERROR)
		return got;
	memcpy(&error, NLMSG_DATA(head), sizeof(error));
	if (!error)
		return got;
	if (error == -ENOENT || error == -EPERM)
		return 0;
	errno = -error;
	die("netlink");
	return 0;
}

static inline const void *look(const void *from, int length, int type)
{
	for (const uint8_t *at = from, *end = at + length; at + NLA_HDRLEN <= end;) {
		const struct nlattr *a = (const struct nlattr *)at;

		if (a->nla_len < NLA_HDRLEN)
			break;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		at += NLA_ALIGN(a->nla_len);
	}
	return NULL;
}

static inline const void *find(const void *from, int length, int type)
{
	const void *found = look(from, length, type);

	if (!found) {
		errno = EPROTO;
		die("netlink answer lacks an attribute");
	}
	return found;
}

static inline const uint8_t *value(const void *attribute)
{
	return (const uint8_t *)attribute + NLA_HDRLEN;
}

static inline int value_length(const void *attribute)
{
	return ((const struct nlattr *)attribute)->nla_len - NLA_HDRLEN;
}

static inline const void *within(const void *attribute, int type)
{
	return find(value(attribute), value_length(attribute), type);
}

static inline uint32_t value32(const void *attribute)
{
	uint32_t number;

	memcpy(&number, value(attribute), 4);
	return ntohl(number);
}

#endif
