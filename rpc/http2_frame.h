/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of HTTP/2 (RFC 9113 section 4 and 6): their headers, and whether bytes look like some. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/framer.h"

enum {
	HTTP2_HEADER = 9, /* bytes of a frame header */
	HTTP2_FRAME_DEFAULT = 16384,
	HTTP2_FRAME_MAX = (1 << 24) - 1,
	HTTP2_CONTINUATIONS_MAX = 8,
};

enum http2_type {
	HTTP2_DATA,
	HTTP2_HEADERS,
	HTTP2_PRIORITY,
	HTTP2_RST_STREAM,
	HTTP2_SETTINGS,
	HTTP2_PUSH_PROMISE,
	HTTP2_PING,
	HTTP2_GOAWAY,
	HTTP2_WINDOW_UPDATE,
	HTTP2_CONTINUATION,
};

enum http2_flag {
	HTTP2_END_STREAM = 0x1,
	HTTP2_ACK = 0x1,
	HTTP2_END_HEADERS = 0x4,
	HTTP2_PADDED = 0x8,
	HTTP2_WITH_PRIORITY = 0x20,
};

extern const struct bytes http2_preface;

struct http2_frame {
	uint32_t len;
	uint8_t type, flags;
	uint32_t id; /* without the reserved bit */
};

/* in.n >= HTTP2_HEADER */
struct http2_frame http2_frame_read(struct bytes in);

/*
 * The fragment of a header block in the payload of HEADERS, PUSH_PROMISE or CONTINUATION, without padding, priority
 * and promised id; *promised: that id. false: its lengths do not fit.
 */
bool http2_frame_fragment(const struct http2_frame *f, struct bytes payload, struct bytes *fragment,
			  uint32_t *promised);

/*
 * A header block from its first frame on: how it lies in `in`. n: bytes of all its frames; 0: not whole, `need`
 * bytes are wanted. The fragments joined (in `room` of room_bytes, unless there is one only). -EPROTO: no block,
 * or over a limit, then *cap names it.
 */
struct http2_block {
	struct http2_frame first;
	struct bytes fragment;
	uint32_t promised;
	size_t n, need;
	const char *cap;
};
int http2_frame_block(struct http2_block *b, struct bytes in, uint32_t frame_max, uint8_t *room,
		      size_t room_bytes);

/* Does `in` begin like frames of this direction, as far as it goes? */
struct http2_chain {
	bool refuted;
	unsigned whole; /* frames that are all here, and say something */
	unsigned headers; /* frame headers that are all here */
	size_t n; /* bytes of the whole ones */
	size_t block; /* offset of the first whole header block; SIZE_MAX: none */
};
struct http2_chain http2_frame_chain(struct bytes in, enum dir dir, uint32_t frame_max);
