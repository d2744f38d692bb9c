/* SPDX-License-Identifier: Apache-2.0 */
/* The two streams of a flow merged by cause, handed to the callbacks; holes found and declared. */
#pragma once
#include "capture/flow_table.h"

/* What an acknowledgement may be ahead of what was seen: further is garbage and is not waited
 * for. */
enum { FLOW_ACK_AHEAD = 64 << 20, FLOW_ACK_AHEAD_UNSEEN = 1 << 30 };

/* Offset of the peer of `side` that this packet acknowledges; plausible ones are noted as
 * evidence. */
uint64_t flow_order_ack(struct flow_node *n, unsigned side, const struct packet *p);

/* A trimmed segment: handed on, or kept until its turn. */
void flow_order_segment(struct flow_table *t, struct flow_node *n, unsigned side,
			struct stream_segment *g);

/* Hands on what has its turn, then ends of directions. */
void flow_order_pump(struct flow_table *t, struct flow_node *n);

/* Declares [next, end) of this side lost. */
void flow_order_gap(struct flow_table *t, struct flow_node *n, unsigned side, uint64_t end,
		    enum flow_gap why);

/* What stands in the way of the first pending piece (or FIN) of a side */
struct flow_hole {
	unsigned side; /* whose bytes are missing */
	uint64_t end;
	uint64_t noted_ns;
	uint32_t epoch;
	bool acked; /* the peer acknowledged beyond its start */
	bool hold; /* only an acknowledgement tells of it */
};
bool flow_order_hole(const struct flow_node *n, unsigned side, struct flow_hole *h);
bool flow_order_oldest(const struct flow_node *n, struct flow_hole *h); /* of both sides */

/* The hole is a loss; what waited for it is handed on. */
void flow_order_declare(struct flow_table *t, struct flow_node *n, const struct flow_hole *h,
			enum flow_gap why);

/* Everything pending with its holes as gaps, then what was acknowledged and never seen. */
void flow_order_flush(struct flow_table *t, struct flow_node *n);
