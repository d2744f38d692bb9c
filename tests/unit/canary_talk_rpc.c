/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift and what carries it, Kitex Protobuf, Dubbo2, bRPC */
#include "tests/unit/canary_make.h"
#include "tests/unit/thrift_write.h"

/* ---- Thrift, and what carries it ---- */

/* {1: canary, 2: {1: canary}, 3: a pattern's}; of a reply {0: canary} */
static void thrift_body(struct buf *b, struct talk *t, enum thrift_form form, bool reply)
{
	int last = reply ? -1 : 0, inner = 0;
	if (reply) {
		tw_struct(b, form, 0, bytes_str(c_(t)));
		return;
	}
	tw_field(b, form, 11, 1, &last);
	tw_string(b, form, bytes_str(c_(t)));
	tw_field(b, form, 12, 2, &last);
	tw_field(b, form, 11, 1, &inner);
	tw_string(b, form, bytes_str(c_(t)));
	tw_stop(b);
	tw_field(b, form, 11, 3, &last);
	tw_string(b, form, bytes_str(by_pattern(t, "bdy")));
	tw_stop(b);
}

enum { CALL = 1, REPLY, EXCEPTION };

static void thrift_message(struct buf *b, struct talk *t, enum thrift_form form, unsigned type,
			   int32_t seq)
{
	tw_message(b, form, type, "S:m", seq);
	if (type == EXCEPTION)
		tw_exception(b, form, bytes_str(c_(t)), 6, false);
	else
		thrift_body(b, t, form, type == REPLY);
}

static void thrift_framed(struct talk *t, enum dir dir, enum thrift_form form, unsigned type,
			  int32_t seq)
{
	struct buf *b = segment(t, dir);
	put_be(b, 0, 4);
	thrift_message(b, t, form, type, seq);
	put_at(b, 0, b->n - 4, 4);
}

static void thrift_calls(struct talk *t, enum thrift_form form)
{
	for (int32_t seq = 1; seq <= 2; seq++) {
		thrift_framed(t, DIR_REQUEST, form, CALL, seq);
		thrift_framed(t, DIR_RESPONSE, form, seq == 1 ? REPLY : EXCEPTION, seq);
	}
}

void canary_thrift(struct talk *t)
{
	thrift_calls(t, THRIFT_BINARY);
}

void canary_thrift_compact(struct talk *t)
{
	thrift_calls(t, THRIFT_COMPACT);
}

static void pair16(struct buf *b, const char *key, const char *value)
{
	put_be(b, strlen(key), 2);
	put_text(b, key);
	put_be(b, strlen(value), 2);
	put_text(b, value);
}

static void ttheader_frame(struct talk *t, bool reply, uint32_t seq, bool protobuf)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), h = {0}, part = {0};
	if (protobuf) {
		put_be(&part, 0x90010000 | (reply ? REPLY : CALL), 4);
		put_be(&part, 1, 4);
		put_text(&part, "m");
		put_be(&part, seq, 4);
		pb_body(&part, t);
	} else {
		thrift_message(&part, t, THRIFT_BINARY, reply ? seq == 1 ? REPLY : EXCEPTION : CALL,
			       (int32_t)seq);
	}
	put_be(&h, protobuf ? 4 : 0, 1);
	put_be(&h, 0, 1);
	put_be(&h, 1, 1);
	put_be(&h, 3, 2);
	pair16(&h, "Authorization", c_(t));
	pair16(&h, "RPC_TRANSIT_x-api-key", c_(t));
	pair16(&h, "x-tenant-a", c_(t));
	put_be(&h, 0x10, 1);
	put_be(&h, reply ? 1 : 3, 2);
	if (!reply) {
		put_be(&h, 6, 2);
		put_be(&h, 3, 2);
		put_text(&h, "s.S");
		put_be(&h, 9, 2);
		put_be(&h, 1, 2);
		put_text(&h, "m");
	}
	put_be(&h, 2, 2); /* the log id */
	put_be(&h, CANARY, 2);
	put_text(&h, by_pattern(t, "sta"));
	put_be(&h, 0x11, 1);
	put_be(&h, CANARY, 2);
	put_text(&h, c_(t));
	while (h.n % 4)
		put_be(&h, 0, 1);
	put_be(b, 10 + h.n + part.n + 4 * protobuf, 4);
	put_be(b, 0x1000, 2);
	put_be(b, 0, 2);
	put_be(b, seq, 4);
	put_be(b, h.n / 4, 2);
	put(b, buf_bytes(&h));
	if (protobuf)
		put_be(b, part.n, 4);
	put(b, buf_bytes(&part));
	buf_fini(&h);
	buf_fini(&part);
}

