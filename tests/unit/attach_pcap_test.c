/* SPDX-License-Identifier: Apache-2.0 */
/* Capture files of every kind, and lo of a network namespace of our own (I1, I2, I6, T14, T16). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "capture/attach.h"
#include "capture/flow.h"
#include "tests/unit/gen.h"

static char dir[64];
static char path[128];

struct taken {
	struct flow_table *flows;
	struct packet last;
	size_t packets;
	struct buf got[2];
	uint64_t missing;
};

static void on_open(void *ctx, struct flow *f)
{
	(void)ctx, (void)f;
}
static void on_data(void *ctx, struct flow *f, enum dir d, const struct stream_run *run)
{
	(void)f;
	struct taken *t = ctx;
	t->missing += run->missing;
	assert_int_equal(buf_append(&t->got[d], run->data), 0);
}
static void on_half(void *ctx, struct flow *f, enum dir d)
{
	(void)ctx, (void)f, (void)d;
}
static void on_close(void *ctx, struct flow *f, enum flow_end how)
{
	(void)ctx, (void)f, (void)how;
}

static void taken_init(struct taken *t, bool from_file)
{
	struct flow_cfg cfg = {.max_flows = 64,
			       .max_pending_flow = 8 << 20,
			       .max_pending_all = 16 << 20,
			       .hole_ns = 50000000,
			       .hole_max_ns = 1000000000,
			       .from_file = from_file,
			       .on = {on_open, on_data, on_half, on_close},
			       .ctx = t};
	*t = (struct taken) {.flows = flow_table_new(&cfg)};
	assert_non_null(t->flows);
}

static void taken_fini(struct taken *t)
{
	flow_end_all(t->flows, FLOW_STOP);
	flow_table_free(t->flows);
	buf_fini(&t->got[0]);
	buf_fini(&t->got[1]);
}

static void on_packet(void *ctx, const struct packet *p)
{
	struct taken *t = ctx;
	t->packets++;
	t->last = *p;
	flow_push(t->flows, p);
}

static uint64_t exit_of(struct attach *a, const char *name)
{
	struct ledger_stage s[2];
	assert_true(attach_pcap.ledger(a, s, 2) >= 1);
	assert_int_equal(ledger_residue(&s[0]), 0);
	for (unsigned i = 0; i < s[0].n_exits; i++)
		if (strcmp(s[0].exits[i].name, name) == 0)
			return s[0].exits[i].n;
	fail_msg("no exit %s", name);
	return 0;
}

static struct attach *file_open(struct taken *t, const uint16_t *ports, size_t n_ports)
{
	char err[256] = "";
	struct attach_cfg cfg = {.read_file = path,
				 .ports = ports,
				 .n_ports = n_ports,
				 .keep_below = 1ull << 32,
				 .on_packet = on_packet,
				 .ctx = t};
	assert_int_equal(attach_pcap.probe(&cfg, err, sizeof(err)), 0);
	struct attach *a = attach_pcap.open(&cfg, err, sizeof(err));
	if (!a)
		print_message("%s\n", err);
	return a;
}

static void conversation(struct gen *g, const char *client, const char *server)
{
	gen_init(g);
	g->now_ns = 1700000000123456789;
	struct gen_conn c = gen_conn(client, 40000, server, 8080, 99);
	gen_open(g, &c);
	gen_raw(g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES(""));
	gen_send(g, &c, DIR_REQUEST, BYTES("GET / HTTP/1.1\r\n\r\n"), 5);
	gen_send(g, &c, DIR_RESPONSE, BYTES("HTTP/1.1 200 OK\r\n\r\n"), 7);
	gen_close(g, &c);
}

static void expect_conversation(const struct taken *t)
{
	assert_int_equal(t->got[0].n, 18);
	assert_memory_equal(t->got[0].p, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_int_equal(t->got[1].n, 19);
	assert_memory_equal(t->got[1].p, "HTTP/1.1 200 OK\r\n\r\n", 19);
	assert_int_equal(t->missing, 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/pcap.XXXXXX", P_tmpdir);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/capture", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void every_link_type(void **state)
{
	(void)state;
	static const int links[] = {0, 1, 101, 108, 113, 228, 276};
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		struct taken t;
		struct gen g;
		conversation(&g, "10.0.0.1", "10.0.0.2");
		assert_int_equal(gen_write_pcap(&g, path, links[i], 0, false), 0);
		taken_init(&t, true);
		struct attach *a = file_open(&t, NULL, 0);
		assert_non_null(a);
		assert_int_equal(attach_pcap.drain(a, 3), ATTACH_MORE);
		assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
		assert_int_equal(exit_of(a, "control"), 1);
		assert_int_equal(exit_of(a, "selected"), g.n - 1);
		assert_int_equal(t.last.ts_ns, g.p[g.n - 1].ts_ns); /* to the nanosecond */
		expect_conversation(&t);
		attach_pcap.close(a);
		taken_fini(&t);
		gen_fini(&g);
	}
}

