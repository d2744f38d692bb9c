/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies behind a TTHeader: a Thrift message, bare or with its length before it, a Kitex Protobuf message, or
 * something else. Pure: bytes in, spans of them out.
 */
#pragma once
#include "rpc/kitex_protobuf.h"
#include "rpc/thrift_message.h"

enum ttheader_form {
	TTHEADER_EMPTY,
	TTHEADER_THRIFT,
	TTHEADER_PROTOBUF,
	TTHEADER_OTHER, /* transformed, or nothing that is known */
};

/* Bytes of the payload that a head waits for, when they decide what it says */
enum { TTHEADER_RESULT_MAX = 4096, TTHEADER_EXCEPTION_MAX = 64 * 1024 };

struct ttheader_payload {
	enum ttheader_form form;
	bool framed;
	uint8_t skip; /* bytes before the message: its length */
	uint8_t type; /* of the envelope; 0: none */
	enum thrift_form thrift;
	int32_t seqid;
	struct bytes name;
	size_t body_off; /* of the struct, from the start of the payload */
	const char *cap;
};

/* `in`: the first bytes of a payload of `total`. 1: *out is filled; 0: needs *need bytes (never more than total).
 * The answer for a prefix is 0 or the same. */
int ttheader_payload_parse(struct bytes in, uint64_t total, unsigned transforms,
			   struct ttheader_payload *out, size_t *need);

/* Status, text and outcome of a reply into *out, from a payload that ttheader_payload_parse() read. 1: told, or as far
 * as can be; 0: needs *need bytes. `last`: no more will come. */
int ttheader_payload_result(const struct ttheader_payload *p, struct bytes in, uint64_t total,
			    bool last, struct head *out, size_t *need);

/* "framed+mux+binary" and the like; NULL when nothing is known. */
const char *ttheader_payload_transport(const struct ttheader_payload *p, bool mux);
