/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

const int rig_verdict[RIG_FORMS] = {1, 1, 1, 1, 0, 1, 1};
const int rig_hook[RIG_FORMS] = {HOOK_EGRESS, HOOK_INGRESS, HOOK_EGRESS, HOOK_INGRESS,
				 HOOK_FILTER, HOOK_EGRESS,  HOOK_INGRESS};
unsigned rig_forms = RIG_FORMS; /* without the last two before Linux 6.16 */

const struct probe_config rig_all = {.class_max = EVENT_CLASS_MAX, .all_ports = 1};

uint64_t rig_cookie(void)
{
	uint64_t c = 0;
	socklen_t n = sizeof(c);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &c, &n);
	close(fd);
	return c;
}

enum {
	COUNTERS_BYTES = PROBE_SLOTS * sizeof(struct probe_counters),
	PORTS_BYTES = PORT_WORDS * sizeof(uint64_t),
	VERDICTS_BYTES = VERDICT_SLOTS * sizeof(uint64_t),
};

static void *map_array(const struct bpf_map *m, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(m), 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

void rig_open(struct rig *r, struct probe_config config, const uint16_t *ports, size_t n,
	      size_t hot, size_t overflow)
{
	*r = (struct rig) {.k = probe__open()};
	assert_non_null(r->k);
	config.own_netns = config.own_netns ? config.own_netns : rig_cookie();
	r->k->rodata->config = config;
	bpf_program__set_autoload(r->k->progs.egress_cookie, rig_forms == RIG_FORMS);
	bpf_program__set_autoload(r->k->progs.ingress_cookie, rig_forms == RIG_FORMS);
	bpf_map__set_max_entries(r->k->maps.hot, (uint32_t)hot);
	bpf_map__set_max_entries(r->k->maps.overflow, (uint32_t)overflow);
	assert_int_equal(probe__load(r->k), 0);
	r->counters = map_array(r->k->maps.counters, COUNTERS_BYTES);
	r->own_ports = map_array(r->k->maps.own_ports, PORTS_BYTES);
	r->verdicts = map_array(r->k->maps.verdicts, VERDICTS_BYTES);
	uint64_t *chosen = map_array(r->k->maps.chosen_ports, PORTS_BYTES);
	for (size_t i = 0; i < n; i++)
		chosen[ports[i] >> 6] |= 1ull << (ports[i] & 63);
	munmap(chosen, PORTS_BYTES);
	assert_int_equal(ring_open(&r->hot, bpf_map__fd(r->k->maps.hot), hot), 0);
	assert_int_equal(ring_open(&r->overflow, bpf_map__fd(r->k->maps.overflow), overflow), 0);
	r->fd[RIG_EGRESS] = bpf_program__fd(r->k->progs.egress_direct);
	r->fd[RIG_INGRESS] = bpf_program__fd(r->k->progs.ingress_direct);
	r->fd[RIG_EGRESS_COPY] = bpf_program__fd(r->k->progs.egress_copy);
	r->fd[RIG_INGRESS_COPY] = bpf_program__fd(r->k->progs.ingress_copy);
	r->fd[RIG_FILTER] = bpf_program__fd(r->k->progs.filter);
	if (rig_forms < RIG_FORMS)
		return;
	r->fd[RIG_EGRESS_COOKIE] = bpf_program__fd(r->k->progs.egress_cookie);
	r->fd[RIG_INGRESS_COOKIE] = bpf_program__fd(r->k->progs.ingress_cookie);
}

void rig_close(struct rig *r)
{
	ring_close(&r->hot);
	ring_close(&r->overflow);
	munmap(r->counters, COUNTERS_BYTES);
	munmap(r->own_ports, PORTS_BYTES);
	munmap(r->verdicts, VERDICTS_BYTES);
	probe__destroy(r->k);
}

uint64_t rig_exit(const struct rig *r, int exit, bool bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < PROBE_SLOTS; i++)
		n += bytes ? r->counters[i].bytes[exit] : r->counters[i].packets[exit];
	return n;
}

void rig_exits(const struct rig *r, uint64_t out[EXIT_N], bool bytes)
{
	for (int i = 0; i < EXIT_N; i++)
		out[i] = rig_exit(r, i, bytes);
}

void rig_take(struct rig *r, struct ring *ring)
{
	struct bytes rec;

	while (ring_next(ring, &rec) > 0) {
		assert_true(rec.n >= sizeof(r->last));
		memcpy(&r->last, rec.p, sizeof(r->last));
		assert_true(r->last.data_len <= rec.n - sizeof(r->last) &&
			    r->last.data_len <= sizeof(r->data));
		memcpy(r->data, rec.p + sizeof(r->last), r->last.data_len);
		r->events++;
		ring_release(ring);
	}
}

/* 0, and the program's verdict; -errno: the kernel would not make a packet of it. */
int rig_run_raw(int prog, const struct frame *f, uint64_t tstamp, uint32_t *verdict)
{
	struct __sk_buff ctx = {.tstamp = tstamp};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->n,
		    .repeat = 1, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	int err = bpf_prog_test_run_opts(prog, &opts);

	*verdict = opts.retval;
	return err;
}

/* The exit by which the packet left; exactly one, and the verdict is right. */
int rig_run(struct rig *r, int form, const struct frame *f)
{
	uint64_t before[EXIT_N], after[EXIT_N];
	uint32_t verdict;
	int exit = -1;

	rig_exits(r, before, false);
	assert_int_equal(rig_run_raw(r->fd[form], f, 12345, &verdict), 0);
	assert_int_equal(verdict, rig_verdict[form]);
	rig_exits(r, after, false);
	assert_int_equal(after[EXIT_SEEN] - before[EXIT_SEEN], 1);
	for (int i = EXIT_SEEN + 1; i < EXIT_N; i++) {
		if (after[i] == before[i])
			continue;
		assert_int_equal(after[i] - before[i], 1);
		assert_int_equal(exit, -1);
		exit = i;
	}
	r->events = 0;
	rig_take(r, &r->hot);
	rig_take(r, &r->overflow);
	assert_int_equal(r->events, exit == EXIT_SUBMITTED);
	return exit;
}

void rig_balanced(const struct rig *r, bool bytes, uint64_t seen)
{
	uint64_t n[EXIT_N], out = 0;

	rig_exits(r, n, bytes);
	assert_int_equal(n[EXIT_SEEN], seen);
	for (int i = EXIT_SEEN + 1; i < EXIT_N; i++)
		out += n[i];
	assert_int_equal(out, seen);
}

int rig_setup(void **state)
{
	static struct rig r;

	rig_open(&r, rig_all, NULL, 0, 1 << 20, 1 << 20);
	*state = &r;
	return 0;
}

int rig_teardown(void **state)
{
	rig_close(*state);
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return level == LIBBPF_WARN && getenv("PROBE_VERBOSE") ? vfprintf(stderr, fmt, args) : 0;
}

bool rig_ready(void)
{
	if (geteuid() != 0) {
		printf("SKIP: loading BPF programs needs root\n");
		return false;
	}
	libbpf_set_print(quiet);
	struct probe *k = probe__open();
	if (!k || probe__load(k) != 0)
		rig_forms = RIG_FILTER + 1;
	probe__destroy(k);
	return true;
}
