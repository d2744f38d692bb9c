/* SPDX-License-Identifier: Apache-2.0 */
/* The back ends `cgroup` and `socket` on real traffic in a network namespace of its own: every byte
 * once, ledger exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#include "bpf/event.h"
#include "witness.h"

static void covered_as(const struct attach_ops *ops, const char *spec, bool v6, unsigned calls,
		       uint32_t request, uint32_t reply)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = calls,
				.request = request,
				.reply = reply,
				.port = port,
				.v6 = v6,
				.server_cgroup = witness_group[SERVICE],
				.client_cgroup = witness_group[PROXY]};
	struct ledger_stage st[WITNESS_STAGES];
	uint64_t before = netrig_retransmits();
	struct witness s;

	witness_capture(ops, witness_config(NULL, spec, &port, 1), &t, &s, st);
	witness_every_byte_once(&s, before);
	for (unsigned i = 0; i < st[0].n_exits; i++)
		assert_false(st[0].exits[i].lost && st[0].exits[i].n);
	witness_fini(&s);
}

static void each_size(const struct attach_ops *ops, const char *spec)
{
	for (int v6 = 0; v6 < 2; v6++) {
		covered_as(ops, spec, v6, 300, 100, 1024);
		covered_as(ops, spec, v6, 100, 3000, 16384);
		covered_as(ops, spec, v6, 3, 1, 3 << 20);
	}
}

static void i6_service_alone(void **state)
{
	(void)state;
	each_size(&attach_cgroup, witness_group[SERVICE]);
}

static void i6_proxy_alone(void **state)
{
	(void)state;
	each_size(&attach_cgroup, witness_group[PROXY]);
}

static void i6_both(void **state)
{
	char spec[700];

	(void)state;
	snprintf(spec, sizeof(spec), "%s,%s", witness_group[SERVICE], witness_group[PROXY]);
	each_size(&attach_cgroup, spec);
}

static void i6_parent(void **state)
{
	char spec[700];

	(void)state;
	each_size(&attach_cgroup, witness_group[PARENT]);
	snprintf(spec, sizeof(spec), "%s,%s", witness_group[SERVICE],
		 witness_group[PARENT]); /* a child named beside it adds nothing */
	each_size(&attach_cgroup, spec);
}

static void i6_root(void **state)
{
	(void)state;
	each_size(&attach_cgroup, NULL);
}

static void i6_socket(void **state)
{
	(void)state;
	each_size(&attach_socket, NULL);
	each_size(&attach_socket, "lo");
}

static void uncovered_is_not_seen(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 5,
				.request = 10,
				.reply = 10,
				.port = port,
				.server_cgroup = witness_group[SERVICE],
				.client_cgroup = witness_group[PROXY]};
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;

	(void)state;
	witness_capture(&attach_cgroup, witness_config(NULL, witness_group[OTHER], &port, 1), &t,
			&s, st);
	assert_int_equal(s.events, 0);
	assert_int_equal(st[0].in, 0);
	witness_fini(&s);
}

/* A client port first used inside, then from outside: the second conversation is not mistaken for
 * the first. */
static void reused_port_from_outside(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 5,
				.request = 10,
				.reply = 10,
				.port = port,
				.server_cgroup = witness_group[SERVICE],
				.client_cgroup = witness_group[PROXY]};
	struct ledger_stage st[WITNESS_STAGES];
	struct netrig_run r;
	struct witness s[2];

	(void)state;
	t.client_port = witness_client++;
	witness_init(&s[0], &t);
	witness_init(&s[1], &t);
	struct attach_cfg cfg = witness_config(&s[0], witness_group[PARENT], &port, 1);
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	assert_int_equal(netrig_start(&r, &t), 0);
	witness_talk(&attach_cgroup, a, &r);
	while (attach_cgroup.drain(a, 100) != ATTACH_EMPTY)
		;
	uint64_t before = s[0].events;
	t.client_cgroup = witness_group[OTHER];
	t.dial = "127.0.0.1";
	s[0].based[0] = s[0].based[1] = false;
	memset(s[0].mark[0], 0, s[0].want[0]);
	memset(s[0].mark[1], 0, s[0].want[1]);
	assert_int_equal(netrig_start(&r, &t), 0);
	witness_talk(&attach_cgroup, a, &r);
	witness_settle(&attach_cgroup, a, st);
	attach_cgroup.close(a);
	assert_true(before > 10 && s[0].events >= 2 * before);
	assert_int_equal(s[0].wrong, 0);
	assert_int_equal(s[0].distinct[0], 2 * s[0].want[0]);
	assert_int_equal(s[0].distinct[1], 2 * s[0].want[1]);
	witness_fini(&s[0]);
	witness_fini(&s[1]);
}

