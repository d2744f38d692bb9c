/* SPDX-License-Identifier: Apache-2.0 */
/* What the probe makes of a packet: verdict (F1), headers (I2 - I5, T22), the copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>

#include "rig.h"

enum { CLIENT = 40001, SERVER = 8080 };

/* ---- parsing ---- */

struct wanted {
	int exit;
	size_t payload; /* at the end of the frame */
	unsigned flags;
};

static void check_event(const struct rig *r, int form, const struct frame *f,
			const struct wanted *w)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool six = f->b[12] == 0x86;
	const uint8_t *ip = f->b + FRAME_ETHER;

	assert_int_equal(r->last.hook, rig_hook[form]);
	assert_int_equal(r->last.sport, CLIENT);
	assert_int_equal(r->last.dport, SERVER);
	assert_int_equal(r->last.seq, FRAME_SEQ);
	assert_int_equal(r->last.ack, FRAME_ACK);
	assert_int_equal(r->last.urg_ptr, FRAME_URG);
	assert_int_equal(r->last.tcp_flags, w->flags);
	assert_int_equal(r->last.payload_len, w->payload);
	assert_int_equal(r->last.data_len, w->payload);
	assert_memory_equal(r->data, f->b + f->n - w->payload, w->payload);
	assert_memory_equal(r->last.saddr, six ? ip + 8 : mapped, six ? 16 : 12);
	assert_memory_equal(r->last.daddr, six ? ip + 24 : mapped, six ? 16 : 12);
	if (!six) {
		assert_memory_equal(r->last.saddr + 12, ip + 12, 4);
		assert_memory_equal(r->last.daddr + 12, ip + 16, 4);
	}
	uint64_t h = event_hash(r->last.saddr, CLIENT, 0);
	assert_int_equal(r->last.flow_slot, event_slot(h));
	assert_int_equal(r->last.flow_tag, event_tag(h));
}

static void expect(struct rig *r, const char *name, const struct frame *f, struct wanted w)
{
	for (int form = 0; form < (int)rig_forms; form++) {
		int exit = rig_run(r, form, f);
		if (exit != w.exit)
			fail_msg("%s, program %d: exit %d, expected %d", name, form, exit, w.exit);
		if (exit == EXIT_SUBMITTED)
			check_event(r, form, f, &w);
	}
}

