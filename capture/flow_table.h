/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of flow.c and its neighbours: the table of flows, its lists, caps and counters. */
#pragma once
#include "base/hash.h"
#include "base/list.h"
#include "capture/flow.h"

/* Exits of stage `flow` */
enum flow_exit {
	FLOW_EXIT_DATA, /* had payload: see stage `stream` */
	FLOW_EXIT_CONTROL, /* SYN, FIN, RST, no payload */
	FLOW_EXIT_UNKNOWN, /* FIN, RST or ACK of a flow never seen */
	FLOW_EXIT_AFTER_CLOSE,
	FLOW_EXIT_RST_IGNORED, /* a RST that its receiver does not obey */
	FLOW_EXIT_BAD_FLAGS,
	FLOW_EXIT_NO_MEMORY,
	FLOW_EXIT_MUTED,
	FLOW_EXIT_SAMPLED_OUT, /* was under way when the share of connections fell */
	FLOW_EXITS
};

/* Why bytes are missing: exits of stage `gaps` */
enum flow_gap {
	FLOW_GAP_AGED, /* the hole stayed open too long */
	FLOW_GAP_EVICTED, /* a cap of pending bytes was reached */
	FLOW_GAP_CUT, /* packet captured in part */
	FLOW_GAP_UNSEEN, /* acknowledged by the peer in a direction that is not captured */
	FLOW_GAP_AT_CLOSE, /* still missing when the flow ended */
	FLOW_GAP_JUMP, /* the stream went on somewhere else */
	FLOW_GAPS
};

/*
 * One flow. Its two streams have fixed sides: side 0 is the client as it was taken at first;
 * flow_reverse() turns the meaning round, not the data, so that it may be called from a callback.
 */
struct flow_node {
	struct flow f;
	struct stream stream[2]; /* by side */
	struct flow_node *chain; /* in the bucket */
	struct list lru; /* open: by last packet; closed: by time of close */
	struct list wait; /* has a hole, a hold, a FIN or RST to come */
	uint64_t rst_ns; /* when a RST was taken that waits for the rings */
	uint64_t rst_off; /* where its sender stood then */
	uint32_t rst_epoch;
	uint16_t socket_port
		[2]; /* server's port as the client's and as its own socket has it; 0: not known */
	uint8_t last_side; /* of the last run; 2: none yet */
	uint8_t rst_side;
	bool reversed, told, closed, rst, self, muted;
	bool peer_known[2]; /* by enum dir: the server's address in packets of this direction */
};

struct flow_table {
	struct flow_cfg cfg;
	uint16_t *ports; /* own copy */
	struct hash_key key;
	struct flow_node **buckets;
	size_t mask; /* buckets - 1, a power of two less one */
	size_t n_open, n_closed, max_closed;
	struct list open, closed; /* flow_node.lru, oldest first */
	struct list waiting; /* flow_node.wait, oldest hole first */
	struct list resets; /* flow_node.wait, with a RST taken */
	struct list *sweep_at; /* where flow_sweep() goes on; &open: from the oldest */
	uint64_t next_id;
	uint64_t now_ns; /* latest of packets and settles */
	uint64_t scanned_ns; /* last look at the flows with holes, and how many those were */
	size_t scanned_n;
	uint32_t epoch; /* settles */
	uint64_t packets, exits[FLOW_EXITS], gap_bytes, gaps[FLOW_GAPS];
	struct stream_ledger bytes;
	struct flow_totals totals;
	uint32_t *muted; /* words of the probe's slots; NULL: none was ever written */
	size_t n_muted;
};

/* Ends it: what is pending goes on first. */
void flow_table_finish(struct flow_table *t, struct flow_node *n, enum flow_end how);
/* Inside of finish: the probe lets its packets through again, what was pending is counted. */
void flow_mute_end(struct flow_table *t, struct flow_node *n);
/* What was pending when it was muted is not wanted either. */
void flow_mute_drop(struct flow_table *t, struct flow_node *n);

static inline enum dir flow_dir(const struct flow_node *n, unsigned side)
{
	return side ^ n->reversed ? DIR_RESPONSE : DIR_REQUEST;
}

static inline unsigned flow_side(const struct flow_node *n, enum dir dir)
{
	return (unsigned)dir ^ n->reversed;
}

/* First node of the bucket of this client. */
struct flow_node **flow_table_bucket(const struct flow_table *t, uint64_t scope,
				     const uint8_t addr[16], uint16_t port);
static inline bool flow_table_same_client(const struct flow_node *n, uint64_t scope,
					  const uint8_t addr[16], uint16_t port)
{
	return n->f.client_port == port && n->f.scope == scope &&
	       memcmp(n->f.client_addr, addr, 16) == 0;
}

/* A flow with its key set; the caller keeps the table within its cap. NULL: no memory. */
struct flow_node *flow_table_add(struct flow_table *t, uint64_t scope, const uint8_t addr[16],
				 uint16_t port);
void flow_table_rekey(struct flow_table *t, struct flow_node *n, const uint8_t addr[16],
		      uint16_t port);
void flow_table_touch(struct flow_table *t, struct flow_node *n);
/* From the open to the closed ones, of which the oldest is forgotten. */
void flow_table_close(struct flow_table *t, struct flow_node *n);
/* Unlinks and frees; pending bytes must be gone. */
void flow_table_remove(struct flow_table *t, struct flow_node *n);