/* cooked captures of lo hold each packet going out and coming in */
static void I6_loopback_copies(void **state)
{
	(void)state;
	static const int links[] = {113, 276};
	for (int i = 0; i < 2; i++) {
		struct taken t;
		struct gen g;
		conversation(&g, "127.0.0.1", "127.0.0.1");
		assert_int_equal(gen_write_pcap(&g, path, links[i], 0, true), 0);
		taken_init(&t, true);
		struct attach *a = file_open(&t, NULL, 0);
		assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
		assert_int_equal(exit_of(a, "loopback_copy"),
				 g.n - 1); /* the first one cannot be known */
		expect_conversation(&t);
		attach_pcap.close(a);
		taken_fini(&t);
		gen_fini(&g);
	}
}

static void put32(FILE *f, uint32_t v)
{
	fwrite(&v, 4, 1, f);
}

/* pcapng: section header, one interface, enhanced packets (microseconds by default) */
static void write_pcapng(const struct gen *g)
{
	FILE *f = fopen(path, "wbe");
	assert_non_null(f);
	static const uint32_t head[] = {0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28};
	fwrite(head, sizeof(head), 1, f);
	static const uint32_t interface[] = {1, 20, 1, 0, 20};
	fwrite(interface, sizeof(interface), 1, f);
	for (size_t i = 0; i < g->n; i++) {
		static uint8_t frame[4096];
		memset(frame, 0, sizeof(frame));
		uint32_t n = (uint32_t)gen_frame(&g->p[i], 1, frame, sizeof(frame));
		uint32_t padded = (n + 3) & ~3u;
		uint64_t us = g->p[i].ts_ns / 1000;
		put32(f, 6);
		put32(f, 32 + padded);
		put32(f, 0);
		put32(f, (uint32_t)(us >> 32));
		put32(f, (uint32_t)us);
		put32(f, n);
		put32(f, n);
		fwrite(frame, padded, 1, f);
		put32(f, 32 + padded);
	}
	fclose(f);
}

static void pcapng(void **state)
{
	(void)state;
	struct taken t;
	struct gen g;
	conversation(&g, "fd00::1", "fd00::2");
	write_pcapng(&g);
	taken_init(&t, true);
	struct attach *a = file_open(&t, NULL, 0);
	assert_non_null(a);
	assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
	expect_conversation(&t);
	assert_int_equal(t.last.ts_ns, g.p[g.n - 1].ts_ns / 1000 * 1000);
	attach_pcap.close(a);
	taken_fini(&t);
	gen_fini(&g);
}

static void truncated_file(void **state)
{
	(void)state;
	struct taken t;
	struct gen g;
	conversation(&g, "10.0.0.1", "10.0.0.2");
	assert_int_equal(gen_write_pcap(&g, path, 1, 0, false), 0);
	FILE *f = fopen(path, "rbe");
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	long size = ftell(f);
	fclose(f);
	assert_int_equal(truncate(path, size - 3), 0);
	taken_init(&t, true);
	struct attach *a = file_open(&t, NULL, 0);
	assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
	assert_int_equal(t.packets, g.n - 2); /* all that is whole, but the bare ACK */
	expect_conversation(&t);
	assert_non_null(strstr(attach_pcap.describe(a), "ended early"));
	assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
	attach_pcap.close(a);
	taken_fini(&t);
	gen_fini(&g);
}

