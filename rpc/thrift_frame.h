/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a Thrift message begins on a connection: with a frame's length (TFramedTransport) or without. A connection is
 * of one transport, both ways; strict and old binary may alternate on it (libraries read both and write what
 * they were told).
 */
#pragma once
#include "rpc/thrift_message.h"

enum thrift_transport { THRIFT_ANY, THRIFT_FRAMED, THRIFT_UNFRAMED };

/* A longer frame, or string in an unframed message, is none; limits.frame_bytes when that is 0 */
enum { THRIFT_FRAME_MAX = 64 << 20 };

struct thrift_frame {
	enum thrift_transport transport;
	uint32_t length; /* framed: of the message */
	size_t off; /* where the message begins: 4 or 0 */
	struct thrift_message message;
};

/* As thrift_message_parse; also -EPROTO for a length that is none (R1) or too short for the envelope and a struct. */
int thrift_frame_parse(struct bytes in, enum thrift_transport transport, bool old, size_t frame_max,
		       struct thrift_frame *out, size_t *need);

/* Magic enough to be believed without the other direction: strict, or compact in a frame. */
bool thrift_frame_strong(const struct thrift_frame *f);

/* Is its type one that goes this way? */
bool thrift_frame_fits(const struct thrift_frame *f, enum dir dir);

/* Skips the whole message at the start of `in`. > 0: its bytes; 0: it is cut; -EPROTO, -E2BIG: it is none, or a frame
 * that does not end with its struct. */
int64_t thrift_frame_whole(struct bytes in, const struct thrift_frame *f);

/* Both tell of the same call: ids, and names but for the service that only a request has. */
bool thrift_frame_answers(const struct thrift_frame *request, const struct thrift_frame *reply);
