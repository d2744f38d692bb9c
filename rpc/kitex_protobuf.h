/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Kitex Protobuf message (cloudwego/kitex pkg/remote/codec/protobuf): u16 0x9001 | u16 type | u32 length of the
 * name | name | i32 sequence | protobuf. It comes behind its length, with a TTHeader before that or without.
 */
#pragma once
#include "rpc/framer.h"

enum {
	KITEX_PROTOBUF_MAGIC = 0x9001,
	KITEX_PROTOBUF_CALL = 1,
	KITEX_PROTOBUF_REPLY = 2,
	KITEX_PROTOBUF_EXCEPTION = 3,
	KITEX_PROTOBUF_ONEWAY = 4,
	KITEX_PROTOBUF_STREAM = 5,
	KITEX_PROTOBUF_HEARTBEAT = 6,
};

struct kitex_protobuf_message {
	uint8_t type;
	int32_t seqid;
	struct bytes name;
	size_t body_off; /* where the protobuf begins */
};

/* 1: *out is filled; 0: needs *need bytes; -EPROTO: none, or a name that is none; -E2BIG: a name longer than
 * THRIFT_NAME_MAX. The answer for a prefix of `in` is 0 or the same. */
int kitex_protobuf_parse(struct bytes in, struct kitex_protobuf_message *out, size_t *need);

/* ErrorProto{int32 TypeID = 1; string Message = 2}: the body of an exception. False: it is none, or is cut. */
bool kitex_protobuf_error(struct bytes body, int32_t *type, struct bytes *text);
