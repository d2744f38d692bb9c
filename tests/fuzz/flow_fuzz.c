/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of packets of a few endpoints, settles and ends: runs are contiguous, nothing is
 * told after the end, the ledger balances after every step, the caps hold, and nothing is held at
 * the end.
 */
#include <stdlib.h>
#include <string.h>

#include "capture/flow.h"

enum { FLOWS = 6, PENDING_FLOW = 4096, PENDING_ALL = 8192, PACKET_MAX = 600 };

struct seen {
	uint64_t next[2];
	bool half[2];
};
static struct flow_table *table;
static unsigned reverse;

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static void on_open(void *ctx, struct flow *f)
{
	(void)ctx;
	CHECK(!f->user);
	f->user = calloc(1, sizeof(struct seen));
	CHECK(f->user);
}

static void on_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	(void)ctx;
	struct seen *s = f->user;
	volatile uint8_t sum = 0;
	CHECK(s && !s->half[dir]);
	CHECK(run->missing ? run->data.n == 0 : run->data.n > 0);
	/* one out-of-band byte may be left out before it */
	CHECK(run->off == s->next[dir] || (run->off > s->next[dir] && run->off - s->next[dir] < 8));
	s->next[dir] = run->off + run->missing + run->data.n;
	for (size_t i = 0; i < run->data.n; i++)
		sum = (uint8_t)(sum + run->data.p[i]);
	if (reverse && f->orig_port == 0) {
		struct seen t = *s;
		for (int i = 0; i < 2; i++) {
			s->next[i] = t.next[!i];
			s->half[i] = t.half[!i];
		}
		flow_reverse(table, f);
		reverse = 0;
	}
}

static void on_half_close(void *ctx, struct flow *f, enum dir dir)
{
	(void)ctx;
	struct seen *s = f->user;
	CHECK(s && !s->half[dir]);
	s->half[dir] = true;
}

static void on_close(void *ctx, struct flow *f, enum flow_end how)
{
	(void)ctx, (void)how;
	CHECK(f->user);
	free(f->user);
}

static void balanced(void)
{
	struct ledger_stage s[3];
	CHECK(flow_ledger(table, s, 3) == 3);
	for (int i = 0; i < 3; i++)
		CHECK(ledger_residue(&s[i]) == 0);
}

static bool alive(void *ctx, const struct flow *f)
{
	return ((uintptr_t)ctx ^ f->id) & 1;
}

/* 16 bytes of input make a packet. */
static void push(const uint8_t *b, uint64_t *now)
{
	static const uint8_t flags[16] = {0x10, 0x10, 0x10, 0x18, 0x10, 0x11, 0x02, 0x12,
					  0x04, 0x14, 0x30, 0x10, 0x11, 0x00, 0x03, 0x10};
	static const uint8_t text[PACKET_MAX] = {1, 2, 3, 4, 5};
	static const uint16_t ports[4] = {80, 40000, 15001, 40001};
	struct packet p = {.flags = flags[b[0] & 15], .hook = (uint8_t)(1 + (b[0] >> 4 & 3))};
	*now += (uint64_t)b[1] * b[1] * 20000;
	p.ts_ns = *now;
	p.src[15] = 1 + (b[2] & 1);
	p.dst[15] = 1 + (b[2] >> 1 & 1);
	p.sport = ports[b[2] >> 2 & 3];
	p.dport = ports[b[2] >> 4 & 3];
	if (b[2] & 0x40) {
		p.sk_lport = ports[b[3] & 3];
		p.sk_rport = ports[b[3] >> 2 & 3];
	}
	p.seq = 1000 + (b[2] & 1) * 0xfffff000u + (uint32_t)(int16_t)(b[4] << 8 | b[5]);
	p.ack = 1000 + (b[2] >> 1 & 1) * 0xfffff000u + (uint32_t)(int16_t)(b[6] << 8 | b[7]);
	if (b[8] == 255)
		p.seq += (uint32_t)b[9] << 24;
	if (b[8] == 254)
		p.ack += (uint32_t)b[9] << 24;
	p.len = (uint32_t)(b[10] << 8 | b[11]) % PACKET_MAX;
	p.data = bytes_of(text, p.len);
	if (b[12] & 1)
		p.data.n = p.data.n * b[13] / 256;
	if (b[12] & 2)
		p.len += (uint32_t)b[13] << 23;
	p.urg = (uint16_t)(b[14] << 8 | b[15]);
	flow_push(table, &p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct flow_cfg cfg = {.max_flows = FLOWS,
			       .max_pending_flow = PENDING_FLOW,
			       .max_pending_all = PENDING_ALL,
			       .hole_ns = 50000000,
			       .hole_max_ns = 1000000000,
			       .from_file = data[0] & 1,
			       .on = {on_open, on_data, on_half_close, on_close}};
	uint64_t now = 1;
	table = flow_table_new(&cfg);
	CHECK(table);
	for (size_t i = 1; i + 16 <= size; i += 16) {
		const uint8_t *b = data + i;
		reverse = b[3] == 200;
		if (b[3] == 201)
			flow_settle(table, now += (uint64_t)b[4] << 24);
		else if (b[3] == 202)
			flow_sweep(table, now, alive, (void *)(uintptr_t)b[4], b[5]);
		else
			push(b, &now);
		balanced();
		CHECK(flow_count(table) <= FLOWS);
		CHECK(flow_totals(table).memory_bytes <= PENDING_ALL + (FLOWS + 32) * 512);
	}
	flow_end_all(table, FLOW_STOP);
	balanced();
	struct ledger_stage s[3];
	flow_ledger(table, s, 3);
	CHECK(s[1].held == 0 && flow_count(table) == 0);
	flow_table_free(table);
	return 0;
}
