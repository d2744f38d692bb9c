/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures made for the sweep, one a protocol: several connections, many calls, in every field that may differ the
 * call's own token ("t000042"), in its reply the same, so that a field or a reply of another call is seen as such.
 */
#pragma once
#include "base/buf.h"
#include "tests/unit/gen.h"

#define SWEEP_SECOND 1000000000ull

/* One protocol, or one form of it: how a request and its reply look on the wire. */
struct sweep_maker {
	/* kind: a number that decides lengths, errors and the like */
	void (*request)(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind);
	void (*response)(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind);
	unsigned forms; /* a connection keeps to one */
	bool by_id; /* replies come in any order */
};

struct sweep_gen {
	const char *name;
	const struct sweep_maker *maker;
	size_t (*make)(struct gen *g, uint64_t seed); /* NULL: by the maker; how many calls */
};
extern const struct sweep_gen sweep_gens[]; /* the last one has no name */
size_t sweep_gen_make(const struct sweep_gen *s, struct gen *g, uint64_t seed);

extern const struct sweep_maker sweep_thrift, sweep_ttheader, sweep_theader, sweep_dubbo2,
	sweep_brpc, sweep_kitex_protobuf;
size_t sweep_http2_make(struct gen *g, uint64_t seed);
size_t sweep_grpc_make(struct gen *g, uint64_t seed);

/* For makers */
void sweep_text(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sweep_bytes(struct buf *b, struct bytes more);
void sweep_be(struct buf *b, uint64_t v, unsigned n); /* n bytes, big-endian */
void sweep_tokens(struct buf *b, unsigned token, size_t n); /* "t000042." so many times */
void sweep_flush(struct gen *g, struct gen_conn *c, enum dir dir, struct buf *b, size_t mss);
