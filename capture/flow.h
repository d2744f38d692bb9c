/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: which connection and which direction a packet belongs to, and its 64-bit stream offset.
 * The table is bounded; the least recently used flow leaves first (counted).
 *
 * Key (docs/design.md, "The probe"): scope, client address and port as in the packet. Several
 * flows may share a key; a flow also holds the server's ports as seen in packets and sockets, and
 * a packet belongs to the flow with which it shares one; failing that (a filter on lo has no
 * socket), to the only flow of that client that still lacks this direction.
 *
 * The server is, in order: the receiver of the SYN; the side with a listening socket
 * (cfg.listens); the side whose port was chosen; the lower port.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ledger.h"
#include "capture/packet.h"
#include "capture/stream.h"
#include "rpc/framer.h"

struct flow {
	uint64_t id; /* 1, 2, 3 ... in the order seen */
	uint64_t scope;
	uint8_t client_addr[16], server_addr[16]; /* server: own address of the accepting socket */
	uint8_t orig_addr[16]; /* where the client dialled, when that differs (redirect) */
	uint16_t client_port, server_port;
	uint16_t orig_port; /* 0: not redirected */
	bool syn_seen; /* from its beginning; false: late join */
	bool server_certain; /* from a SYN or a listening socket */
	uint64_t first_ns, last_ns;
	uint32_t slot, tag; /* verdict slot */
	uint32_t share; /* taken while below attach_ops.keep */
	void *user; /* the connection (capture/conn.h), owned by the callbacks' side */
};

/* Why a flow ended */
enum flow_end {
	FLOW_FIN,
	FLOW_RST,
	FLOW_REUSED,
	FLOW_EVICTED,
	FLOW_VANISHED,
	FLOW_STOP,
	FLOW_UNMUTED, /* joined anew from here on */
	FLOW_SAMPLED_OUT, /* the share of connections fell below its hash */
};
enum { FLOW_ENDS = FLOW_SAMPLED_OUT + 1 };

/* From within a callback only flow_reverse() and flow_mute() may be called. */
struct flow_callbacks {
	/* The first run comes next: a flow without a byte is never told. */
	void (*open)(void *ctx, struct flow *f);
	/*
	 * In-order bytes of one direction. data is borrowed until it returns. `missing` > 0: so
	 * many bytes at this place were never captured (data empty then): a gap, never spliced
	 * over. flags: STREAM_*.
	 */
	void (*data)(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run);
	/* This direction ended (FIN in order) or the whole flow did (how); no data of it comes
	 * after. */
	void (*half_close)(void *ctx, struct flow *f, enum dir dir);
	void (*close)(void *ctx, struct flow *f, enum flow_end how);
};

struct flow_cfg {
	size_t max_flows; /* 65,536 */
	size_t max_pending_flow; /* out-of-order bytes: 1 MiB a flow */
	size_t max_pending_all; /* 16 MiB in all */
	/* A hole is a loss when the rings were read empty twice after it was noted and it is this
	 * old: */
	uint64_t hole_ns; /* the peer acknowledged beyond it: 50 ms */
	uint64_t hole_max_ns; /* without an acknowledgement: 1 s */
	const uint16_t *ports; /* chosen ports */
	size_t n_ports;
	uint64_t seed;
	bool from_file; /* ageing by packet time, flow_settle() does nothing */
	/* true: a listening socket has this address and port. May be NULL. */
	bool (*listens)(void *listens_ctx, uint64_t scope, const uint8_t addr[16], uint16_t port);
	void *listens_ctx;
	/* Writes this word (bpf/event.h) for the probe; false: the back end cannot. May be NULL. */
	bool (*verdict)(void *verdict_ctx, uint32_t slot, uint32_t word);
	void *verdict_ctx;
	struct flow_callbacks on;
	void *ctx;
};

struct flow_table;
struct flow_table *flow_table_new(const struct flow_cfg *cfg); /* NULL: no memory */

/* Takes one packet; calls back for what became in order. */
void flow_push(struct flow_table *t, const struct packet *p);

/* Both rings were read empty (twice is what makes a hole a loss), at this time. Cheap when no
 * flow has a hole; of much that waited behind holes it lets go a part, the next call goes on. */
void flow_settle(struct flow_table *t, uint64_t now_ns);

/* Flows idle since before `idle_since_ns` that `alive` no longer knows end as FLOW_VANISHED;
 * looks at no more than `budget` of the oldest. */
void flow_sweep(struct flow_table *t, uint64_t idle_since_ns,
		bool (*alive)(void *ctx, const struct flow *f), void *ctx, unsigned budget);

/* Ends one flow, or all: remaining bytes are delivered with gaps, then close(how). */
void flow_end(struct flow_table *t, struct flow *f, enum flow_end how);
void flow_end_all(struct flow_table *t, enum flow_end how);

/*
 * The flow's user asks to have client and server the other way round (a framer found out).
 * Nothing happens when the addresses of the two directions differ: the redirected side is the
 * server.
 */
void flow_reverse(struct flow_table *t, struct flow *f);

/*
 * Nothing of this flow is wanted any more: the probe is told to leave its packets out (but SYN, FIN, RST), and what
 * comes all the same is counted as `muted`. It ends by FIN, RST, a new SYN, or as any other. False: not muted, since the
 * back end cannot or another flow has its slot.
 */
bool flow_mute(struct flow_table *t, struct flow *f);
void flow_unmute_all(
	struct flow_table *t); /* they end as FLOW_UNMUTED; what comes next is a late join */
void flow_mute_again(struct flow_table *t); /* the back end is another one: tells it all of them */
size_t flow_muted(const struct flow_table *t); /* now */

/* Flows for which `out` says so end as FLOW_SAMPLED_OUT; number of them. */
size_t flow_sample_out(struct flow_table *t, bool (*out)(void *ctx, const struct flow *f),
		       void *ctx);
/* Takes a packet of a connection that is sampled out: only counted. */
void flow_skip(struct flow_table *t, const struct packet *p);

size_t flow_count(const struct flow_table *t); /* open ones */

struct flow_totals {
	uint64_t opened, late_joins, ended[FLOW_ENDS]; /* ended: by enum flow_end */
	uint64_t without_bytes; /* a handshake and no byte: all of them with a sockmap redirect */
	uint64_t conflicts; /* overlaps with other bytes */
	uint64_t gaps; /* runs with missing bytes */
	uint64_t evicted_holes; /* declared early because a cap was reached */
	size_t memory_bytes; /* flows and pending bytes, now */
};
struct flow_totals flow_totals(const struct flow_table *t);

/* Three stages: `flow` in packets, `stream` in bytes, `gaps` in bytes that were sent and never
 * seen. */
size_t flow_ledger(const struct flow_table *t, struct ledger_stage *out, size_t max);
void flow_table_free(struct flow_table *t); /* no callbacks */
