/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T3: overlapping segments read as the Linux receiver reads them: against a model of its queue,
 * exhaustively, and against the kernel itself, fed through a TUN device in a network namespace of
 * its own.
 */
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
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "capture/flow.h"
#include "tests/unit/gen.h"

enum { LINE = 16 }; /* bytes of a stream */

/* Segment [a, b) full of one letter */
struct span {
	unsigned a, b;
	char c;
};

/* --- a model of tcp_data_queue() and tcp_data_queue_ofo(), whole segments in a list by their
 * start --- */

struct model {
	struct span q[8];
	unsigned n, next;
	char got[LINE + 1];
};

static void model_read(struct model *m, struct span p)
{
	for (; m->next < p.b; m->next++)
		m->got[m->next] = p.c;
}

static void model_remove(struct model *m, unsigned i)
{
	memmove(&m->q[i], &m->q[i + 1], (m->n - i - 1) * sizeof(*m->q));
	m->n--;
}

static void model_queue(struct model *m, struct span p)
{
	unsigned i = 0;
	while (i < m->n && m->q[i].a <= p.a)
		i++;
	if (i > 0 && p.a < m->q[i - 1].b) {
		if (p.b <= m->q[i - 1].b)
			return; /* all of it is there */
		if (m->q[i - 1].a == p.a)
			model_remove(m, --i);
	}
	while (i < m->n && m->q[i].b <= p.b)
		model_remove(m, i);
	memmove(&m->q[i + 1], &m->q[i], (m->n - i) * sizeof(*m->q));
	m->q[i] = p;
	m->n++;
}

static void model_push(struct model *m, struct span p)
{
	if (p.b <= m->next)
		return;
	if (p.a > m->next) {
		model_queue(m, p);
		return;
	}
	model_read(m, p);
	while (m->n && m->q[0].a <= m->next) {
		model_read(m, m->q[0]);
		model_remove(m, 0);
	}
}

/* --- ours --- */

static char got[LINE + 1];
static size_t n_got;

static void on_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	(void)ctx, (void)f, (void)dir;
	assert_int_equal(run->missing, 0);
	assert_int_equal(run->off, n_got);
	assert_true(n_got + run->data.n <= LINE);
	memcpy(got + n_got, run->data.p, run->data.n);
	n_got += run->data.n;
}
static void on_flow(void *ctx, struct flow *f)
{
	(void)ctx, (void)f;
}
static void on_half(void *ctx, struct flow *f, enum dir dir)
{
	(void)ctx, (void)f, (void)dir;
}
static void on_close(void *ctx, struct flow *f, enum flow_end how)
{
	(void)ctx, (void)f, (void)how;
}

static struct flow_table *table_new(void)
{
	struct flow_cfg cfg = {.max_flows = 16,
			       .max_pending_flow = 1 << 20,
			       .max_pending_all = 1 << 20,
			       .hole_ns = 50000000,
			       .hole_max_ns = 1000000000,
			       .on = {on_flow, on_data, on_half, on_close}};
	struct flow_table *t = flow_table_new(&cfg);
	assert_non_null(t);
	return t;
}

/* The pieces in this order, then every byte alone, so that all holes are filled. */
static void ours_read(struct flow_table *t, const struct span *p, unsigned n, unsigned total)
{
	static uint16_t port = 1000;
	struct gen_conn c =
		gen_conn("10.0.0.1", port = port < 60000 ? port + 1 : 1000, "10.0.0.2", 80, 7);
	struct gen g;
	gen_init(&g);
	gen_open(&g, &c);
	char text[LINE];
	for (unsigned i = 0; i < n; i++) {
		memset(text, p[i].c, sizeof(text));
		gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, p[i].a, bytes_of(text, p[i].b - p[i].a));
	}
	for (unsigned i = 0; i < total; i++)
		gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, i, BYTES("."));
	n_got = 0;
	memset(got, 0, sizeof(got));
	gen_push(&g, t);
	struct ledger_stage stages[3];
	flow_ledger(t, stages, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ledger_residue(&stages[i]), 0);
	assert_int_equal(stages[1].held, 0);
	gen_fini(&g);
}

static void model_read_all(const struct span *p, unsigned n, unsigned total, char out[LINE + 1])
{
	struct model m = {0};
	for (unsigned i = 0; i < n; i++)
		model_push(&m, p[i]);
	for (unsigned i = 0; i < total; i++)
		model_push(&m, (struct span) {i, i + 1, '.'});
	memcpy(out, m.got, LINE + 1);
}

