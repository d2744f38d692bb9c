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
	/* of one skip: headers of fields and containers, and elements that are looked at one by one (R5). Each
	 * takes at least a byte, so this bounds the processor time of one message, not of its bytes. */
	THRIFT_STEPS_MAX = 1 << 24,
};

struct thrift_message {
	enum thrift_form form;
	uint8_t type; /* enum thrift_type */
	int32_t seqid;
	struct bytes name; /* as sent: maybe "Service:method" */
	size_t struct_off; /* where the struct begins */
};

/* Which form could `in` begin with? -EPROTO: none; -E2BIG: a name longer than THRIFT_NAME_MAX behind a right version
 * word; 0: needs *need bytes; 1: *out is filled. A name is validated: not empty, printable ASCII without blanks. The
 * old form only when `old` allows it: it has no magic. The answer for a prefix of `in` is 0 or the same. */
int thrift_message_parse(struct bytes in, bool old, struct thrift_message *out, size_t *need);

/* "Service:method" at the last ':' (a service may hold dots, a method no colon); no ':': service empty. */
void thrift_name_split(struct bytes name, struct bytes *service, struct bytes *method);

const char *thrift_form_name(enum thrift_form form); /* "binary" "old_binary" "compact" */

/* An unsigned LEB128 of at most `max` bytes. > 0: bytes used; 0: needs more; -EPROTO: longer. */
int thrift_varint(struct bytes in, unsigned max, uint64_t *out);

/* Skips one struct, resumable at any byte; zeroed + form is the start (thrift_skip_start touches less of it). */
struct thrift_skip {
	enum thrift_form form;
	/* Field 2 of the struct itself, an i32: the type of a TApplicationException */
	bool has_code;
	int32_t code;
	/* A string or a run of values of more bytes (varints: of more values) than this is -E2BIG; 0: any. Set it after the
	 * start. */
	uint64_t longest;
	int failed; /* 0, or what the next call answers */
	/* inside; rpc/thrift_skip.c */
	uint32_t steps;
	uint8_t depth, state, have, part[12];
	uint64_t left;
	struct {
		uint8_t kind, key, value;
		uint32_t n; /* items that are still to come; a struct: the id of its last field */
	} level[THRIFT_DEPTH_MAX];
};

void thrift_skip_start(struct thrift_skip *s, enum thrift_form form);
/* One value of a field in place of a struct; a compact bool has no bytes. -EPROTO: no such type. */
int thrift_skip_value_start(struct thrift_skip *s, enum thrift_form form, unsigned type);

/* Reads on in `in`. > 0: bytes used, *done tells whether the struct ended with them; 0: `in` is empty.
 * -EPROTO: no struct (unknown type, negative length); -E2BIG: deeper or longer than the limits. The byte that shows
 * the fault is used like those before it and the next call says what it was: so the count of bytes
 * used does not depend on how they were cut. */
int64_t thrift_skip_next(struct thrift_skip *s, struct bytes in, bool *done);

/* What a reply says. */
struct thrift_result {
	bool known; /* as far as `body` reaches, it could be told; more of it changes nothing */
	bool broken; /* no struct, or over the limits of a skip: more of it will not help */
	bool is_void; /* an empty struct */
	enum outcome
		outcome; /* OK, DECLARED_EXCEPTION (field id not 0 of a REPLY), SERVER_ERROR (EXCEPTION) */
	bool has_code;
	int32_t code; /* TApplicationException type, else 0 */
	/* Its message. One that is cut is told when it is longer than a record keeps of it. */
	struct bytes text;
};

/* `body` is the struct, maybe cut at the end. The first field of a REPLY decides (a result struct has one); a
 * TApplicationException's may come in any order (Kitex FastCodec). The outcome of an EXCEPTION is there at once. */
struct thrift_result thrift_result_read(enum thrift_form form, uint8_t type, struct bytes body);
