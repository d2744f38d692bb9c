/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC inside HTTP/2 (grpc doc/PROTOCOL-HTTP2.md, doc/statuscodes.md): what http2 asks of it. No state of
 * connections here: a split per direction of a stream, and pure functions.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/framer.h"

/* "application/grpc", "application/grpc+...", "application/grpc;...", in any case. gRPC-Web is none. */
bool grpc_content_type(struct bytes value);

/* "/package.Service/Method" into its halves. False, both empty: it is none. */
bool grpc_path_split(struct bytes path, struct bytes *service, struct bytes *method);

/* Length-prefixed messages in the DATA bytes of one direction; zeroed is the start. */
struct grpc_split {
	uint64_t left; /* bytes of the present message still to come */
	uint8_t prefix[5], have; /* of its prefix */
	bool inside, compressed;
	bool lost; /* a hole took a prefix, or one was wrong: the rest of the direction is counted only */
};

struct grpc_run {
	struct bytes body; /* bytes of the present message, maybe none */
	bool end; /* the message is complete (also one of length 0) */
	bool compressed; /* with end */
};

/*
 * Takes the next run of `in`: how many bytes of it were used (prefix and body). *run lies over `in`. 0 on empty
 * input, or with run->end for a message whose last bytes a hole took: worth a call with empty `in` at the end too.
 * -EPROTO once: a prefix that is none (flag > 1); `lost` is set then. When lost: all of `in`, without a body.
 * Nothing is allocated by length.
 */
int64_t grpc_split_next(struct grpc_split *s, struct bytes in, struct grpc_run *run);

/* n bytes of the direction are missing here. The rest of the present message that they took counts into *missing;
 * when they took anything else, `lost` is set: the present message still ends, what follows it is not found. */
void grpc_split_gap(struct grpc_split *s, uint64_t n, uint64_t *missing);

/* The direction ends here: inside a message or its prefix? */
static inline bool grpc_split_cut(const struct grpc_split *s)
{
	return s->have > 0 || (s->inside && s->left > 0);
}

/* "0" ... "2147483647"; false: no number. */
bool grpc_status_parse(struct bytes value, int32_t *status);
enum outcome grpc_outcome(int32_t status); /* record.md */

enum { GRPC_TEXT_MAX = 1024 };

/* Percent-decoding of grpc-message: invalid escapes stay as they are; cut at cap, not inside a character. The text
 * lies in out. */
struct bytes grpc_message_decode(struct bytes raw, uint8_t *out, size_t cap, bool *cut);

enum grpc_end_found {
	GRPC_END_UNKNOWN =
		1 << 0, /* a late join hides fields that may be the status: outcome unknown */
	GRPC_END_CUT = 1 << 1, /* status_text was cut at GRPC_TEXT_MAX (piece.cap "status_text") */
};

/*
 * The end of a gRPC reply: header fields of its last header block (trailers, or trailers-only; n == 0: a stream
 * that ended without one) and its :status, into status, has_status, outcome and status_text of *h. No grpc-status:
 * by :status when that is not 200 (0: not known, so is the outcome), else ABORTED. text: what status_text may point
 * into. Any sum of enum grpc_end_found.
 */
unsigned grpc_end(struct head *h, const struct header *fields, size_t n, int32_t http_status,
		  uint8_t text[GRPC_TEXT_MAX]);