static void compare(struct flow_table *t, const struct span *p, unsigned n, unsigned total)
{
	char want[LINE + 1];
	model_read_all(p, n, total, want);
	ours_read(t, p, n, total);
	if (memcmp(want, got, total) == 0)
		return;
	for (unsigned i = 0; i < n; i++)
		print_error("[%u, %u) ", p[i].a, p[i].b);
	fail_msg("want %s got %s", want, got);
}

/* Allen's thirteen relations of two intervals, as a number */
static unsigned relation(struct span x, struct span y)
{
	if (x.b < y.a)
		return 0;
	if (x.b == y.a)
		return 1;
	if (y.b < x.a)
		return 2;
	if (y.b == x.a)
		return 3;
	int start = x.a < y.a ? 0 : x.a == y.a ? 1 : 2, end = x.b < y.b ? 0 : x.b == y.b ? 1 : 2;
	return 4 + (unsigned)(start * 3 + end);
}

static void T3_all_13_relations(void **state)
{
	(void)state;
	struct flow_table *t = table_new();
	bool seen[13] = {false};
	const unsigned total = 9;
	for (unsigned i = 0; i < total * total * total * total; i++) {
		struct span p[2] = {
			{i % total, i / total % total + 1, 'A'},
			{i / total / total % total, i / total / total / total + 1, 'B'}};
		if (p[0].a >= p[0].b || p[1].a >= p[1].b)
			continue;
		seen[relation(p[0], p[1])] = true;
		compare(t, p, 2, total);
	}
	for (int i = 0; i < 13; i++)
		assert_true(seen[i]);
	flow_table_free(t);
}

static void T3_triples(void **state)
{
	(void)state;
	struct flow_table *t = table_new();
	const unsigned total = 7;
	struct span all[64];
	unsigned n = 0;
	for (unsigned a = 0; a < total; a++)
		for (unsigned b = a + 1; b <= total; b++)
			all[n++] = (struct span) {a, b, '?'};
	for (unsigned i = 0; i < n * n * n; i++) {
		struct span p[3] = {all[i % n], all[i / n % n], all[i / n / n]};
		for (int k = 0; k < 3; k++)
			p[k].c = (char)('A' + k);
		compare(t, p, 3, total);
	}
	flow_table_free(t);
}

static void T3_random(void **state)
{
	(void)state;
	struct flow_table *t = table_new();
	uint64_t random = 5;
	for (int i = 0; i < 20000; i++) {
		struct span p[7];
		unsigned n = 4 + (unsigned)gen_below(&random, 4);
		for (unsigned k = 0; k < n; k++) {
			p[k].a = (unsigned)gen_below(&random, LINE);
			p[k].b = p[k].a + 1 + (unsigned)gen_below(&random, LINE - p[k].a);
			p[k].c = (char)('A' + k);
		}
		compare(t, p, n, LINE);
	}
	flow_table_free(t);
}

/* --- the kernel --- */

static uint16_t checksum(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Raw IPv4 with sums, as the kernel wants it */
static void tun_send(int tun, const struct packet *p)
{
	uint8_t f[256];
	size_t n = gen_frame(p, 228, f, sizeof(f));
	uint16_t sum = checksum(0, f, 20);
	f[10] = (uint8_t)(sum >> 8);
	f[11] = (uint8_t)sum;
	uint32_t pseudo = 6 + (uint32_t)(n - 20);
	for (int i = 12; i < 20; i += 2)
		pseudo += (uint32_t)(f[i] << 8 | f[i + 1]);
	sum = checksum(pseudo, f + 20, n - 20);
	f[36] = (uint8_t)(sum >> 8);
	f[37] = (uint8_t)sum;
	assert_int_equal(write(tun, f, n), (ssize_t)n);
}

/* A device with the address 10.9.0.1; -1 and why */
static int tun_open(const char **why)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	snprintf(ifr.ifr_name, IFNAMSIZ, "t0");
	*why = "no network namespace of our own (root is needed)";
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	*why = "no /dev/net/tun";
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &ifr) < 0)
		return -1;
	*why = "the TUN device cannot be set up";
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in *a = (struct sockaddr_in *)&ifr.ifr_addr;
	*a = (struct sockaddr_in) {.sin_family = AF_INET};
	inet_pton(AF_INET, "10.9.0.1", &a->sin_addr);
	if (ioctl(s, SIOCSIFADDR, &ifr) < 0)
		return -1;
	inet_pton(AF_INET, "255.255.255.0", &a->sin_addr);
	if (ioctl(s, SIOCSIFNETMASK, &ifr) < 0)
		return -1;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		return -1;
	close(s);
	return tun;
}