void canary_ttheader(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		ttheader_frame(t, false, seq, false);
		ttheader_frame(t, true, seq, false);
	}
}

void canary_kitex_protobuf(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		ttheader_frame(t, false, seq, true);
		ttheader_frame(t, true, seq, true);
	}
}

static void theader_frame(struct talk *t, bool reply, uint32_t seq)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), h = {0}, part = {0};
	thrift_message(&part, t, THRIFT_BINARY, reply ? REPLY : CALL, (int32_t)seq);
	put_be(&h, 0, 2);
	put_be(&h, 0x0102, 2);
	put_be(&h, 13, 1);
	put_text(&h, "authorization");
	put_be(&h, CANARY, 1);
	put_text(&h, c_(t));
	put_be(&h, 10, 1);
	put_text(&h, "X-Tenant-B");
	put_be(&h, CANARY, 1);
	put_text(&h, c_(t));
	while (h.n % 4)
		put_be(&h, 0, 1);
	put_be(b, 10 + h.n + part.n, 4);
	put_be(b, 0x0fff0000, 4);
	put_be(b, seq, 4);
	put_be(b, h.n / 4, 2);
	put(b, buf_bytes(&h));
	put(b, buf_bytes(&part));
	buf_fini(&h);
	buf_fini(&part);
}

void canary_theader(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		theader_frame(t, false, seq);
		theader_frame(t, true, seq);
	}
}

/* ---- Dubbo2, bRPC ---- */

static void hessian(struct buf *b, const char *s)
{
	put_be(b, strlen(s), 1);
	put_text(b, s);
}

static void attachments(struct buf *b, struct talk *t)
{
	put_text(b, "H");
	hessian(b, "path");
	hessian(b, "demo.S");
	hessian(b, "authorization");
	hessian(b, c_(t));
	hessian(b, "x-tenant-c");
	hessian(b, c_(t));
	put_text(b, "Z");
}

static void dubbo2_frame(struct talk *t, bool reply, uint64_t id)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), part = {0};
	if (!reply) {
		hessian(&part, "2.0.2");
		hessian(&part, "demo.S");
		hessian(&part, "1.2.3");
		hessian(&part, "m");
		hessian(&part, "Ljava/lang/String;");
	} else {
		put_be(&part, 0x94, 1); /* a value with attachments */
	}
	hessian(&part, by_pattern(t, "bdy"));
	attachments(&part, t);
	put_be(b, 0xdabb, 2);
	put_be(b, reply ? 2 : 0xc2, 1);
	put_be(b, reply ? 20 : 0, 1);
	put_be(b, id, 8);
	put_be(b, part.n, 4);
	put(b, buf_bytes(&part));
	buf_fini(&part);
}

void canary_dubbo2(struct talk *t)
{
	for (uint64_t id = 1; id <= 2; id++) {
		dubbo2_frame(t, false, id);
		dubbo2_frame(t, true, id);
	}
}

static void pb_part(struct buf *b, unsigned field, struct buf *part)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, part->n);
	put(b, buf_bytes(part));
	buf_fini(part);
}

static void brpc_frame(struct talk *t, bool reply, uint32_t id)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), inner = {0}, meta = {0},
		   body = {0};
	if (reply) {
		put_be(&inner, 0x08, 1);
		put_varint(&inner, 2001);
		pb_text(&inner, 2, by_pattern(t, "sta"));
	} else {
		pb_text(&inner, 1, "s.S");
		pb_text(&inner, 2, "m");
		pb_text(&inner, 7, by_pattern(t, "sta")); /* the request's id */
	}
	pb_body(&body, t);
	pb_part(&meta, reply ? 2 : 1, &inner);
	put_be(&meta, 0x20, 1);
	put_varint(&meta, id);
	put_be(&meta, 0x28, 1);
	put_varint(&meta, CANARY); /* the attachment */
	if (!reply)
		pb_text(&meta, 7, unseen(t)); /* authentication */
	put_text(&body, by_pattern(t, "bdy"));
	put_text(b, "PRPC");
	put_be(b, meta.n + body.n, 4);
	put_be(b, meta.n, 4);
	put(b, buf_bytes(&meta));
	put(b, buf_bytes(&body));
	buf_fini(&meta);
	buf_fini(&body);
}

void canary_brpc(struct talk *t)
{
	for (uint32_t id = 1; id <= 2; id++) {
		brpc_frame(t, false, id);
		brpc_frame(t, true, id);
	}
}
