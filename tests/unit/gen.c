/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/flow.h"

uint64_t gen_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

void gen_init(struct gen *g)
{
	*g = (struct gen) {.now_ns = 1000000000, .step_ns = 1000};
}

void gen_fini(struct gen *g)
{
	for (size_t i = 0; i < g->n; i++)
		free((void *)g->p[i].data.p);
	free(g->p);
	*g = (struct gen) {0};
}

void gen_addr(uint8_t out[16], const char *text)
{
	memset(out, 0, 16);
	if (inet_pton(AF_INET6, text, out) == 1)
		return;
	out[10] = out[11] = 0xff;
	if (inet_pton(AF_INET, text, out + 12) != 1)
		abort();
}

struct gen_conn gen_conn(const char *client, uint16_t cport, const char *server, uint16_t sport,
			 uint32_t isn)
{
	struct gen_conn c = {.port = {cport, sport}, .isn = {isn, isn * 2654435761u + 12345}};
	gen_addr(c.addr[0], client);
	gen_addr(c.addr[1], server);
	return c;
}

static struct packet *gen_add(struct gen *g, const struct packet *p)
{
	if (g->n == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 64;
		g->p = realloc(g->p, g->cap * sizeof(*g->p));
		if (!g->p)
			abort();
	}
	struct packet *to = &g->p[g->n++];
	*to = *p;
	uint8_t *data = malloc(p->data.n + 1);
	if (!data)
		abort();
	if (p->data.n)
		memcpy(data, p->data.p, p->data.n);
	to->data.p = data;
	return to;
}

struct packet *gen_raw(struct gen *g, struct gen_conn *c, enum dir dir, uint8_t flags, uint64_t off,
		       struct bytes data)
{
	unsigned to = !dir;
	struct packet p = {.ts_ns = g->now_ns,
			   .sport = c->port[dir],
			   .dport = c->port[to],
			   .seq = c->isn[dir] + (uint32_t)off + !(flags & TCP_SYN),
			   .ack = flags & TCP_ACK ? c->isn[to] + 1 + (uint32_t)c->sent[to] : 0,
			   .len = (uint32_t)data.n,
			   .data = data,
			   .flags = flags,
			   .hook = PACKET_PCAP};
	memcpy(p.src, c->addr[dir], 16);
	memcpy(p.dst, c->addr[to], 16);
	g->now_ns += g->step_ns;
	return gen_add(g, &p);
}

void gen_open(struct gen *g, struct gen_conn *c)
{
	gen_raw(g, c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
	gen_raw(g, c, DIR_RESPONSE, TCP_SYN | TCP_ACK, 0, BYTES(""));
}

void gen_send(struct gen *g, struct gen_conn *c, enum dir dir, struct bytes data, size_t mss)
{
	while (data.n) {
		struct bytes one = bytes_head(data, mss);
		gen_raw(g, c, dir, TCP_ACK | TCP_PSH, c->sent[dir], one);
		c->sent[dir] += one.n;
		data = bytes_from(data, one.n);
	}
}

void gen_fin(struct gen *g, struct gen_conn *c, enum dir dir)
{
	gen_raw(g, c, dir, TCP_ACK | TCP_FIN, c->sent[dir], BYTES(""));
	c->sent[dir]++;
}

void gen_close(struct gen *g, struct gen_conn *c)
{
	gen_fin(g, c, DIR_REQUEST);
	gen_fin(g, c, DIR_RESPONSE);
}

void gen_drop(struct gen *g, size_t i)
{
	free((void *)g->p[i].data.p);
	memmove(&g->p[i], &g->p[i + 1], (g->n - i - 1) * sizeof(*g->p));
	g->n--;
}

void gen_double(struct gen *g, size_t i, size_t later)
{
	struct packet p = g->p[i];
	gen_add(g, &p);
	size_t at = i + later < g->n - 1 ? i + later : g->n - 1;
	p = g->p[g->n - 1];
	memmove(&g->p[at + 1], &g->p[at], (g->n - 1 - at) * sizeof(*g->p));
	g->p[at] = p;
	if (at)
		g->p[at].ts_ns = g->p[at - 1].ts_ns;
}

void gen_swap(struct gen *g, size_t i, size_t j)
{
	struct packet t = g->p[i];
	g->p[i] = g->p[j];
	g->p[j] = t;
}

void gen_shuffle(struct gen *g, uint64_t *random, size_t distance)
{
	for (size_t i = 0; i + 1 < g->n; i++) {
		size_t j = i + gen_below(random, distance + 1);
		if (j < g->n)
			gen_swap(g, i, j);
	}
}

void gen_push(const struct gen *g, struct flow_table *t)
{
	for (size_t i = 0; i < g->n; i++)
		flow_push(t, &g->p[i]);
}

uint8_t *gen_bytes(enum dir d, uint64_t off, size_t n)
{
	uint8_t *p = malloc(n + 1);
	if (!p)
		abort();
	for (size_t i = 0; i < n; i++)
		p[i] = gen_byte(d, off + i);
	return p;
}

static uint8_t *put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v & 0xffff);
}

