/* SPDX-License-Identifier: Apache-2.0 */
/* Which packets the probe takes, and by which exit the others leave: selection, sampling, verdicts,
 * hooks, rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>

#include "rig.h"

enum { CLIENT = 40001, SERVER = 8080 };

/* ---- selection ---- */

static void selects_by_port(void **state)
{
	const uint16_t ports[] = {SERVER, 65535};
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;

	(void)state;
	config.all_ports = 0;
	rig_open(&r, config, ports, 2, 1 << 16, 1 << 16);
	for (int form = 0; form < (int)rig_forms; form++) {
		frame_plain(&f, 50000, SERVER, 0x18, 10);
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		uint32_t slot = r.last.flow_slot, tag = r.last.flow_tag;
		assert_int_equal(slot, event_slot(event_hash(r.last.saddr, 50000, 0)));
		frame_plain(&f, SERVER, 50000, 0x18, 10);
		memcpy(f.b + FRAME_ETHER + 12, (uint8_t[]) {127, 0, 0, 2, 127, 0, 0, 1}, 8);
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		assert_int_equal(slot, r.last.flow_slot);
		assert_int_equal(tag, r.last.flow_tag);
		frame_plain(&f, 65535, 1, 0x18, 10);
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		frame_plain(&f, 8079 - form, 8081, 0x18, 10);
		assert_int_equal(rig_run(&r, form, &f), EXIT_NOT_SELECTED);
		frame_plain(&f, 8079 - form, 8081, 0x10, 0);
		assert_int_equal(rig_run(&r, form, &f), EXIT_NOT_SELECTED);
	}
	rig_close(&r);
}

/* Under REDIRECT a filter sees the other direction without a chosen port: it goes by the client. */
static void filter_follows_the_client(void **state)
{
	const uint16_t ports[] = {15001};
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;

	(void)state;
	config.all_ports = 0;
	rig_open(&r, config, ports, 1, 1 << 16, 1 << 16);
	frame_plain(&f, 80, 41000, 0x18, 10);
	memcpy(f.b + FRAME_ETHER + 12, (uint8_t[]) {10, 7, 0, 99, 127, 0, 0, 1}, 8);
	assert_int_equal(rig_run(&r, RIG_FILTER, &f), EXIT_NOT_SELECTED);
	struct frame reply = f;
	frame_plain(&f, 41000, 15001, 0x18, 10);
	assert_int_equal(rig_run(&r, RIG_FILTER, &f), EXIT_SUBMITTED);
	uint32_t tag = r.last.flow_tag;
	assert_int_equal(rig_run(&r, RIG_FILTER, &reply), EXIT_SUBMITTED);
	assert_int_equal(r.last.flow_tag, tag);
	frame_plain(&f, 41000, 9999, 0x02, 0); /* the port is taken by a new connection */
	assert_int_equal(rig_run(&r, RIG_FILTER, &f), EXIT_NOT_SELECTED);
	assert_int_equal(rig_run(&r, RIG_FILTER, &reply), EXIT_NOT_SELECTED);
	rig_close(&r);
}

static void leaves_own_ports(void **state)
{
	struct rig *r = *state;
	struct frame f;

	for (int form = 0; form < (int)rig_forms; form++) {
		r->own_ports[9092 >> 6] = 1ull << (9092 & 63);
		frame_plain(&f, 9092, 1, 0x18, 10);
		assert_int_equal(rig_run(r, form, &f), EXIT_OWN);
		frame_plain(&f, 1, 9092, 0x10, 0);
		assert_int_equal(rig_run(r, form, &f), EXIT_OWN);
		frame_plain(&f, 1, 9093, 0x18, 10);
		assert_int_equal(rig_run(r, form, &f), EXIT_SUBMITTED);
		r->own_ports[9092 >> 6] = 0;
		frame_plain(&f, 1, 9092, 0x18, 10);
		assert_int_equal(rig_run(r, form, &f), EXIT_SUBMITTED);
	}
}

