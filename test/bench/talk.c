// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Both ends of short connections and of single questions, for the bench: a process of an interpreter would
 * take longer for them than the router in between.
 *
 *   talk serve ADDRESS PORT                answers TCP connections and UDP datagrams until it is killed
 *   talk connect ADDRESS PORT SECONDS      connects, asks a byte, reads the answer, closes, over and over;
 *                                          prints how many a second
 *   talk ask ADDRESS PORT SECONDS          asks by UDP, one question after the other; prints the median and
 *                                          the 99th percentile of the answers' times in microseconds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 1024, ANSWER_MS = 1000 };

static void die(const char *what)
{
	fprintf(stderr, "talk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static void serve(const struct sockaddr_in *at)
{
	int one = 1, tcp = open_socket(SOCK_STREAM), udp = open_socket(SOCK_DGRAM);
	struct pollfd ready[2] = {{.fd = tcp, .events = POLLIN}, {.fd = udp, .events = POLLIN}};

	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(tcp, (const void *)at, sizeof(*at)) || listen(tcp, BACKLOG) ||
	    bind(udp, (const void *)at, sizeof(*at)))
		die("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		char byte[64];
		ssize_t n;

		if (poll(ready, 2, -1) < 0)
			die("poll");
		if (ready[0].revents) {
			int fd = accept(tcp, NULL, NULL);

			if (fd >= 0) {
				if (read(fd, byte, 1) == 1 && write(fd, byte, 1) != 1)
					perror("talk: write");
				close(fd);
			}
		}
		if (ready[1].revents) {
			n = recvfrom(udp, byte, sizeof(byte), 0, (void *)&from, &length);
			if (n >= 0 && sendto(udp, byte, n, 0, (void *)&from, length) < 0)
				perror("talk: sendto");
		}
	}
}

static void connect_often(const struct sockaddr_in *to, double seconds)
{
	double start = now(), end = start + seconds;
	long count = 0, failed = 0;

	while (now() < end) {
		struct timeval limit = {.tv_sec = 1};
		struct linger reset = {.l_onoff = 0};
		int fd = open_socket(SOCK_STREAM);
		char byte = 'x';

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		/* the server closes first, and keeps TIME_WAIT: the client's ports are free again at once */
		if (connect(fd, (const void *)to, sizeof(*to)) || write(fd, &byte, 1) != 1 ||
		    read(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 0)
			failed++;
		else
			count++;
		close(fd);
	}
	printf("%.1f %ld\n", count / (now() - start), failed);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void ask(const struct sockaddr_in *to, double seconds)
{
	static double times[1 << 22];
	struct timeval limit = {.tv_usec = ANSWER_MS * 1000 - 1};
	int fd = open_socket(SOCK_DGRAM);
	size_t count = 0, lost = 0;
	double end = now() + seconds;
	unsigned long n, back;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const void *)to, sizeof(*to)))
		die("connect");
	for (n = 0; now() < end && count < sizeof(times) / sizeof(*times); n++) {
		double asked = now();

		if (send(fd, &n, sizeof(n), 0) != sizeof(n))
			die("send");
		do
			if (recv(fd, &back, sizeof(back), 0) != sizeof(back)) {
				lost++;
				break;
			}
		while (back != n);
		if (back == n)
			times[count++] = now() - asked;
	}
	if (!count)
		die("no answer");
	qsort(times, count, sizeof(*times), by_size);
	printf("%.1f %.1f %zu\n", times[count / 2] * 1e6, times[count * 99 / 100] * 1e6, lost);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};

	if (argc < 4 || inet_pton(AF_INET, argv[2], &at.sin_addr) != 1)
		return 2;
	at.sin_port = htons(atoi(argv[3]));
	if (!strcmp(argv[1], "serve"))
		serve(&at);
	else if (argc > 4 && !strcmp(argv[1], "connect"))
		connect_often(&at, atof(argv[4]));
	else if (argc > 4 && !strcmp(argv[1], "ask"))
		ask(&at, atof(argv[4]));
	else
		return 2;
	return 0;
}
