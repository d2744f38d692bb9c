/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections are kept, on real traffic: by their share, which the reader may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "bpf/event.h"
#include "witness.h"

static void connections_are_sampled_whole(void **state)
{
	const uint16_t port = 8080;
	unsigned kept = 0, runs = 40;

	(void)state;
	for (unsigned i = 0; i < runs; i++) {
		struct netrig_talk t = {.calls = 3, .request = 10, .reply = 10, .port = port};
		struct ledger_stage st[WITNESS_STAGES];
		struct witness s;
		struct attach_cfg cfg = witness_config(NULL, NULL, &port, 1);
		cfg.keep_below = 1ull << 31;
		uint64_t before = netrig_retransmits();
		witness_capture(i % 2 ? &attach_cgroup : &attach_socket, cfg, &t, &s, st);
		if (s.events) {
			witness_every_byte_once(&s, before);
			assert_int_equal(witness_exit(&st[0], "sampled_out"), 0);
		} else {
			assert_true(witness_exit(&st[0], "sampled_out") >= 10);
		}
		kept += s.events > 0;
		witness_fini(&s);
	}
	assert_in_range(kept, 5, runs - 5);
}

/* While it runs: a connection at the threshold is out, one below it is whole; and back. */
static void the_share_is_lowered(void **state)
{
	(void)state;
	for (int kind = 0; kind < 6; kind++) {
		const struct attach_ops *ops = kind % 2 ? &attach_socket : &attach_cgroup;
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
		struct attach *a = witness_open(ops, &cfg);
		assert_int_equal(netrig_start(&r, &t), 0);
		while (s.syn < 2)
			witness_pump(ops, a, 20);
		ops->keep(a, s.share + (kind / 2 == 1));
		if (kind / 2 == 2)
			ops->keep(a, cfg.keep_below);
		netrig_go(&r);
		witness_talk(ops, a, &r);
		witness_settle(ops, a, st);
		ops->close(a);
		if (kind / 2) {
			witness_every_byte_once(&s, before);
			assert_int_equal(witness_exit(&st[0], "sampled_out"), 0);
		} else {
			assert_int_equal(s.distinct[0] + s.distinct[1], 0);
			assert_true(witness_exit(&st[0], "sampled_out") >= 40);
		}
		witness_fini(&s);
	}
}

/* ---- one connection within this process ---- */

enum {
	PIECE = 200000,
	PIECES = 3
}; /* bytes of a piece; each is received before the next is sent */

struct pair {
	int client, server;
	uint16_t client_port;
};

static struct pair connected(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int on = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair p = {.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	assert_int_equal(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(l, (void *)&at, n), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(connect(p.client, (void *)&at, n), 0);
	assert_int_equal(getsockname(p.client, (void *)&at, &n), 0);
	p.client_port = ntohs(at.sin_port);
	p.server = accept(l, NULL, NULL);
	assert_true(p.server >= 0);
	close(l);
	return p;
}

/* Sends a piece from the client; the server has it all. */
static void send_piece(const struct pair *p)
{
	static uint8_t piece[PIECE];
	size_t sent = 0, got = 0;

	for (size_t i = 0; i < PIECE; i++)
		piece[i] = netrig_byte(0, i);
	while (got < PIECE) {
		ssize_t n = send(p->client, piece + sent, PIECE - sent, MSG_DONTWAIT);
		static uint8_t sink[65536];
		sent += n > 0 ? (size_t)n : 0;
		n = recv(p->server, sink, sizeof(sink), 0);
		assert_true(n > 0);
		got += (size_t)n;
	}
}

static struct ledger_stage probe_now(const struct attach_ops *ops, struct attach *a)
{
	struct ledger_stage st[WITNESS_STAGES];

	ops->ledger(a, st, WITNESS_STAGES);
	return st[0];
}

/* The newest map of that name in the kernel */
static int map_named(const char *name)
{
	uint32_t id = 0;
	int found = -1;

	while (bpf_map_get_next_id(id, &id) == 0) {
		struct bpf_map_info info = {0};
		uint32_t n = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);
		bool it = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &n) == 0 &&
			  strcmp(info.name, name) == 0;
		int other = it ? found : fd;
		if (it)
			found = fd;
		if (other >= 0)
			close(other);
	}
	return found;
}

/*
 * A socket remembers that its connection is left out: its acknowledgements leave there too, before
 * they are parsed. Not longer than it is so: raised, the connection is there again.
 */
static void what_was_left_out_comes_back(void **state)
{
	const uint16_t port = 8080;
	struct netrig_talk t = {.calls = 1, .request = PIECE, .reply = 0, .port = port};
	struct ledger_stage st[WITNESS_STAGES];
	struct witness s;

	(void)state;
	struct pair p = connected(port);
	t.client_port = p.client_port;
	witness_init(&s, &t);
	struct attach_cfg cfg = witness_config(&s, NULL, &port, 1);
	cfg.keep_below = 0;
	struct attach *a = witness_open(&attach_cgroup, &cfg);
	send_piece(&p);
	for (int i = 1; i < PIECES; i++)
		send_piece(&p);
	struct ledger_stage now = probe_now(&attach_cgroup, a);
	uint64_t out = witness_exit(&now, "sampled_out"), share = 0;
	assert_true(out >= PIECES);
	assert_int_equal(out, now.in);
	int map = map_named("left_out"), ends[] = {p.client, p.server};
	for (int i = 0; i < 2; i++)
		assert_int_equal(bpf_map_lookup_elem(map, &ends[i], &share), 0);
	close(map);
	attach_cgroup.keep(a, share + 1);
	send_piece(&p);
	witness_settle(&attach_cgroup, a, st);
	assert_int_equal(witness_exit(&st[0], "sampled_out"), out);
	assert_int_equal(s.share, share);
	assert_int_equal(s.distinct[0], PIECE);
	assert_int_equal(s.wrong, 0);
	attach_cgroup.close(a);
	witness_fini(&s);
	close(p.client);
	close(p.server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_sampled_whole),
		cmocka_unit_test(the_share_is_lowered),
		cmocka_unit_test(what_was_left_out_comes_back),
	};

	if (geteuid() != 0 || netrig_netns() != 0) {
		printf("SKIP: needs root, for BPF and a network namespace\n");
		return 0;
	}
	return cmocka_run_group_tests_name("attach_share", tests, witness_make_groups,
					   witness_remove_groups);
}