/* ---- what a packet can be ---- */

static void i2_packets_over_64k(void **state)
{
	const uint16_t port = 8080;
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		uint64_t before = netrig_retransmits();
		struct netrig_talk t = {
			.calls = 2, .request = 8 << 20, .reply = 8 << 20, .port = port, .v6 = v6};
		witness_capture(&attach_cgroup, witness_config(NULL, NULL, &port, 1), &t, &s, st);
		witness_every_byte_once(&s, before);
		if (witness_kernel(6, 12))
			assert_true(s.largest > 65536);
		witness_fini(&s);
	}
}

static void t20_byte_at_a_time(void **state)
{
	const uint16_t port = 8080;
	uint64_t before = netrig_retransmits();
	struct netrig_talk t = {
		.calls = 1, .request = 3000, .reply = 3000, .chunk = 1, .port = port};
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;

	(void)state;
	witness_capture(&attach_cgroup, witness_config(NULL, NULL, NULL, 0), &t, &s, st);
	witness_every_byte_once(&s, before);
	witness_fini(&s);
}

/* ---- I11: a redirect ---- */

static bool redirect(bool on)
{
	return system(on ? "ip addr add 10.7.0.2/32 dev lo && ip route add 10.7.0.96/28 dev lo src 10.7.0.2 && "
			   "nft 'table ip netrig { chain out { type nat hook output priority -100; "
			   "ip daddr 10.7.0.99 tcp dport 80 redirect to :15001; }; }'"
			 : "nft delete table ip netrig; ip addr del 10.7.0.2/32 dev lo") == 0;
}

struct where {
	const struct attach_ops *ops;
	const char *spec;
};

static void i11_redirected(void **state)
{
	static const uint16_t ports[] = {15001, 80, 15001};
	char both[700];
	const struct where places[] = {{&attach_cgroup, witness_group[SERVICE]},
				       {&attach_cgroup, witness_group[PROXY]},
				       {&attach_cgroup, both},
				       {&attach_cgroup, witness_group[PARENT]},
				       {&attach_cgroup, NULL},
				       {&attach_socket, NULL}};

	(void)state;
	if (!redirect(true))
		skip(); /* no nft here */
	snprintf(both, sizeof(both), "%s,%s", witness_group[SERVICE], witness_group[PROXY]);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		for (int set = 0; set < 4; set++) { /* 15001; 80; both; all */
			const uint16_t *chosen = set == 3 ? NULL : ports + (set == 2 ? 1 : set);
			struct netrig_talk t = {.calls = 50,
						.request = 200,
						.reply = 5000,
						.port = 15001,
						.dial_port = 80,
						.dial = "10.7.0.99",
						.server_cgroup = witness_group[PROXY],
						.client_cgroup = witness_group[SERVICE]};
			uint64_t before = netrig_retransmits();
			struct ledger_stage st[WITNESS_STAGES];
			struct witness s;
			witness_capture(places[i].ops,
					witness_config(NULL, places[i].spec, chosen,
						       set == 3   ? 0
						       : set == 2 ? 2
								  : 1),
					&t, &s, st);
			/* Who sees the packets at lo or at the proxy only, and knows 80 only,
			 * cannot know the SYN yet: it says 15001. */
			if (set == 1 && (places[i].ops == &attach_socket ||
					 places[i].spec == witness_group[PROXY]))
				s.syn++;
			witness_every_byte_once(&s, before);
			witness_fini(&s);
		}
	}
	assert_true(redirect(false));
}

/* ---- control ---- */

static void s10_own_ports(void **state)
{
	const struct attach_ops *both[] = {&attach_cgroup, &attach_socket};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct netrig_talk t = {.calls = 20,
					.request = 100,
					.reply = 100,
					.port = 9092,
					.client_port = witness_client++};
		struct ledger_stage st[WITNESS_STAGES];
		struct netrig_run r;
		struct witness s;
		witness_init(&s, &t);
		struct attach_cfg cfg = witness_config(&s, NULL, NULL, 0);
		struct attach *a = witness_open(both[i], &cfg);
		both[i]->own_port(a, t.client_port, true);
		both[i]->own_port(a, 5, true);
		both[i]->own_port(a, 5, false);
		assert_int_equal(netrig_start(&r, &t), 0);
		witness_talk(both[i], a, &r);
		witness_settle(both[i], a, st);
		both[i]->close(a);
		assert_int_equal(s.events, 0);
		assert_true(witness_exit(&st[0], "own") >= 40);
		/* Under the root there may be other traffic on this machine. */
		assert_int_equal(witness_exit(&st[0], "own") + witness_exit(&st[0], "other_netns") +
					 witness_exit(&st[0], "other_interface"),
				 st[0].in);
		witness_fini(&s);
	}
}

