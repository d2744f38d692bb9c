/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Late joins and losses against the truth: a capture once whole, then without some of its packets. A call of such
 * a run is held against the calls of the whole one on the same connection whose bytes passed at the same time:
 * every field that it tells must be one call's, request and reply the same call's. What is not known may be empty
 * where the record says so (docs/record.md).
 */
#pragma once
#include "capture/packet.h"
#include "tests/unit/gen.h"
#include "tests/unit/records.h"

/* Packets through the stages of the pipeline, as from a file; fails where a ledger does not balance. */
struct sweep_run {
	struct records out;
	struct joined *calls; /* whole calls, parts joined */
	uint64_t *conns; /* of each: equal for the same two ends, whichever is the client */
	size_t n;
	uint64_t undone; /* connections whose protocol was taken back */
};
void sweep_run(struct sweep_run *run, const struct packet *p, size_t n, const uint16_t *port);
void sweep_run_fini(struct sweep_run *run);

/* What became of the calls of one protocol, over all runs */
struct sweep_share {
	char protocol[32];
	uint64_t calls, complete, partial, lost;
	uint64_t by_order; /* pairs with late_join, where order alone tells ... */
	uint64_t by_order_wrong; /* ... and told wrongly */
};
struct sweep_shares {
	struct sweep_share list[16];
	size_t n;
};

/*
 * Holds `seen` against `truth`. NULL: nothing is wrong; else what is, malloc'ed. Counts the calls of the truth that
 * began at from_ns or later.
 */
char *sweep_compare(const struct sweep_run *truth, const struct sweep_run *seen, uint64_t from_ns,
		    struct sweep_shares *shares);
void sweep_shares_print(const struct sweep_shares *shares, const char *what);

/* tests/golden/NAME.pcap into packets. */
void sweep_load(struct gen *g, const char *path);
