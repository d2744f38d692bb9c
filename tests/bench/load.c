/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open-loop HTTP/1 load generator: N keep-alive connections, a fixed rate, each request due at its own
 * time whether or not earlier ones were answered. Latency counts from the time it was due, so that a
 * stalled service shows (no coordinated omission).
 *
 *   load HOST PORT PATH CONNECTIONS RATE SECONDS
 *
 * Prints one JSON line: requests due and answered, errors, and p50 p90 p99 p99.9 max in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_CONNECTIONS = 16384,
	IN_FLIGHT = 4096,
	HEAD_MAX = 4096,
	BUCKETS = 64 * 64,
	GRACE_MS = 2000
};

struct connection {
	int fd;
	uint64_t due[IN_FLIGHT]; /* ring: times of requests that wait for their answer */
	unsigned first, n;
	char head[HEAD_MAX];
	size_t head_n;
	uint64_t body_left;
};

static struct connection *connections;
static int n_connections;
static char request[1024];
static size_t request_n;
static uint64_t sent, answered, errors, max_ns, histogram[BUCKETS];

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* 64 linear steps in each power of two: an error of at most 1.6 % */
static unsigned bucket_of(uint64_t ns)
{
	if (ns < 64)
		return (unsigned)ns;
	unsigned log = 63 - (unsigned)__builtin_clzll(ns);
	return (log - 5) * 64 + (unsigned)((ns >> (log - 6)) & 63);
}

static uint64_t bucket_ns(unsigned b)
{
	if (b < 64)
		return b;
	unsigned log = b / 64 + 5;
	return (1ull << log) + ((uint64_t)(b % 64) << (log - 6));
}

static double percentile_us(double p)
{
	uint64_t want = (uint64_t)((double)answered * p), seen = 0;
	for (unsigned b = 0; b < BUCKETS; b++) {
		seen += histogram[b];
		if (seen > want)
			return (double)bucket_ns(b) / 1000;
	}
	return (double)max_ns / 1000;
}

static void answer(struct connection *c)
{
	uint64_t ns = now_ns() - c->due[c->first];
	c->first = (c->first + 1) % IN_FLIGHT;
	c->n--;
	answered++;
	histogram[bucket_of(ns)]++;
	if (ns > max_ns)
		max_ns = ns;
}

/* The head ends with an empty line; its length is the body's. */
static bool head_done(struct connection *c)
{
	c->head[c->head_n] = 0;
	if (c->head_n < 4 || memcmp(c->head + c->head_n - 4, "\r\n\r\n", 4) != 0)
		return false;
	const char *length = strcasestr(c->head, "\r\ncontent-length:");
	if (!length || strncmp(c->head, "HTTP/1.1 200", 12) != 0)
		errors++;
	c->body_left = length ? strtoull(length + 17, NULL, 10) : 0;
	c->head_n = 0;
	return true;
}

static void received(struct connection *c, const char *p, size_t n)
{
	while (n) {
		if (c->body_left) {
			size_t take = n < c->body_left ? n : c->body_left;
			c->body_left -= take;
			p += take;
			n -= take;
			if (!c->body_left)
				answer(c);
			continue;
		}
		if (!c->n || c->head_n == HEAD_MAX - 1) {
			fprintf(stderr, "load: an answer that nobody asked for\n");
			exit(1);
		}
		c->head[c->head_n++] = *p++;
		n--;
		if (head_done(c) && !c->body_left)
			answer(c);
	}
}

static void readable(struct connection *c)
{
	static char buf[262144];
	ssize_t n;

	while ((n = recv(c->fd, buf, sizeof(buf), 0)) > 0)
		received(c, buf, (size_t)n);
	if (n == 0 || errno != EAGAIN) {
		fprintf(stderr, "load: the service closed a connection\n");
		exit(1);
	}
}

static void send_request(struct connection *c, uint64_t due)
{
	sent++;
	if (c->n == IN_FLIGHT ||
	    send(c->fd, request, request_n, MSG_NOSIGNAL) != (ssize_t)request_n) {
		errors++;
		return;
	}
	c->due[(c->first + c->n++) % IN_FLIGHT] = due;
}

static void open_connections(const char *host, const char *port, int ep)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int one = 1;

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		die(host);
	for (int i = 0; i < n_connections; i++) {
		struct connection *c = &connections[i];
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
			die("connect");
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
			die("epoll");
	}
}

static void arm(int timer, uint64_t at)
{
	struct itimerspec t = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
	if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL) != 0)
		die("timer");
}

static void run(int ep, double rate, double seconds)
{
	uint64_t start = now_ns() + 10000000, total = (uint64_t)(rate * seconds), k = 0, end;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, got[64];

	if (timer < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, timer, &ev) != 0)
		die("timer");
	end = start + (uint64_t)(seconds * 1e9) + GRACE_MS * 1000000ull;
	arm(timer, start);
	while (now_ns() < end && (k < total || answered + errors < total)) {
		int n = epoll_wait(ep, got, 64, 100);
		for (int i = 0; i < n; i++) {
			if (got[i].data.ptr) {
				readable(got[i].data.ptr);
				continue;
			}
			uint64_t due, now = now_ns(), expired;
			if (read(timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
				die("timer");
			while (k < total &&
			       (due = start + (uint64_t)((double)k * 1e9 / rate)) <= now)
				send_request(&connections[k++ % (uint64_t)n_connections], due);
			if (k < total)
				arm(timer, start + (uint64_t)((double)k * 1e9 / rate));
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 7 || atoi(argv[4]) < 1 || atoi(argv[4]) > MAX_CONNECTIONS ||
	    atof(argv[5]) <= 0) {
		fprintf(stderr, "usage: load HOST PORT PATH CONNECTIONS RATE SECONDS\n");
		return 2;
	}
	n_connections = atoi(argv[4]);
	connections = calloc((size_t)n_connections, sizeof(*connections));
	int ep = epoll_create1(EPOLL_CLOEXEC);
	if (!connections || ep < 0)
		die("start");
	request_n = (size_t)snprintf(
		request, sizeof(request),
		"GET %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
		argv[3], argv[1], argv[2]);
	open_connections(argv[1], argv[2], ep);
	run(ep, atof(argv[5]), atof(argv[6]));
	printf("{\"sent\":%llu,\"answered\":%llu,\"errors\":%llu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
	       "\"p999\":%.1f,\"max\":%.1f}\n",
	       (unsigned long long)sent, (unsigned long long)answered, (unsigned long long)errors,
	       percentile_us(0.5), percentile_us(0.9), percentile_us(0.99), percentile_us(0.999),
	       (double)max_ns / 1000);
	return errors || answered != sent;
}
