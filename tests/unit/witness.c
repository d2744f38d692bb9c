/* SPDX-License-Identifier: Apache-2.0 */
#include "witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

static void on_packet(void *ctx, const struct packet *p)
{
	struct witness *s = ctx;
	int dir = p->sport == s->client ? 0 : 1;

	if (s->events++ == 0)
		s->first_flags = p->flags;
	if (p->sport != s->client && p->dport != s->client) {
		s->wrong++;
		return;
	}
	s->syn += (p->flags & TCP_SYN) != 0;
	s->fin += (p->flags & TCP_FIN) != 0;
	s->rst += (p->flags & TCP_RST) != 0;
	s->scope = p->scope;
	s->wrong += s->events > 1 &&
		    (s->slot != p->slot || s->tag != p->tag); /* one connection, one verdict */
	s->slot = p->slot;
	s->tag = p->tag;
	s->share = p->share;
	if (!s->based[dir])
		s->base[dir] = p->seq + ((p->flags & TCP_SYN) != 0);
	s->based[dir] = true;
	s->payload[dir] += p->len;
	s->cut += p->len - p->data.n;
	s->largest = p->len > s->largest ? p->len : s->largest;
	uint32_t off = p->seq - s->base[dir];
	for (size_t i = 0; i < p->data.n; i++, off++) {
		if (off >= s->want[dir] || p->data.p[i] != netrig_byte(dir, off)) {
			s->wrong++;
			return;
		}
		s->distinct[dir] += !s->mark[dir][off];
		s->mark[dir][off] = 1;
	}
}

void witness_init(struct witness *s, const struct netrig_talk *t)
{
	*s = (struct witness) {.client = t->client_port};
	s->want[0] = (uint64_t)t->calls * t->request;
	s->want[1] = (uint64_t)t->calls * t->reply;
	for (int i = 0; i < 2; i++)
		s->mark[i] = calloc(1, s->want[i] + 1);
}

void witness_fini(struct witness *s)
{
	free(s->mark[0]);
	free(s->mark[1]);
}

struct attach_cfg witness_config(struct witness *s, const char *spec, const uint16_t *ports,
				 size_t n)
{
	return (struct attach_cfg) {.spec = spec,
				    .ports = ports,
				    .n_ports = n,
				    .keep_below = 1ull << 32,
				    .hash_seed = 7,
				    .head_bytes = 10,
				    .on_packet = on_packet,
				    .ctx = s};
}

struct attach *witness_open(const struct attach_ops *ops, const struct attach_cfg *cfg)
{
	char err[400];
	struct attach *a = ops->open(cfg, err, sizeof(err));

	if (!a)
		fail_msg("%s", err);
	return a;
}

/* As the loop does it: drain, say that we sleep, look once more, wait. */
void witness_pump(const struct attach_ops *ops, struct attach *a, int timeout_ms)
{
	struct epoll_event ev;
	int state = ops->drain(a, 64);

	assert_true(state == ATTACH_MORE || state == ATTACH_EMPTY);
	if (state == ATTACH_EMPTY && timeout_ms && ops->sleep(a)) {
		int ep = ops->fd(a);
		epoll_wait(ep, &ev, 1, timeout_ms);
	}
}

uint64_t witness_exit(const struct ledger_stage *s, const char *name)
{
	for (unsigned i = 0; i < s->n_exits; i++)
		if (strcmp(s->exits[i].name, name) == 0)
			return s->exits[i].n;
	fail_msg("no exit %s", name);
	return 0;
}

/* Detaches, empties the rings; every stage balances with nothing held. */
void witness_settle(const struct attach_ops *ops, struct attach *a,
		    struct ledger_stage st[WITNESS_STAGES])
{
	ops->detach(a);
	while (ops->drain(a, 1000) != ATTACH_EMPTY)
		;
	assert_int_equal(ops->ledger(a, st, WITNESS_STAGES), WITNESS_STAGES);
	for (int i = 0; i < WITNESS_STAGES; i++) {
		assert_int_equal(ledger_residue(&st[i]), 0);
		if (st[i].held)
			fail_msg("%s: held %lld", st[i].name, (long long)st[i].held);
	}
	assert_string_equal(st[0].name, "probe");
	assert_string_equal(st[1].name, "probe_bytes");
	assert_string_equal(st[2].name, "ring");
	assert_int_equal(witness_exit(&st[0], "submitted"), st[2].in);
}

/* A live snapshot is never negative. */
static void look_live(const struct attach_ops *ops, struct attach *a)
{
	struct ledger_stage st[WITNESS_STAGES];

	ops->ledger(a, st, WITNESS_STAGES);
	for (int i = 0; i < WITNESS_STAGES; i++) {
		assert_int_equal(ledger_residue(&st[i]), 0);
		assert_true((int64_t)st[i].held >= 0);
	}
}

void witness_talk(const struct attach_ops *ops, struct attach *a, struct netrig_run *r)
{
	bool ok = true;

	while (!netrig_done(r, &ok)) {
		witness_pump(ops, a, 20);
		look_live(ops, a);
	}
	netrig_stop(r);
	assert_true(ok);
}

uint16_t witness_client = 42000;

/* One conversation under one attachment; what was captured in *s, its last ledger in st. */
void witness_capture(const struct attach_ops *ops, struct attach_cfg cfg, struct netrig_talk *t,
		     struct witness *s, struct ledger_stage st[WITNESS_STAGES])
{
	struct netrig_run r;

	t->client_port = witness_client++;
	witness_init(s, t);
	cfg.ctx = s;
	struct attach *a = witness_open(ops, &cfg);
	assert_int_equal(netrig_start(&r, t), 0);
	witness_talk(ops, a, &r);
	witness_settle(ops, a, st);
	ops->close(a);
}

void witness_every_byte_once(const struct witness *s, uint64_t retransmits_before)
{
	uint64_t again = netrig_retransmits() - retransmits_before;

	assert_int_equal(s->wrong, 0);
	for (int dir = 0; dir < 2; dir++) {
		assert_int_equal(s->distinct[dir], s->want[dir]);
		if (!again)
			assert_int_equal(s->payload[dir], s->want[dir]);
	}
	/* The server's FIN may find the client in TIME_WAIT, which has no hook. */
	assert_true(s->syn >= 2 && s->fin >= 1);
	if (!again)
		assert_true(s->syn == 2 && s->fin <= 2 && s->rst == 0);
}

/* ---- which cgroups ---- */

char witness_group[4][300];

int witness_make_groups(void **state)
{
	(void)state;
	if (netrig_cgroup(NULL, "pod", witness_group[PARENT], 300) ||
	    netrig_cgroup(witness_group[PARENT], "service", witness_group[SERVICE], 300) ||
	    netrig_cgroup(witness_group[PARENT], "proxy", witness_group[PROXY], 300) ||
	    netrig_cgroup(NULL, "other", witness_group[OTHER], 300))
		return -1;
	return 0;
}

int witness_remove_groups(void **state)
{
	(void)state;
	netrig_cgroup_remove(witness_group[OTHER]);
	netrig_cgroup_remove(witness_group[PROXY]);
	netrig_cgroup_remove(witness_group[SERVICE]);
	netrig_cgroup_remove(witness_group[PARENT]);
	return 0;
}

bool witness_kernel(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;

	uname(&u);
	sscanf(u.release, "%d.%d", &a, &b);
	return a > major || (a == major && b >= minor);
}