static void mutes_and_heads(void **state)
{
	(void)state;
	for (unsigned kind = VERDICT_HEAD; kind <= VERDICT_MUTE; kind++) {
		const uint16_t port = 8080;
		uint64_t before = netrig_retransmits();
		struct netrig_talk t = {.calls = 20,
					.request = 100,
					.reply = 1000,
					.port = port,
					.gate = true,
					.client_port = witness_client++};
		struct ledger_stage st[WITNESS_STAGES];
		struct netrig_run r;
		struct witness s;
		witness_init(&s, &t);
		struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
		struct attach *a = witness_open(&attach_cgroup, &cfg);
		assert_int_equal(netrig_start(&r, &t), 0);
		while (s.syn < 2)
			witness_pump(&attach_cgroup, a, 20);
		attach_cgroup.verdict(a, s.slot, s.tag << 4 | kind);
		netrig_go(&r);
		witness_talk(&attach_cgroup, a, &r);
		witness_settle(&attach_cgroup, a, st);
		attach_cgroup.close(a);
		assert_int_equal(s.wrong, 0);
		assert_true(s.fin >= 2);
		if (kind == VERDICT_MUTE) {
			assert_int_equal(s.distinct[0] + s.distinct[1], 0);
			assert_true(witness_exit(&st[0], "muted") >= 40);
			assert_true(witness_exit(&st[1], "muted") >= 20 * 1100);
		} else if (netrig_retransmits() == before) {
			assert_int_equal(s.payload[0] + s.payload[1], 20 * 1100);
			assert_int_equal(s.distinct[0] + s.distinct[1], 40 * 10);
			assert_int_equal(witness_exit(&st[3], "cut"), 20 * 1100 - 40 * 10);
		}
		witness_fini(&s);
	}
}

/* Measured while the kernel counts, else estimated. */
static void the_probes_own_time(void **state)
{
	(void)state;
	for (int counted = 0; counted < 2; counted++) {
		const uint16_t port = 8080;
		struct netrig_talk t = {.calls = 20,
					.request = 100,
					.reply = 1000,
					.port = port,
					.client_port = witness_client++};
		struct ledger_stage st[WITNESS_STAGES];
		struct netrig_run r;
		struct witness s;
		uint64_t ns = 0;
		int stats = counted ? bpf_enable_stats(BPF_STATS_RUN_TIME) : -1;
		if (counted && stats < 0)
			skip();
		witness_init(&s, &t);
		struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
		struct attach *a = witness_open(&attach_cgroup, &cfg);
		assert_int_equal(netrig_start(&r, &t), 0);
		witness_talk(&attach_cgroup, a, &r);
		bool measured = attach_cgroup.run_ns(a, &ns);
		assert_true(ns > 0);
		if (counted)
			assert_true(measured);
		witness_settle(&attach_cgroup, a, st);
		attach_cgroup.close(a);
		witness_fini(&s);
		if (counted)
			close(stats);
	}
}

/* ---- rings ---- */

static void i9_full_rings_are_counted(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 300,
				.request = 100,
				.reply = 3000,
				.port = port,
				.client_port = witness_client++};
	struct ledger_stage st[WITNESS_STAGES];
	struct netrig_run r;
	struct witness s;
	bool ok = true;

	(void)state;
	witness_init(&s, &t);
	struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
	cfg.hot_bytes = 16384;
	cfg.overflow_bytes = 65536;
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	assert_int_equal(netrig_start(&r, &t), 0);
	while (!netrig_done(&r, &ok)) /* nobody reads */
		usleep(1000);
	netrig_stop(&r);
	assert_true(ok);
	witness_settle(&attach_cgroup, a, st);
	assert_int_equal(s.wrong, 0);
	assert_int_equal(s.first_flags, TCP_SYN); /* the hot ring is read first */
	assert_true(witness_exit(&st[0], "ring_full") > 100);
	assert_true(st[2].in > 10);
	/* What arrived and what is counted as lost is what was sent: headers of about 52 bytes
	 * aside. */
	uint64_t lost = witness_exit(&st[1], "ring_full"),
		 packets = witness_exit(&st[0], "ring_full");
	uint64_t missing = s.want[0] + s.want[1] - s.distinct[0] - s.distinct[1];
	assert_in_range(lost - packets * 52, missing > 10 * packets ? missing - 10 * packets : 0,
			missing + 20 * packets);
	attach_cgroup.close(a);
	witness_fini(&s);
}