static bool is_v4(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(addr, mapped, 12) == 0;
}

static uint8_t *put_link(uint8_t *o, int link, bool v4, bool outgoing)
{
	unsigned type = v4 ? 0x0800 : 0x86dd;
	memset(o, 0, 20);
	switch (link) {
	case 1: return put16(o + 12, type);
	case 0:
	case 108: return put32(o, v4 ? 2 : 10);
	case 113:
		put16(o, outgoing ? 4 : 0);
		put16(o + 2, 772);
		return put16(o + 14, type);
	case 276:
		put16(o, type);
		put32(o + 4, 1);
		put16(o + 8, 772);
		o[10] = outgoing ? 4 : 0;
		return o + 20;
	default: return o;
	}
}

static uint8_t *put_ip(uint8_t *o, const struct packet *p, bool v4, size_t n)
{
	if (v4) {
		memset(o, 0, 20);
		o[0] = 0x45;
		put16(o + 2, n + 20 > 65535 ? 0 : (unsigned)n + 20);
		o[8] = 64;
		o[9] = 6;
		memcpy(o + 12, p->src + 12, 4);
		memcpy(o + 16, p->dst + 12, 4);
		return o + 20;
	}
	bool jumbo = n > 65535;
	put32(o, 0x60000000);
	put16(o + 4, jumbo ? 0 : (unsigned)n);
	o[6] = jumbo ? 0 : 6;
	o[7] = 64;
	memcpy(o + 8, p->src, 16);
	memcpy(o + 24, p->dst, 16);
	o += 40;
	if (!jumbo)
		return o;
	put32(o, 0x0600c204); /* next: TCP, 8 bytes; option jumbo of 4 */
	return put32(o + 4, (uint32_t)n + 8);
}

static size_t put_frame(const struct packet *p, int link, bool outgoing, uint8_t *out)
{
	bool v4 = is_v4(p->src);
	uint8_t *o = put_ip(put_link(out, link, v4, outgoing), p, v4, p->len + 20u);
	put16(o, p->sport);
	put16(o + 2, p->dport);
	put32(o + 4, p->seq);
	put32(o + 8, p->ack);
	put16(o + 12, 0x5000u | p->flags);
	put16(o + 14, 65535);
	put16(o + 16, 0); /* no checksum: lo has none either */
	put16(o + 18, p->urg);
	o += 20;
	if (p->data.n)
		memcpy(o, p->data.p, p->data.n);
	return (size_t)(o - out) + p->data.n;
}

size_t gen_frame(const struct packet *p, int link, uint8_t *out, size_t max)
{
	return p->data.n + 128 > max ? 0 : put_frame(p, link, false, out);
}

static void write_frame(FILE *f, const struct packet *p, int link, uint32_t snaplen, bool outgoing)
{
	uint8_t *frame = malloc(p->data.n + 128);
	if (!frame)
		abort();
	size_t n = put_frame(p, link, outgoing, frame);
	uint32_t head[4] = {(uint32_t)(p->ts_ns / 1000000000), (uint32_t)(p->ts_ns % 1000000000),
			    n < snaplen ? (uint32_t)n : snaplen,
			    (uint32_t)(n + p->len - p->data.n)};
	fwrite(head, sizeof(head), 1, f);
	fwrite(frame, head[2], 1, f);
	free(frame);
}

int gen_write_pcap(const struct gen *g, const char *path, int link, uint32_t snaplen, bool copies)
{
	FILE *f = fopen(path, "wbe");
	if (!f)
		return -errno;
	snaplen = snaplen ? snaplen : 262144;
	uint32_t head[6] = {
		0xa1b23c4d /* nanoseconds */, 2 | 4 << 16, 0, 0, snaplen, (uint32_t)link};
	fwrite(head, sizeof(head), 1, f);
	for (size_t i = 0; i < g->n; i++) {
		if (copies)
			write_frame(f, &g->p[i], link, snaplen, true);
		write_frame(f, &g->p[i], link, snaplen, false);
	}
	return fclose(f) == 0 ? 0 : -errno;
}