static void parses_v4(void **state)
{
	struct rig *r = *state;
	struct frame f;

	frame_plain(&f, CLIENT, SERVER, 0x18, 100);
	expect(r, "v4", &f, (struct wanted) {EXIT_SUBMITTED, 100, 0x18});
	frame_v4(&f, 5, 0x4000, IPPROTO_TCP, 0);
	frame_tcp(&f, CLIENT, SERVER, 0x10, 5, 1500);
	expect(r, "total length 0", &f, (struct wanted) {EXIT_SUBMITTED, 1500, 0x10});
	frame_v4(&f, 15, 0, IPPROTO_TCP, 200);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 8, 100);
	expect(r, "v4 options, tcp options", &f, (struct wanted) {EXIT_SUBMITTED, 100, 0x18});
	frame_v4(&f, 5, 0, IPPROTO_TCP, 100);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 15, 513);
	expect(r, "largest tcp header", &f, (struct wanted) {EXIT_SUBMITTED, 513, 0x18});
	frame_v4(&f, 5, 0x2000, IPPROTO_TCP, 140);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 100);
	expect(r, "first fragment", &f, (struct wanted) {.exit = EXIT_IP_FRAG});
	frame_v4(&f, 5, 0x0005, IPPROTO_TCP, 140);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 100);
	expect(r, "later fragment", &f, (struct wanted) {.exit = EXIT_IP_FRAG});
	frame_v4(&f, 5, 0, IPPROTO_UDP, 28);
	frame_add(&f, (uint8_t[8]) {0}, 8);
	expect(r, "udp", &f, (struct wanted) {.exit = EXIT_NOT_TCP});
	frame_v4(&f, 4, 0, IPPROTO_TCP, 140);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 100);
	expect(r, "header length 4", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_plain(&f, CLIENT, SERVER, 0x18, 0);
	f.n -= 1;
	expect(r, "tcp cut", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_v4(&f, 5, 0, IPPROTO_TCP, 140);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 4, 100);
	expect(r, "data offset 4", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_v4(&f, 5, 0, IPPROTO_TCP, 44);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 4);
	f.b[FRAME_ETHER + 32] = 0x70;
	expect(r, "data offset beyond the end", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_ether(&f, 0x0806);
	frame_add(&f, (uint8_t[28]) {0}, 28);
	expect(r, "arp", &f, (struct wanted) {.exit = EXIT_NOT_TCP});
}

static void parses_flags(void **state)
{
	struct rig *r = *state;
	struct frame f;

	for (unsigned flags = 0; flags < 256; flags++) {
		frame_plain(&f, CLIENT, SERVER, flags, 0);
		expect(r, "bare", &f,
		       (struct wanted) {flags & 7 ? EXIT_SUBMITTED : EXIT_CONTROL, 0, flags});
		frame_plain(&f, CLIENT, SERVER, flags, 9);
		expect(r, "with data", &f, (struct wanted) {EXIT_SUBMITTED, 9, flags});
	}
}

static void parses_v6(void **state)
{
	struct rig *r = *state;
	struct frame f;

	for (unsigned n = 0; n <= 12; n++) {
		frame_chain(&f, n, IPPROTO_TCP, CLIENT, SERVER, 77);
		expect(r, "chain", &f,
		       (struct wanted) {n <= 8 ? EXIT_SUBMITTED : EXIT_MALFORMED, 77, 0x18});
		frame_chain(&f, n, IPPROTO_UDP, CLIENT, SERVER, 77);
		expect(r, "udp chain", &f,
		       (struct wanted) {.exit = n <= 8 ? EXIT_NOT_TCP : EXIT_MALFORMED});
	}
	frame_v6(&f, IPPROTO_HOPOPTS);
	frame_add(&f, (uint8_t[]) {IPPROTO_TCP, 0, 0xc2, 4, 0, 1, 0, 0}, 8);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 2000);
	expect(r, "jumbo", &f, (struct wanted) {EXIT_SUBMITTED, 2000, 0x18});
	frame_v6(&f, IPPROTO_ROUTING);
	frame_ext(&f, IPPROTO_AH, 1);
	frame_add(&f, (uint8_t[24]) {IPPROTO_TCP, 4}, 24);
	frame_tcp(&f, CLIENT, SERVER, 0x19, 5, 1);
	expect(r, "routing, ah", &f, (struct wanted) {EXIT_SUBMITTED, 1, 0x19});
	frame_v6(&f, IPPROTO_FRAGMENT);
	frame_ext_frag(&f, IPPROTO_TCP, 1);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 10);
	expect(r, "first fragment", &f, (struct wanted) {.exit = EXIT_IP_FRAG});
	frame_v6(&f, IPPROTO_DSTOPTS);
	frame_ext(&f, IPPROTO_FRAGMENT, 0);
	frame_ext_frag(&f, IPPROTO_TCP, 8 << 3);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 10);
	expect(r, "later fragment", &f, (struct wanted) {.exit = EXIT_IP_FRAG});
	frame_v6(&f, IPPROTO_FRAGMENT);
	frame_ext_frag(&f, IPPROTO_TCP, 0);
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 10);
	expect(r, "whole in one fragment (RFC 6946)", &f,
	       (struct wanted) {EXIT_SUBMITTED, 10, 0x18});
	frame_v6(&f, IPPROTO_NONE);
	expect(r, "nothing", &f, (struct wanted) {.exit = EXIT_NOT_TCP});
	frame_chain(&f, 2, IPPROTO_TCP, CLIENT, SERVER, 77);
	f.n = FRAME_ETHER + 40 + 10;
	expect(r, "cut in an extension header", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_chain(&f, 0, IPPROTO_TCP, CLIENT, SERVER, 77);
	f.n = FRAME_ETHER + 40 + 19;
	expect(r, "tcp cut", &f, (struct wanted) {.exit = EXIT_MALFORMED});
	frame_v6(&f, IPPROTO_TCP);
	f.b[FRAME_ETHER] = 0x40;
	frame_tcp(&f, CLIENT, SERVER, 0x18, 5, 10);
	expect(r, "version 4", &f, (struct wanted) {.exit = EXIT_MALFORMED});
}

