/* SPDX-License-Identifier: Apache-2.0 */
/* Writes Thrift messages in the three forms, for tests. Aborts without memory. */
#pragma once
#include "base/buf.h"
#include "rpc/thrift_message.h"

void tw_u8(struct buf *b, unsigned v);
void tw_be16(struct buf *b, unsigned v);
void tw_be32(struct buf *b, uint32_t v);
void tw_varint(struct buf *b, uint64_t v);
void tw_bytes(struct buf *b, struct bytes s);

void tw_message(struct buf *b, enum thrift_form form, unsigned type, const char *name,
		int32_t seqid);
/* A field's header; the type as in binary (2 bool, 8 i32, 11 string, 12 struct ...; translated for compact, where a
 * bool is true). *last: id of the field before it. */
void tw_field(struct buf *b, enum thrift_form form, unsigned type, int id, int *last);
void tw_string(struct buf *b, enum thrift_form form, struct bytes s); /* a value */
void tw_i32(struct buf *b, enum thrift_form form, int32_t v);
void tw_stop(struct buf *b);

/* The struct {1: string text}, for the arguments and (id 0 and up) results of most tests. */
void tw_struct(struct buf *b, enum thrift_form form, int id, struct bytes text);
/* {1: string text, 2: i32 code} of a TApplicationException; in the other order when turned */
void tw_exception(struct buf *b, enum thrift_form form, struct bytes text, int32_t code,
		  bool turned);
/* Any struct: every type, nested up to `depth`. */
void tw_random(struct buf *b, enum thrift_form form, unsigned depth, uint64_t *seed);

/* What is behind `off` gets its length in front. */
void tw_frame(struct buf *b, size_t off);

/* A whole message whose struct has one string of `length`. The caller frees it. */
struct buf tw_text_message(enum thrift_form form, bool framed, unsigned type, const char *name,
			   int32_t seqid, size_t length);
