/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections made by nghttp2's client and server sessions in memory, what those sessions decoded, and the
 * same as the framer tells it. For the tests that compare the two.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "rpc/framer.h"

enum { H2_FIELDS_MAX = 48 };

struct h2_block {
	struct header f[H2_FIELDS_MAX];
	size_t n;
	bool seen;
};

struct h2_message {
	struct h2_block head, trailers;
	uint64_t hash, bytes, missing;
	unsigned messages; /* of gRPC */
	bool ended, cut;
};

struct h2_call {
	uint32_t id;
	struct h2_message msg[2]; /* by enum dir */
	size_t opened; /* segment with the head of its request */
	unsigned interims;
	bool reset;
	uint32_t rst_code;
	unsigned flags;
	/* as told by the framer */
	const char *protocol;
	struct bytes service, method, path, text, unknown;
	int32_t status;
	bool has_status;
	enum outcome outcome;
	/* inside the generator */
	struct buf body[2];
	size_t sent[2];
	bool grpc, trailing[2], waits;
	uint8_t prefix[2][5], have[2];
	uint64_t inside[2];
};

struct h2_calls {
	struct arena arena;
	struct h2_call *list;
	size_t n, cap;
};

struct h2_call *h2_calls_find(struct h2_calls *c, uint32_t id);
struct h2_call *h2_calls_at(struct h2_calls *c, uint32_t id); /* found, or added */
void h2_calls_fini(struct h2_calls *c);

/* What one session sent at once: a frame, or several */
struct h2_segment {
	enum dir dir;
	size_t off, n;
};

struct h2_traffic {
	struct buf bytes; /* of all segments */
	struct h2_segment *segments;
	size_t n, cap;
	struct h2_calls truth;
};

/* So many streams on one connection, and all else at random by the seed. */
void h2_traffic_make(struct h2_traffic *t, unsigned streams, uint64_t seed);
void h2_traffic_fini(struct h2_traffic *t);

/* framer_http2 as a connection uses it */
struct h2_reader {
	void *state;
	struct buf pending[2];
	unsigned hints[2];
	bool lost[2], dead[2];
	uint64_t skipped, resyncs, caps;
	bool last_known;
	enum dir last;
	struct h2_calls got;
};

void h2_reader_open(struct h2_reader *r, bool late);
void h2_reader_feed(struct h2_reader *r, enum dir dir, struct bytes b, bool starts);
void h2_reader_gap(struct h2_reader *r, enum dir dir, uint64_t n);
void h2_reader_close(struct h2_reader *r);

/* FNV-1a over a run, from *hash */
void h2_hash(uint64_t *hash, struct bytes b);