/* Payload sizes around every size class that one frame of a test run can hold */
static void copies_all_sizes(void **state)
{
	struct rig *r = *state;
	struct frame f;

	for (size_t n = 1; n <= 2600; n += n > 500 && n < 520 ? 1 : n > 2040 && n < 2060 ? 1 : 37) {
		frame_plain(&f, CLIENT, SERVER, 0x10, n);
		expect(r, "size", &f, (struct wanted) {EXIT_SUBMITTED, n, 0x10});
	}
}

/* ---- F1: the verdict ---- */

/* Packets of `n` for which the program's verdict was not `pass`; *ran: those that the kernel ran.
 */
static unsigned wrong_verdicts(int prog, uint32_t pass, unsigned n, unsigned *ran)
{
	struct frame f;
	unsigned wrong = 0;
	uint32_t verdict;

	for (*ran = 0; n > 0; n--) {
		frame_random(&f);
		if (rig_run_raw(prog, &f, frame_draw(2), &verdict) != 0)
			continue;
		++*ran;
		wrong += verdict != pass;
	}
	return wrong;
}

/* The rings are read rarely, so that many packets find them full; all of one packet's rig_forms
 * agree. */
static void f1_passes_mutated_packets(void **state)
{
	enum { EACH = 21000, AT_LEAST = 100000 };
	struct rig r;
	uint64_t ran = 0, bytes = 0;
	struct probe_config config = rig_all;

	(void)state;
	config.two_hooks = 1;
	rig_open(&r, config, NULL, 0, 65536, 65536);
	for (unsigned i = 0; i < EACH; i++) {
		struct frame f;
		frame_random(&f);
		for (int form = 0; form < (int)rig_forms; form++) {
			uint32_t verdict;
			if (rig_run_raw(r.fd[form], &f, frame_draw(2), &verdict) != 0)
				continue;
			if (verdict != (uint32_t)rig_verdict[form])
				fail_msg("program %d: verdict %u", form, verdict);
			ran++;
			bytes += f.n - FRAME_ETHER;
		}
		if (frame_draw(300) == 0) {
			rig_take(&r, &r.hot);
			rig_take(&r, &r.overflow);
			r.k->data->control.spill = 0;
		}
	}
	rig_take(&r, &r.hot);
	rig_take(&r, &r.overflow);
	assert_true(ran >= AT_LEAST);
	rig_balanced(&r, false, ran);
	rig_balanced(&r, true, bytes);
	assert_int_equal(rig_exit(&r, EXIT_SUBMITTED, false), r.events);
	static const int met[] = {EXIT_SUBMITTED, EXIT_NOT_TCP, EXIT_OTHER_HOOK, EXIT_IP_FRAG,
				  EXIT_MALFORMED, EXIT_CONTROL, EXIT_RING_FULL};
	for (size_t i = 0; i < sizeof(met) / sizeof(*met); i++) /* or the packets are too tame */
		if (rig_exit(&r, met[i], false) < 100)
			fail_msg("exit %d only %d times", met[i], (int)rig_exit(&r, met[i], false));
	rig_close(&r);
}

/* The same packets through the direct and the copying form leave by the same exit with the same
 * event. */
static void forms_agree(void **state)
{
	struct rig *r = *state;
	struct frame f;
	uint32_t verdict;

	for (unsigned i = 0; i < 5000; i++) {
		struct event e = {0};
		uint8_t data[FRAME_MAX];
		frame_random(&f);
		if (rig_run_raw(r->fd[RIG_EGRESS], &f, 1, &verdict) != 0)
			continue;
		rig_take(r, &r->hot);
		int exit = rig_run(r, RIG_EGRESS, &f);
		if (exit == EXIT_SUBMITTED) {
			e = r->last;
			memcpy(data, r->data, e.data_len);
		}
		assert_int_equal(rig_run(r, RIG_EGRESS_COPY, &f), exit);
		if (exit == EXIT_SUBMITTED) {
			assert_memory_equal(&e, &r->last, sizeof(e));
			assert_memory_equal(data, r->data, e.data_len);
			assert_memory_equal(data, f.b + f.n - e.payload_len, e.data_len);
		}
	}
}

