/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deterministic generator of TCP packets: conversations, cut, dropped, doubled, reordered;
 * pushed into a table of flows or written as a capture file of any link type that packet_parse()
 * knows.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/packet.h"
#include "rpc/framer.h"

/* xorshift; never 0 */
uint64_t gen_random(uint64_t *state);
static inline uint64_t gen_below(uint64_t *state, uint64_t n)
{
	return gen_random(state) % n;
}

/* The packets, in the order of the wire. Payload is owned. */
struct gen {
	struct packet *p;
	size_t n, cap;
	uint64_t now_ns; /* of the next packet */
	uint64_t step_ns; /* between packets */
};

struct gen_conn {
	uint8_t addr[2][16]; /* by sender: client, server */
	uint16_t port[2];
	uint32_t isn[2];
	uint64_t sent[2]; /* payload bytes (and a FIN) sent so far */
	bool syn_sent[2];
};

void gen_init(struct gen *g);
void gen_fini(struct gen *g);

/* "10.0.0.1" or "::1" */
void gen_addr(uint8_t out[16], const char *text);
struct gen_conn gen_conn(const char *client, uint16_t cport, const char *server, uint16_t sport,
			 uint32_t isn);

/* One packet of `dir` at stream offset `off` with the acknowledgement of all that was sent the
 * other way; returned for changes until the next call. Sent counters stay. */
struct packet *gen_raw(struct gen *g, struct gen_conn *c, enum dir dir, uint8_t flags, uint64_t off,
		       struct bytes data);
void gen_open(struct gen *g, struct gen_conn *c); /* SYN, SYN-ACK */
void gen_send(struct gen *g, struct gen_conn *c, enum dir dir, struct bytes data, size_t mss);
void gen_fin(struct gen *g, struct gen_conn *c, enum dir dir);
void gen_close(struct gen *g, struct gen_conn *c); /* FIN both ways, client first */

void gen_drop(struct gen *g, size_t i);
void gen_double(struct gen *g, size_t i, size_t later); /* again, so many packets later */
void gen_swap(struct gen *g, size_t i, size_t j); /* places, not times */
void gen_shuffle(struct gen *g, uint64_t *random, size_t distance);

struct flow_table;
void gen_push(const struct gen *g, struct flow_table *t);

/* Byte i of direction d of a stream: tells misplaced bytes. */
static inline uint8_t gen_byte(enum dir d, uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15 + (uint64_t)d * 77) >> 56);
}
/* n such bytes from offset off on, malloc'ed */
uint8_t *gen_bytes(enum dir d, uint64_t off, size_t n);

/* The frame of a packet: link header, IP, TCP, payload. jumbo: IPv6 hop-by-hop header where
 * needed, IPv4 length 0. */
size_t gen_frame(const struct packet *p, int link, uint8_t *out, size_t max);
/* snaplen 0: whole. outgoing copies: cooked links only. 0 or -errno. */
int gen_write_pcap(const struct gen *g, const char *path, int link, uint32_t snaplen, bool copies);