static void spill_keeps_all(void **state)
{
	const uint16_t port = 8080;
	uint64_t before = netrig_retransmits();
	struct netrig_talk t = {.calls = 200, .request = 4000, .reply = 16384, .port = port};
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;
	struct attach_cfg cfg = witness_config(NULL, NULL, &port, 1);

	(void)state;
	cfg.hot_bytes = 4096; /* holds no reply at all */
	cfg.overflow_bytes = 8 << 20;
	witness_capture(&attach_cgroup, cfg, &t, &s, st);
	witness_every_byte_once(&s, before);
	witness_fini(&s);
}

static void wakes_the_sleeper(void **state)
{
	const struct attach_ops *both[] = {&attach_cgroup, &attach_socket};
	const uint16_t port = 8080;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct netrig_talk t = {.calls = 1,
					.request = 10,
					.reply = 10,
					.port = port,
					.gate = true,
					.client_port = witness_client++};
		struct netrig_run r;
		struct witness s;
		struct epoll_event ev;
		struct ledger_stage st[WITNESS_STAGES];
		witness_init(&s, &t);
		struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
		struct attach *a = witness_open(both[i], &cfg);
		assert_int_equal(netrig_start(&r, &t), 0);
		assert_false(both[i]->sleep(a)); /* the handshake is there */
		while (both[i]->drain(a, 100) != ATTACH_EMPTY)
			;
		assert_true(both[i]->sleep(a));
		assert_int_equal(epoll_wait(both[i]->fd(a), &ev, 1, 0), 0);
		netrig_go(&r);
		assert_int_equal(epoll_wait(both[i]->fd(a), &ev, 1, 10000), 1);
		witness_talk(both[i], a, &r);
		witness_settle(both[i], a, st);
		both[i]->close(a);
		assert_int_equal(s.distinct[0] + s.distinct[1], 20);
		witness_fini(&s);
	}
}

static void budget_is_kept(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 20,
				.request = 10,
				.reply = 10,
				.port = port,
				.client_port = witness_client++};
	struct netrig_run r;
	struct witness s;
	bool ok = true;

	(void)state;
	witness_init(&s, &t);
	struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	assert_int_equal(netrig_start(&r, &t), 0);
	while (!netrig_done(&r, &ok))
		usleep(1000);
	netrig_stop(&r);
	assert_int_equal(attach_cgroup.drain(a, 7), ATTACH_MORE);
	assert_int_equal(s.events, 7);
	assert_int_equal(attach_cgroup.drain(a, 100000), ATTACH_EMPTY);
	assert_true(s.events >= 40);
	attach_cgroup.close(a);
	witness_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i6_service_alone),
		cmocka_unit_test(i6_proxy_alone),
		cmocka_unit_test(i6_both),
		cmocka_unit_test(i6_parent),
		cmocka_unit_test(i6_root),
		cmocka_unit_test(i6_socket),
		cmocka_unit_test(uncovered_is_not_seen),
		cmocka_unit_test(reused_port_from_outside),
		cmocka_unit_test(i2_packets_over_64k),
		cmocka_unit_test(t20_byte_at_a_time),
		cmocka_unit_test(i11_redirected),
		cmocka_unit_test(s10_own_ports),
		cmocka_unit_test(mutes_and_heads),
		cmocka_unit_test(the_probes_own_time),
		cmocka_unit_test(i9_full_rings_are_counted),
		cmocka_unit_test(spill_keeps_all),
		cmocka_unit_test(wakes_the_sleeper),
		cmocka_unit_test(budget_is_kept),
	};

	if (geteuid() != 0 || netrig_netns() != 0) {
		printf("SKIP: needs root, for BPF and a network namespace\n");
		return 0;
	}
	return cmocka_run_group_tests_name("attach_bpf", tests, witness_make_groups,
					   witness_remove_groups);
}
