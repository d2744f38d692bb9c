/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of conn: the state of all connections, and the bytes that wait. */
#pragma once
#include "capture/conn.h"

enum { GAP_NAMES_MAX = 1000, CAPS_MAX = LEDGER_EXITS_MAX };

enum conn_exit {
	CONN_EXIT_IN_MESSAGES,
	CONN_EXIT_CONTROL,
	CONN_EXIT_OPAQUE,
	CONN_EXIT_SKIPPED_ATTACH,
	CONN_EXIT_SKIPPED_GAP,
	CONN_EXIT_PARTIAL_AT_CLOSE,
	CONN_EXIT_NO_MEMORY,
	CONN_EXIT_N
};
struct conns {
	struct conns_cfg cfg;
	struct flow_table *flows;
	uint64_t opened, in, exits[CONN_EXIT_N], gathered;
	uint64_t gap_conns, gap_numbers[GAP_NAMES_MAX];
	struct {
		const char *name; /* static */
		uint64_t n;
	} caps[CAPS_MAX]; /* in the order of their first hit */
};

/* Names are few, static and compared by their text; beyond CAPS_MAX the last one counts for all. */
void conns_cap_count(struct conns *cs, const char *name);

/* A framer was adopted: mutes the flow when no call of it can be kept. */
void conns_wanted(struct conns *cs, struct conn *c);

/* One run of bytes on its way through the framer */
struct conn_input {
	struct bytes data; /* not yet taken */
	uint64_t ts_ns, ack_off;
	uint8_t hints; /* of data.p[0] */
};

/* The first n gathered bytes are done. */
void conn_gather_used(struct conns *cs, struct conn_dir *d, size_t n);
void conn_gather_drop(struct conns *cs, struct conn_dir *d, size_t n, enum conn_exit exit);

/* Moves n bytes of the input behind the gathered ones. False: no memory, the connection is dead. */
bool conn_gather_take(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in,
		      size_t n);

void conn_input_used(struct conn_input *in, size_t n);
void conn_framer_drop(struct conn *c);

/* No memory to follow it with: its calls leave, its bytes are counted. */
void conn_die(struct conns *cs, struct conn *c);

/* What a SWITCH says stays with the connection, and replaces what an earlier one said by the same name. */
void conn_attributes_keep(struct conn *c, const struct head *h);