static void beside_me(char *out, size_t n, const char *name)
{
	char self[400];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(len > 0);
	self[len] = 0;
	*strrchr(self, '/') = 0;
	snprintf(out, n, "%s/../bpf/%s", self, name);
}

/* F1 (c): the check above must see a build that blocks. */
static void f1_catches_the_mutant(void **state)
{
	char path[500];
	unsigned ran;

	(void)state;
	beside_me(path, sizeof(path), "probe-mutant.bpf.o");
	struct bpf_object *o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	bpf_program__set_autoload(bpf_object__find_program_by_name(o, "egress_cookie"), false);
	bpf_program__set_autoload(bpf_object__find_program_by_name(o, "ingress_cookie"), false);
	assert_int_equal(bpf_object__load(o), 0);
	static const char *const names[] = {"egress_direct", "ingress_direct", "egress_copy",
					    "ingress_copy"};
	for (int i = 0; i < 4; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(o, names[i]);
		unsigned wrong = wrong_verdicts(bpf_program__fd(p), 1, 200, &ran);
		assert_true(ran > 100);
		assert_int_equal(wrong, ran);
	}
	bpf_object__close(o);
}

/* F1 (a), F2: each exit of each program is preceded by its one verdict, and only these helpers are
 * called. */
static void f1_code_has_one_verdict(void **state)
{
	static const int allowed[] = {
		BPF_FUNC_map_lookup_elem, BPF_FUNC_map_update_elem,      BPF_FUNC_map_delete_elem,
		BPF_FUNC_ktime_get_ns,    BPF_FUNC_get_smp_processor_id, BPF_FUNC_skb_load_bytes,
		BPF_FUNC_skb_cgroup_id,   BPF_FUNC_sk_fullsock,          BPF_FUNC_get_netns_cookie,
		BPF_FUNC_ringbuf_reserve, BPF_FUNC_ringbuf_submit,       BPF_FUNC_ringbuf_discard,
		BPF_FUNC_sk_storage_get};
	struct rig *r = *state;
	struct bpf_program *p;
	unsigned exits = 0;

	bpf_object__for_each_program(p, r->k->obj)
	{
		const struct bpf_insn *in = bpf_program__insns(p);
		int pass = p == r->k->progs.filter ? 0 : 1;
		for (size_t i = 0; i < bpf_program__insn_cnt(p); i++) {
			if (in[i].code == (BPF_JMP | BPF_EXIT)) {
				assert_true(i > 0 &&
					    in[i - 1].code == (BPF_ALU64 | BPF_MOV | BPF_K));
				assert_true(in[i - 1].dst_reg == BPF_REG_0 &&
					    in[i - 1].imm == pass);
				exits++;
			}
			if (in[i].code != (BPF_JMP | BPF_CALL))
				continue;
			bool known = in[i].src_reg == 0;
			for (size_t j = 0; known && j < sizeof(allowed) / sizeof(*allowed); j++)
				if (allowed[j] == in[i].imm)
					break;
				else if (j + 1 == sizeof(allowed) / sizeof(*allowed))
					known = false;
			if (!known)
				fail_msg("%s calls %d", bpf_program__name(p), in[i].imm);
		}
	}
	assert_true(exits >= RIG_FORMS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(parses_v4, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(parses_flags, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(parses_v6, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(copies_all_sizes, rig_setup, rig_teardown),
		cmocka_unit_test(f1_passes_mutated_packets),
		cmocka_unit_test(f1_catches_the_mutant),
		cmocka_unit_test_setup_teardown(f1_code_has_one_verdict, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(forms_agree, rig_setup, rig_teardown),
	};

	return rig_ready() ? cmocka_run_group_tests_name("probe", tests, NULL, NULL) : 0;
}
