/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection at a time by hand: ordered runs of bytes and gaps for the callbacks of capture/conn.c, and the
 * records that come of them. For tests and the benchmark of connections.
 */
#pragma once
#include "capture/conn.h"
#include "tests/unit/records.h"

enum { WIRE_STEP_NS = 1000 }; /* between two segments */

struct wire {
	struct records out;
	struct recorder *recorder;
	struct calls *calls;
	struct conns *conns;
	struct flow_callbacks cb;
	struct flow flow;
	uint64_t flows;
	uint64_t off[2], now;
	int last; /* direction of the last run; -1: none */
	bool holed[2]; /* the last of this direction was a gap */
	bool reversed;
	bool own_ack; /* the runs to come acknowledge `ack`, not all that came */
	uint64_t ack;
	size_t seen; /* last parts that were looked at */
	uint64_t opaque_head; /* for the next wire_open */
	uint64_t gather_max, gather_all; /* for the next wire_open; 0: the defaults */
};

extern struct wire wire;

void wire_open(bool syn);
/* A segment of the sender; `continues`: the rest of one whose beginning came, or was lost. */
void wire_run(enum dir dir, struct bytes b, bool continues);
void wire_send_raw(enum dir dir, struct bytes b);
void wire_send(enum dir dir, const char *text);
void wire_send_cut(enum dir dir, const char *text, size_t cut); /* in two segments */
void wire_send_bytes(enum dir dir, const char *text); /* a segment each */
void wire_lose(enum dir dir, uint64_t n);
void wire_half_close(enum dir dir);

/* Ends the connection and holds what each must leave behind: ledgers without residue, nothing held, records
 * without holes. The records stay until the next wire_open(). */
void wire_close(enum flow_end how);

const Sidetap__V1__Call *wire_next(void); /* the next call that left; fails when there is none */
void wire_expect_none(void);
uint64_t wire_exit(const char *name); /* of stage `framing` */
uint64_t
wire_counted(const char *name); /* of any stage of connections and calls; 0 when there is none */