/* Only our namespace is kept, when asked so; own ports mean nothing elsewhere. */
static void knows_its_namespace(void **state)
{
	uint64_t here = rig_cookie();
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;

	(void)state;
	if (rig_forms < RIG_FORMS)
		skip(); /* before Linux 6.16 */
	for (int other = 0; other < 2; other++) {
		config.own_netns = here + (uint64_t)other;
		for (int only = 0; only < 2; only++) {
			config.only_own_netns = (__u8)only;
			rig_open(&r, config, NULL, 0, 1 << 16, 1 << 16);
			r.own_ports[77 >> 6] = 1ull << (77 & 63);
			for (int form = RIG_EGRESS_COOKIE; form <= RIG_INGRESS_COOKIE; form++) {
				frame_plain(&f, 5000, 6000, 0x18, 10);
				assert_int_equal(rig_run(&r, form, &f),
						 only && other ? EXIT_OTHER_NETNS : EXIT_SUBMITTED);
				if (!(only && other))
					assert_int_equal(r.last.scope, here);
				frame_plain(&f, 77, 6000, 0x18, 10);
				assert_int_equal(rig_run(&r, form, &f), !other ? EXIT_OWN
									: only ? EXIT_OTHER_NETNS
									       : EXIT_SUBMITTED);
			}
			rig_close(&r);
		}
	}
}

static void samples_connections(void **state)
{
	enum { N = 2000 };
	const uint64_t keep_below = KEEP_ALL / 4;
	const uint16_t ports[] = {SERVER};
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;
	unsigned kept = 0;

	(void)state;
	config.all_ports = 0;
	config.hash_seed = 4711;
	rig_open(&r, config, ports, 1, 1 << 16, 1 << 16);
	r.k->data->control.keep_below = keep_below;
	for (unsigned i = 0; i < N; i++) {
		unsigned client = 20000 + i;
		uint8_t addr[16] __attribute__((aligned(8))) = {[10] = 0xff, 0xff, 127, 0, 0, 1};
		bool keep = event_hash(addr, (uint16_t)client, 4711) >> 32 < keep_below;
		frame_plain(&f, client, SERVER, i % 2 ? 0x02 : 0x18, i % 2 ? 0 : 5);
		assert_int_equal(rig_run(&r, (int)(i % rig_forms), &f),
				 keep ? EXIT_SUBMITTED : EXIT_SAMPLED_OUT);
		frame_plain(&f, SERVER, client, i % 3 ? 0x11 : 0x04, 0);
		memcpy(f.b + FRAME_ETHER + 12, (uint8_t[]) {127, 0, 0, 2, 127, 0, 0, 1}, 8);
		assert_int_equal(rig_run(&r, (int)((i + 1) % rig_forms), &f),
				 keep ? EXIT_SUBMITTED : EXIT_SAMPLED_OUT);
		kept += keep;
	}
	assert_in_range(kept, N / 4 - 100, N / 4 + 100);
	rig_close(&r);
}

/* ---- verdicts of user space ---- */

static void obeys_verdicts(void **state)
{
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;

	(void)state;
	config.head_bytes = 16;
	rig_open(&r, config, NULL, 0, 1 << 16, 1 << 16);
	for (int form = 0; form < (int)rig_forms; form++) {
		frame_plain(&f, CLIENT, SERVER, 0x18, 100);
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		uint64_t *v = &r.verdicts[r.last.flow_slot], tag = r.last.flow_tag;
		*v = tag << 4 | VERDICT_MUTE;
		assert_int_equal(rig_run(&r, form, &f), EXIT_MUTED);
		for (unsigned flag = 1; flag < 8; flag <<= 1) {
			frame_plain(&f, CLIENT, SERVER, flag, 100);
			assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
			assert_int_equal(r.last.payload_len, 100);
			assert_int_equal(r.last.data_len, 0);
		}
		frame_plain(&f, CLIENT, SERVER, 0x18, 100);
		*v = tag << 4 | VERDICT_HEAD;
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		assert_int_equal(r.last.payload_len, 100);
		assert_int_equal(r.last.data_len, 16);
		assert_memory_equal(r.data, f.b + f.n - 100, 16);
		*v = (tag + 1) << 4 | VERDICT_MUTE; /* another connection's */
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		assert_int_equal(r.last.data_len, 100);
		*v = 0;
	}
	uint64_t cut = 0, submitted = 0;
	for (int i = 0; i < PROBE_SLOTS; i++) {
		cut += r.counters[i].payload_cut;
		submitted += r.counters[i].payload_submitted;
	}
	assert_int_equal(cut, rig_forms * (3 * 100 + 84));
	assert_int_equal(submitted, rig_forms * (100 + 16 + 100));
	rig_close(&r);
}