static void snapped_file(void **state)
{
	(void)state;
	struct taken t;
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 8080, 99);
	gen_open(&g, &c);
	gen_send(&g, &c, DIR_REQUEST, BYTES("0123456789abcdef"), 16);
	assert_int_equal(gen_write_pcap(&g, path, 1, 14 + 40 + 10, false), 0);
	taken_init(&t, true);
	struct attach *a = file_open(&t, NULL, 0);
	assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
	assert_int_equal(t.got[0].n, 10);
	assert_int_equal(t.missing, 6);
	attach_pcap.close(a);
	taken_fini(&t);
	gen_fini(&g);
}

static void not_a_capture(void **state)
{
	(void)state;
	char err[256] = "";
	struct attach_cfg cfg = {.read_file = path};
	FILE *f = fopen(path, "wbe");
	fputs("this is no capture file, whatever its name says", f);
	fclose(f);
	assert_null(attach_pcap.open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "not a capture file"));
	cfg.read_file = "/nowhere/at/all";
	assert_null(attach_pcap.open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "No such file"));
	assert_int_equal(attach_pcap.probe(&cfg, err, sizeof(err)), -ENOENT);
	struct gen g;
	gen_init(&g);
	assert_int_equal(gen_write_pcap(&g, path, 147, 0, false), 0);
	cfg.read_file = path;
	assert_null(attach_pcap.open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "not supported"));
	gen_fini(&g);
}

static void I11_redirect_by_ports(void **state)
{
	(void)state;
	static const uint16_t cases[] = {15001, 80};
	for (int i = 0; i < 2; i++) {
		struct taken t;
		struct gen g;
		gen_init(&g);
		struct gen_conn c = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15001, 99);
		struct gen_conn o = gen_conn("10.7.0.2", 40001, "10.7.0.3", 5432, 99);
		gen_open(&g, &c);
		gen_send(&g, &c, DIR_REQUEST, BYTES("ask"), 3);
		gen_send(&g, &c, DIR_RESPONSE, BYTES("answer"), 6);
		size_t n = g.n;
		for (size_t k = 0; k < n; k++)
			if (g.p[k].sport == 15001) {
				gen_addr(g.p[k].src, "10.7.0.99");
				g.p[k].sport = 80;
			}
		gen_open(&g, &o);
		gen_send(&g, &o, DIR_REQUEST, BYTES("SELECT 1"), 8);
		assert_int_equal(gen_write_pcap(&g, path, 1, 0, false), 0);
		taken_init(&t, true);
		struct attach *a = file_open(&t, &cases[i], 1);
		assert_int_equal(attach_pcap.drain(a, 1000), ATTACH_EOF);
		assert_int_equal(t.got[0].n, 3);
		assert_int_equal(t.got[1].n, 6);
		/* chosen 80: the SYN to 15001 comes before anything tells of that client */
		assert_int_equal(exit_of(a, "not_selected"), 3 + (cases[i] == 80));
		attach_pcap.close(a);
		taken_fini(&t);
		gen_fini(&g);
	}
}

/* --- live --- */

static int lo_up(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_RUNNING};
	snprintf(ifr.ifr_name, IFNAMSIZ, "lo");
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = ioctl(s, SIOCSIFFLAGS, &ifr);
	close(s);
	return r;
}

/* A pair of connected sockets over lo: v6 dual-stack listener, v4 client */
static void tcp_pair(int s[2], uint16_t *port)
{
	int l = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	socklen_t n = sizeof(any);
	assert_int_equal(bind(l, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&any, &n), 0);
	*port = ntohs(any.sin6_port);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = any.sin6_port,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	s[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(s[0], (struct sockaddr *)&to, sizeof(to)), 0);
	s[1] = accept(l, NULL, NULL);
	assert_true(s[1] >= 0);
	close(l);
}

/* Drains until so many bytes of the direction were told, or 5 s went by without news. */
static void drain_until(struct attach *a, struct taken *t, enum dir d, size_t n)
{
	struct pollfd fd = {.fd = attach_pcap.fd(a), .events = POLLIN};
	while (t->got[d].n < n) {
		int r = attach_pcap.drain(a, 64);
		assert_true(r == ATTACH_MORE || r == ATTACH_EMPTY);
		if (t->got[d].n < n && r == ATTACH_EMPTY && attach_pcap.sleep(a) &&
		    poll(&fd, 1, 5000) == 0)
			fail_msg("%zu of %zu bytes", t->got[d].n, n);
	}
}

