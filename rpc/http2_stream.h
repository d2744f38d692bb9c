/* SPDX-License-Identifier: Apache-2.0 */
/* The open streams of an HTTP/2 connection, by id, least recently used first. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "rpc/grpc.h"
#include "rpc/hpack.h"

enum http2_half_state {
	HTTP2_IDLE, /* no head yet */
	HTTP2_OPEN,
	HTTP2_DONE,
	HTTP2_GIVEN_UP, /* lost, or never seen */
};

struct http2_half {
	uint64_t missing; /* body bytes lost and not yet told */
	uint64_t beyond; /* likewise, behind the message that `missing` is part of */
	struct grpc_split split;
	uint8_t state;
	bool data; /* body bytes came */
	bool raw; /* said to be gRPC (or maybe), and its messages are none: plain body */
};

struct http2_stream {
	struct list in_lru;
	struct http2_stream *next; /* in its bucket */
	uint32_t id;
	int32_t http_status; /* of the response head; 0: not known */
	uint64_t expected, got; /* body bytes of the response: by its Content-Length, and seen */
	struct http2_half half[2]; /* by enum dir */
	bool head_method; /* HEAD: its response has no body */
	bool method_hidden; /* it may be HEAD */
	bool sized; /* expected holds */
	bool hidden; /* a late join hides what would tell whether the response is whole: no outcome before its end */
	bool grpc;
	bool maybe_grpc; /* a late join hides what would tell */
	uint32_t unknown
		[HPACK_UNKNOWN_MAX]; /* entries that its request head named, when maybe_grpc */
	uint8_t n_unknown;
	bool head_unsure; /* what was taken for the response head may have been 1xx */
	bool head_lost; /* the response head may lie in a gap */
};

struct http2_streams { /* zeroed is empty, but for http2_streams_init */
	struct list lru;
	struct http2_stream **buckets, *spare;
	uint32_t n, n_buckets, n_spare;
};

void http2_streams_init(struct http2_streams *t);
struct http2_stream *http2_streams_find(const struct http2_streams *t, uint32_t id);
/* A zeroed stream, the most recently used. NULL: no memory. The caller keeps to the cap, and to ids not in use. */
struct http2_stream *http2_streams_add(struct http2_streams *t, uint32_t id);
void http2_streams_touch(struct http2_streams *t, struct http2_stream *s);
void http2_streams_del(struct http2_streams *t, struct http2_stream *s);
void http2_streams_fini(struct http2_streams *t);