/* ---- two hooks ---- */

static int run_seq(struct rig *r, int form, unsigned flags, uint32_t seq, size_t payload)
{
	struct frame f;

	frame_plain(&f, CLIENT, SERVER, flags, payload);
	seq = htonl(seq);
	memcpy(f.b + FRAME_ETHER + 24, &seq, 4);
	return rig_run(r, form, &f);
}

static void i6_takes_each_packet_once(void **state)
{
	struct probe_config config = rig_all;
	struct rig r;

	(void)state;
	config.two_hooks = 1;
	for (int copy = 0; copy < 4; copy += 2) {
		int out = RIG_EGRESS + copy, in = RIG_INGRESS + copy;
		rig_open(&r, config, NULL, 0, 1 << 16, 1 << 16);
		/* The sender is outside: ingress has it. */
		assert_int_equal(run_seq(&r, in, 0x18, 1, 5), EXIT_SUBMITTED);
		/* Both ends inside: a connection from its SYN to its RST, each packet at egress
		 * first. */
		assert_int_equal(run_seq(&r, out, 0x02, 100, 0), EXIT_SUBMITTED);
		assert_int_equal(run_seq(&r, in, 0x02, 100, 0), EXIT_OTHER_HOOK);
		assert_int_equal(run_seq(&r, out, 0x18, 101, 5), EXIT_SUBMITTED);
		assert_int_equal(run_seq(&r, in, 0x18, 101, 5), EXIT_OTHER_HOOK);
		/* A reset that no socket sent is seen at ingress only. */
		assert_int_equal(run_seq(&r, in, 0x04, 106, 0), EXIT_SUBMITTED);
		assert_int_equal(run_seq(&r, out, 0x04, 106, 0), EXIT_SUBMITTED);
		assert_int_equal(run_seq(&r, in, 0x04, 106, 0), EXIT_OTHER_HOOK);
		/* The same ports again, now of a socket outside: the note is stale. */
		assert_int_equal(run_seq(&r, in, 0x02, 900, 0), EXIT_SUBMITTED);
		assert_int_equal(run_seq(&r, in, 0x18, 901, 5), EXIT_SUBMITTED);
		rig_close(&r);
	}
}

/* ---- time, rings, wakeup ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void takes_the_time(void **state)
{
	struct rig *r = *state;
	struct frame f;
	uint32_t verdict;

	frame_plain(&f, CLIENT, SERVER, 0x18, 10);
	for (int form = 0; form < (int)rig_forms; form++) {
		for (uint64_t stamp = 0; stamp < 2; stamp++) {
			uint64_t before = now_ns();
			assert_int_equal(rig_run_raw(r->fd[form], &f, stamp * 4242, &verdict), 0);
			rig_take(r, &r->hot);
			if (stamp && rig_hook[form] == HOOK_EGRESS)
				assert_int_equal(r->last.ts_ns, 4242);
			else
				assert_in_range(r->last.ts_ns, before, now_ns());
		}
	}
}

static unsigned count_ring(struct ring *ring, uint32_t *first, uint32_t *last)
{
	struct bytes rec;
	unsigned n = 0;

	while (ring_next(ring, &rec) > 0) {
		const struct event *e = (const void *)rec.p;
		*first = n++ ? *first : e->sport;
		*last = e->sport;
		ring_release(ring);
	}
	return n;
}

static void i9_spills_and_counts(void **state)
{
	enum { SENT = 60 };
	struct rig r;
	struct frame f;
	uint32_t verdict, first, last;

	(void)state;
	rig_open(&r, rig_all, NULL, 0, 4096, 8192);
	struct probe_control *control = &r.k->data->control;
	for (int round = 0; round < 3; round++) {
		uint64_t full = rig_exit(&r, EXIT_RING_FULL, false);
		for (unsigned i = 0; i < SENT; i++) {
			frame_plain(&f, 1000 + i, SERVER, 0x18, 100);
			assert_int_equal(rig_run_raw(r.fd[i % rig_forms], &f, 1, &verdict), 0);
		}
		assert_int_equal(control->spill, 1);
		/* 608 bytes a record: the kernel leaves less than one record of each ring unused.
		 */
		unsigned hot = count_ring(&r.hot, &first, &last);
		assert_int_equal(hot, 4096 / 608);
		assert_int_equal(first, 1000);
		assert_int_equal(last, 1000 + hot - 1);
		unsigned overflow = count_ring(&r.overflow, &first, &last);
		assert_int_equal(overflow, 8192 / 608);
		assert_int_equal(first, 1000 + hot);
		assert_int_equal(rig_exit(&r, EXIT_RING_FULL, false) - full, SENT - hot - overflow);
		/* While it is set, the empty hot ring gets nothing. */
		frame_plain(&f, 1, SERVER, 0x18, 100);
		assert_int_equal(rig_run_raw(r.fd[0], &f, 1, &verdict), 0);
		assert_true(ring_empty(&r.hot) && !ring_empty(&r.overflow));
		count_ring(&r.overflow, &first, &last);
		control->spill = 0;
	}
	rig_balanced(&r, false, 3 * (SENT + 1));
	rig_close(&r);
}