static int listener(void)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
	inet_pton(AF_INET, "10.9.0.1", &a.sin_addr);
	struct timeval limit = {.tv_sec = 5};
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s, 16), 0);
	return s;
}

/* The next TCP packet from the kernel to this port */
static bool tun_read(int tun, uint16_t port, struct packet *p)
{
	static uint8_t f[2048];
	for (;;) {
		struct pollfd fd = {.fd = tun, .events = POLLIN};
		if (poll(&fd, 1, 5000) != 1)
			return false;
		ssize_t n = read(tun, f, sizeof(f));
		if (n > 0 &&
		    packet_parse(12, bytes_of(f, (size_t)n), (uint32_t)n, 0, p) == PACKET_OK &&
		    p->dport == port)
			return true;
	}
}

static void kernel_read(int tun, int server, uint16_t port, const struct span *p, unsigned n,
			unsigned total, char out[LINE + 1])
{
	struct gen_conn c = gen_conn("10.9.0.2", port, "10.9.0.1", 80, 1000);
	struct gen g;
	gen_init(&g);
	struct packet reply;
	tun_send(tun, gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES("")));
	assert_true(tun_read(tun, port, &reply));
	assert_int_equal(reply.flags, TCP_SYN | TCP_ACK);
	c.isn[1] = reply.seq;
	tun_send(tun, gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("")));
	int s = accept(server, NULL, NULL);
	assert_true(s >= 0);
	char text[LINE];
	for (unsigned i = 0; i < n; i++) {
		memset(text, p[i].c, sizeof(text));
		tun_send(tun, gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, p[i].a,
				      bytes_of(text, p[i].b - p[i].a)));
	}
	for (unsigned i = 0; i < total; i++)
		tun_send(tun, gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, i, BYTES(".")));
	memset(out, 0, LINE + 1);
	assert_int_equal(recv(s, out, total, MSG_WAITALL), total);
	tun_send(tun, gen_raw(&g, &c, DIR_REQUEST, TCP_RST, total, BYTES("")));
	close(s);
	gen_fini(&g);
}

static void kernel_compare(int tun)
{
	int server = listener();
	struct flow_table *t = table_new();
	const unsigned total = 6;
	struct span all[64];
	unsigned n = 0, compared = 0;
	for (unsigned a = 0; a < total; a++)
		for (unsigned b = a + 1; b <= total; b++)
			all[n++] = (struct span) {a, b, '?'};
	for (unsigned i = 0; i < n * n; i++) {
		struct span p[2] = {all[i % n], all[i / n]};
		p[0].c = 'A';
		p[1].c = 'B';
		char kernel[LINE + 1];
		kernel_read(tun, server, (uint16_t)(10000 + i), p, 2, total, kernel);
		ours_read(t, p, 2, total);
		if (memcmp(kernel, got, total))
			fail_msg("[%u, %u) [%u, %u): kernel %s, ours %s", p[0].a, p[0].b, p[1].a,
				 p[1].b, kernel, got);
		compared++;
	}
	assert_int_equal(compared, 441);
	flow_table_free(t);
	close(server);
}

static void T3_as_the_kernel_reads(void **state)
{
	(void)state;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	const char *why = "";
	int tun = tun_open(&why);
	if (tun < 0) {
		print_message("SKIP: %s: %s\n", why, strerror(errno));
		setns(home, CLONE_NEWNET);
		close(home);
		skip();
	}
	kernel_compare(tun);
	close(tun);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
}

/* A piece that was captured in part, out of order: its tail is a gap, what follows stands. */
static void cut_piece_out_of_order(void **state)
{
	(void)state;
	struct stream s = {0};
	struct stream_ledger l = {.in = 8};
	stream_start(&s, 100);
	struct stream_segment g = {.end = 8, .data = BYTES("abc")};
	assert_int_equal(stream_offset(&s, 104), 4);
	assert_true(stream_trim(&s, &g, 4, false, &l));
	assert_int_equal(stream_store(&s, &g, 1, 1, &l), 0);
	assert_int_equal(l.held, 8);
	assert_int_equal(s.first->have, 3);
	assert_int_equal(s.first->end, 12);
	stream_drop(&s, STREAM_AFTER_CLOSE, &l);
	struct ledger_stage stage;
	stream_stage(&l, &stage);
	assert_int_equal(ledger_residue(&stage), 0);
	assert_int_equal(l.charged, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T3_all_13_relations),
		cmocka_unit_test(T3_triples),
		cmocka_unit_test(T3_random),
		cmocka_unit_test(T3_as_the_kernel_reads),
		cmocka_unit_test(cut_piece_out_of_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
