/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a THeader frame (apache/thrift doc/specs/HeaderFormat.md) and the message inside, as far as it can be read:
 *   u32 length of what follows it | u16 0x0fff | u16 flags | u32 seq | u16 size of the header / 4 |
 *   header: protocol id, transforms, info blocks, padding | payload
 * A payload under zlib is inflated to THEADER_LOOK bytes at most, only to read its envelope and result; under another
 * transform it is not read.
 */
#pragma once
#include "rpc/framer.h"
#include "rpc/thrift_message.h"

enum {
	THEADER_FIXED = 14,
	THEADER_LOOK = 4096, /* bytes of a payload that are looked at, before and after zlib */
	THEADER_HEADERS_MAX = 256,
	THEADER_TRANSFORMS_MAX = 8,
};

struct theader_frame {
	uint32_t len; /* of the frame without its first four bytes */
	uint32_t seq;
	size_t payload_off;
	uint64_t payload; /* bytes */
};

/* 1: *f is filled; 0: wants THEADER_FIXED bytes; -1: no such frame. */
int theader_frame_parse(struct bytes in, struct theader_frame *f);

struct theader_head {
	uint8_t protocol;
	uint8_t n_transforms;
	uint8_t transforms[THEADER_TRANSFORMS_MAX];
	bool strict; /* nothing in it was unknown */
	const struct header *headers; /* info blocks, in a scratch of the thread; borrowed */
	size_t n_headers;
	bool readable; /* the envelope was read: */
	struct thrift_message
		message; /* its name lies in the frame, or in a scratch of the thread */
	struct thrift_result result; /* of a REPLY or EXCEPTION; likewise */
	const char *cap; /* a limit that left something out */
};

/*
 * `in` begins with the frame f and holds its header, and `look` bytes of its payload, or all of it. false: the header
 * contradicts itself.
 */
bool theader_head_parse(struct bytes in, const struct theader_frame *f, size_t look,
			size_t max_headers, struct theader_head *h);