static void cuts_what_no_ring_holds(void **state)
{
	struct probe_config config = rig_all;
	struct rig r;
	struct frame f;

	(void)state;
	config.class_max = 2048;
	rig_open(&r, config, NULL, 0, 4096, 4096);
	for (int form = 0; form < (int)rig_forms; form++) {
		frame_plain(&f, CLIENT, SERVER, 0x18, 2500);
		assert_int_equal(rig_run(&r, form, &f), EXIT_SUBMITTED);
		assert_int_equal(r.last.payload_len, 2500);
		assert_int_equal(r.last.data_len, 2048);
		assert_memory_equal(r.data, f.b + f.n - 2500, 2048);
	}
	rig_close(&r);
	config.class_max = 0;
	rig_open(&r, config, NULL, 0, 4096, 4096);
	assert_int_equal(rig_run(&r, RIG_EGRESS, &f), EXIT_TOO_BIG);
	rig_close(&r);
}

/* No wakeup while the reader is awake; one, from either ring, after it said that it sleeps. */
static void wakes_only_a_sleeper(void **state)
{
	struct rig r;
	struct frame f;
	uint32_t verdict, a, b;
	struct epoll_event ev = {.events = EPOLLIN};

	(void)state;
	frame_plain(&f, CLIENT, SERVER, 0x18, 10);
	rig_open(&r, rig_all, NULL, 0, 4096, 4096);
	int ep = epoll_create1(0);
	struct probe_control *control = &r.k->data->control;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, bpf_map__fd(r.k->maps.hot), &ev), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, bpf_map__fd(r.k->maps.overflow), &ev), 0);
	for (unsigned spill = 0; spill < 2; spill++) {
		control->spill = spill;
		assert_int_equal(rig_run_raw(r.fd[RIG_EGRESS], &f, 1, &verdict), 0);
		assert_int_equal(epoll_wait(ep, &ev, 1, 20), 0);
		control->sleeping = 1;
		assert_int_equal(rig_run_raw(r.fd[RIG_EGRESS], &f, 1, &verdict), 0);
		assert_int_equal(control->sleeping, 0);
		assert_int_equal(epoll_wait(ep, &ev, 1, 10000), 1);
		assert_int_equal(count_ring(spill ? &r.overflow : &r.hot, &a, &b), 2);
		assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
	}
	close(ep);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selects_by_port),
		cmocka_unit_test(filter_follows_the_client),
		cmocka_unit_test_setup_teardown(leaves_own_ports, rig_setup, rig_teardown),
		cmocka_unit_test(knows_its_namespace),
		cmocka_unit_test(samples_connections),
		cmocka_unit_test(obeys_verdicts),
		cmocka_unit_test(i6_takes_each_packet_once),
		cmocka_unit_test_setup_teardown(takes_the_time, rig_setup, rig_teardown),
		cmocka_unit_test(i9_spills_and_counts),
		cmocka_unit_test(cuts_what_no_ring_holds),
		cmocka_unit_test(wakes_only_a_sleeper),
	};

	return rig_ready() ? cmocka_run_group_tests_name("probe_exits", tests, NULL, NULL) : 0;
}