static void live_on_lo(struct attach *a, struct taken *t, int s[2])
{
	enum { N = 3000000 };
	uint8_t *data = gen_bytes(DIR_REQUEST, 0, N), *in = malloc(N);
	for (size_t done = 0, read = 0; read < N;) { /* large writes: super-segments */
		ssize_t w = done < N ? send(s[0], data + done, N - done, MSG_DONTWAIT) : 0;
		if (w > 0)
			done += (size_t)w;
		struct pollfd fd = {.fd = s[1], .events = POLLIN};
		assert_int_equal(poll(&fd, 1, 5000), 1);
		ssize_t r = recv(s[1], in, N, MSG_DONTWAIT);
		assert_true(r > 0);
		read += (size_t)r;
		attach_pcap.drain(a, 64);
	}
	drain_until(a, t, DIR_REQUEST, N);
	assert_int_equal(t->got[0].n, N); /* each byte once */
	assert_memory_equal(t->got[0].p, data, N);
	assert_int_equal(t->missing, 0);
	/* the out-of-band byte is not in the stream that its reader sees */
	assert_int_equal(send(s[1], "ab!", 3, MSG_OOB), 3);
	assert_int_equal(send(s[1], "cd", 2, 0), 2);
	drain_until(a, t, DIR_RESPONSE, 4);
	assert_memory_equal(t->got[1].p, "abcd", 4);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	assert_true(t->last.ts_ns <= ns && t->last.ts_ns + 10000000000u > ns);
	free(data);
	free(in);
}

static void I6_live_on_lo(void **state)
{
	(void)state;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET) < 0 || lo_up() < 0) {
		print_message("SKIP: no network namespace of our own: %s\n", strerror(errno));
		close(home);
		skip();
	}
	struct taken t;
	taken_init(&t, false);
	int s[2], own[2];
	uint16_t port, own_port;
	char err[256] = "";
	struct attach_cfg cfg = {.keep_below = 1ull << 32, .on_packet = on_packet, .ctx = &t};
	assert_int_equal(attach_pcap.probe(&cfg, err, sizeof(err)), 0);
	struct attach *a = attach_pcap.open(&cfg, err, sizeof(err));
	if (!a)
		fail_msg("%s", err);
	tcp_pair(own, &own_port);
	attach_pcap.own_port(a, own_port, true);
	assert_int_equal(send(own[0], "not ours to mirror", 18, 0), 18);
	tcp_pair(s, &port);
	live_on_lo(a, &t, s);
	assert_int_equal(flow_count(t.flows), 1);
	assert_true(exit_of(a, "own") >= 1);
	assert_int_equal(attach_pcap.check(a), 0);
	/* nothing new is taken after detach */
	attach_pcap.detach(a);
	size_t before = t.packets;
	assert_int_equal(send(s[0], "later", 5, 0), 5);
	struct pollfd fd = {.fd = attach_pcap.fd(a), .events = POLLIN};
	do
		assert_int_equal(poll(&fd, 1, 5000), 1);
	while (attach_pcap.drain(a, 64) != ATTACH_EMPTY || exit_of(a, "after_detach") == 0);
	assert_int_equal(t.packets, before);
	struct ledger_stage stages[2];
	assert_int_equal(attach_pcap.ledger(a, stages, 2), 2);
	assert_true(stages[0].approximate && stages[1].in > 0);
	assert_int_equal(ledger_residue(&stages[1]), 0);
	for (int i = 0; i < 2; i++) {
		close(s[i]);
		close(own[i]);
	}
	attach_pcap.close(a);
	taken_fini(&t);
	cfg.spec = "nosuch0";
	assert_int_equal(attach_pcap.probe(&cfg, err, sizeof(err)), -ENOENT);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_link_type),
		cmocka_unit_test(I6_loopback_copies),
		cmocka_unit_test(pcapng),
		cmocka_unit_test(truncated_file),
		cmocka_unit_test(snapped_file),
		cmocka_unit_test(not_a_capture),
		cmocka_unit_test(I11_redirect_by_ports),
		cmocka_unit_test(I6_live_on_lo),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
