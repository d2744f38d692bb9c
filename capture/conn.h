/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: the ordered bytes of a flow through the prober and a framer, their pieces to call.
 *
 * A direction's bytes are handed to the framer where they lie; they are gathered (copied) only while a head
 * or a frame header is cut, or while the direction waits for the other one.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ledger.h"
#include "capture/call.h"
#include "capture/flow.h"
#include "rpc/framer.h"

enum conn_mode {
	CONN_PROBE,
	CONN_RUN,
	CONN_RESYNC,
	CONN_SWITCHED, /* waits for the other direction's SWITCH */
	CONN_ENDED,
};

struct conn_dir {
	uint8_t mode; /* enum conn_mode */
	uint8_t how; /* enum end_how, once ending */
	bool ending; /* no more bytes come; the framer is told when none wait any more */
	bool synced; /* found a message start since a late join */
	uint8_t hints; /* RESYNC_* of the first gathered byte */
	struct buf gather;
	size_t need; /* bytes that the framer asked for */
	uint64_t gather_ns, gather_last_ns; /* packets of the first and last gathered byte */
	uint64_t gather_ack; /* of the first */
	uint64_t off; /* stream offset behind the last byte that came */
	uint64_t missing; /* bytes lost while SWITCHED */
};

/* Texts of a record that are the connection's */
struct conn_names {
	struct bytes id, client, server, original_destination;
	char text[];
};

struct conn {
	struct flow *flow;
	uint64_t number; /* 1, 2, 3 ... of the capture: the end of connection_id */
	uint64_t sequence; /* of the last call recorded */
	const struct framer_ops *ops; /* NULL: not known yet */
	void *state;
	const struct framer_ops *to; /* of the last SWITCH */
	uint64_t to_corr; /* and the id by which the open call goes on there; 0: none */
	struct conn_dir d[2];
	struct call_queue queue;
	bool late; /* joined in the middle, or lost its beginning */
	bool skip_proxy, told; /* told: gap named in the ledger */
	bool reversed; /* client and server changed places */
	uint8_t ended; /* bit of each direction that had a complete message of the present framer */
	uint8_t contradictions; /* out of step without a loss, since the last complete message */
	bool dead; /* without memory: its bytes are only counted */
	uint8_t newest; /* direction of the last place tried for a late join */
	bool turned; /* one of them came after a turn */
	uint32_t candidates; /* places tried */
	uint64_t skipped;
	struct attribute
		*attributes; /* that all its calls carry (a PROXY preamble); one block, owned */
	size_t n_attributes;
	struct conn_names *names; /* made once by the recorder; one block, owned */
	bool processes_known; /* both were found, or never will be */
	char *processes; /* "client\0server\0", owned */
};

struct conns;

struct conns_cfg {
	struct calls *calls;
	struct framer_limits framer;
	uint64_t
		gather_max; /* bytes gathered of one direction: 1 MiB, then the connection goes opaque */
	uint64_t gather_all; /* and of all connections; 0: 16 MiB */
	void (*opened)(void *ctx, struct conn *c); /* first bytes are here: look its processes up */
	/* None of its calls will be kept: its flow is muted. protocol: of all that will come; "": it may change. NULL: ask not */
	bool (*never)(void *ctx, struct conn *c, const char *protocol);
	void *ctx;
};

struct conns *conns_new(const struct conns_cfg *cfg);
void conns_free(struct conns *cs);
struct flow_callbacks conns_callbacks(void); /* for flow_cfg.on; ctx = the struct conns */
void conns_set_flows(struct conns *cs, struct flow_table *flows);
/* Stages `framing` (bytes) and `limits` (hits: the cap of a protocol that cut something, by its name; `undone`: a
 * connection that turned out to speak something else). */
size_t conns_ledger(const struct conns *cs, struct ledger_stage *out, size_t max);
/* Connections with gaps since the start, their numbers in out (at most max); the count of all. */
uint64_t conns_gaps(const struct conns *cs, const uint64_t **numbers, size_t *n);
