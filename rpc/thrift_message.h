/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Thrift message: its envelope, the end of its struct, and what a reply says of itself
 * (apache/thrift doc/specs thrift-binary-protocol.md, thrift-compact-protocol.md). Used by thrift, ttheader, theader.
 * Pure: bytes in, spans of them out. Nothing is allocated, no length is believed, nothing recurses.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/framer.h"

enum thrift_form { THRIFT_BINARY, THRIFT_OLD_BINARY, THRIFT_COMPACT };
enum thrift_type { THRIFT_CALL = 1, THRIFT_REPLY = 2, THRIFT_EXCEPTION = 3, THRIFT_ONEWAY = 4 };
enum {
	THRIFT_NAME_MAX =
		256, /* bytes of a name with its service; a longer one is no envelope (R7) */
	THRIFT_DEPTH_MAX = 64,
	THRIFT_STEPS_MAX = 1 << 20, /* of one skip: fields and elements (R5) */
};

struct thrift_message {
	enum thrift_form form;
	uint8_t type; /* enum thrift_type */
	int32_t seqid;
	struct bytes name; /* as sent: maybe "Service:method" */
	size_t struct_off; /* where the struct begins */
};

/* Which form could `in` begin with? -EPROTO: none; 0: needs *need bytes; 1: *out is filled. A name is validated: not
 * empty, printable ASCII without blanks. The old form only when `old` allows it: it has no magic. */
int thrift_message_parse(struct bytes in, bool old, struct thrift_message *out, size_t *need);

/* "Service:method" at the last ':' (a service may hold dots, a method no colon); no ':': service empty. */
void thrift_name_split(struct bytes name, struct bytes *service, struct bytes *method);

const char *thrift_form_name(enum thrift_form form); /* "binary" "old_binary" "compact" */

/* Skips one struct, resumable at any byte; zeroed + form is the start. */
struct thrift_skip {
	enum thrift_form form;
	/* inside; rpc/thrift_skip.c */
	uint32_t steps;
	uint8_t depth, state, have, part[12];
	uint64_t left;
	struct {
		uint8_t kind, key, value;
		uint8_t bools; /* compact: elements are a byte each */
		uint32_t n;
		int16_t id;
	} level[THRIFT_DEPTH_MAX];
};

/* Reads on in `in`. > 0: bytes used, *done tells whether the struct ended with them; 0: `in` is empty.
 * -EPROTO: no struct (unknown type, negative length); -E2BIG: deeper or longer than the limits. */
int64_t thrift_skip_next(struct thrift_skip *s, struct bytes in, bool *done);

/* What a reply says. */
struct thrift_result {
	bool known; /* as far as `body` reaches, it could be told */
	bool is_void; /* an empty struct */
	enum outcome
		outcome; /* OK, DECLARED_EXCEPTION (field id >= 1 of a REPLY), SERVER_ERROR (EXCEPTION) */
	int32_t code; /* TApplicationException type, else 0 */
	struct bytes text; /* its message */
};

/* `body` is the struct, maybe cut at the end. Fields may come in any order (Kitex FastCodec). */
struct thrift_result thrift_result_read(enum thrift_form form, uint8_t type, struct bytes body);
