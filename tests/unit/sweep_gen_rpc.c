/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift and what carries it, Kitex Protobuf, Dubbo2, bRPC: framed messages with ids, or with none. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/sweep_gen.h"

/* ---- Thrift: the message ---- */

enum { BINARY, OLD_BINARY, COMPACT };
enum { CALL = 1, REPLY, EXCEPTION, ONEWAY };

static void varint(struct buf *b, uint64_t v)
{
	for (; v > 127; v >>= 7)
		sweep_be(b, (v & 127) | 128, 1);
	sweep_be(b, v, 1);
}

static void envelope(struct buf *b, unsigned encoding, unsigned type, uint32_t seq,
		     const char *name)
{
	if (encoding == COMPACT) {
		sweep_be(b, 0x82, 1);
		sweep_be(b, type << 5 | 1, 1);
		varint(b, seq);
		varint(b, strlen(name));
		sweep_text(b, "%s", name);
		return;
	}
	if (encoding == BINARY)
		sweep_be(b, 0x80010000 | type, 4);
	sweep_be(b, strlen(name), 4);
	sweep_text(b, "%s", name);
	if (encoding == OLD_BINARY)
		sweep_be(b, type, 1);
	sweep_be(b, seq, 4);
}

/* A struct of one string of tokens and one number, in fields `id` and id + 1 */
static void body(struct buf *b, unsigned encoding, unsigned id, unsigned token, size_t n,
		 uint32_t number)
{
	if (encoding == COMPACT) {
		if (id)
			sweep_be(b, id << 4 | 8, 1);
		else
			sweep_be(b, 0x0800, 2);
		varint(b, n * 8);
		sweep_tokens(b, token, n);
		sweep_be(b, 0x15, 1);
		varint(b, number * 2);
	} else {
		sweep_be(b, 11, 1);
		sweep_be(b, id, 2);
		sweep_be(b, n * 8, 4);
		sweep_tokens(b, token, n);
		sweep_be(b, 8, 1);
		sweep_be(b, id + 1, 2);
		sweep_be(b, number, 4);
	}
	sweep_be(b, 0, 1);
}

static void message(struct buf *b, unsigned encoding, bool reply, uint32_t seq, unsigned token,
		    uint64_t kind)
{
	char name[64];
	bool fails = kind % 5 == 4;
	snprintf(name, sizeof(name), "do_t%06u", token);
	envelope(b, encoding, reply ? (fails ? EXCEPTION : REPLY) : CALL, seq, name);
	/* a result holds one field of a union in truth; nobody reads further than the first */
	body(b, encoding, reply && !fails ? 0 : 1, token, 1 + (reply ? kind % 60 : kind % 40), 6);
}

/* The length of what `part` holds, then it */
static void framed(struct buf *b, struct buf *part)
{
	sweep_be(b, part->n, 4);
	sweep_bytes(b, buf_bytes(part));
	buf_fini(part);
}

/* Forms: framed and not, in three encodings; ids that tell and ids that do not (always 0) */
static void thrift_message(struct buf *b, unsigned form, bool reply, uint32_t id, unsigned token,
			   uint64_t kind)
{
	struct buf part = {0};
	unsigned encoding = form % 3;
	message(&part, encoding, reply, form % 4 < 2 ? id : 0, token, kind);
	if (form & 1) {
		framed(b, &part);
		return;
	}
	sweep_bytes(b, buf_bytes(&part));
	buf_fini(&part);
}

static void thrift_request(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	thrift_message(b, form, false, id, token, kind);
}

static void thrift_response(struct buf *b, unsigned form, uint32_t id, unsigned token,
			    uint64_t kind)
{
	thrift_message(b, form, true, id, token, kind);
}

const struct sweep_maker sweep_thrift = {thrift_request, thrift_response, 12, false};

/* ---- Kitex Protobuf's message ---- */

static void protobuf_message(struct buf *b, bool reply, uint32_t id, unsigned token, uint64_t kind)
{
	char name[64];
	size_t n = 1 + kind % 14;
	bool fails = reply && kind % 5 == 4;
	int len = snprintf(name, sizeof(name), "do_t%06u", token);
	sweep_be(b, 0x90010000 | (fails ? EXCEPTION : reply ? REPLY : CALL), 4);
	sweep_be(b, (uint64_t)len, 4);
	sweep_text(b, "%s", name);
	sweep_be(b, id, 4);
	sweep_be(b, fails ? 0x080612 : 0x0a, fails ? 3 : 1);
	varint(b, n * 8);
	sweep_tokens(b, token, n);
}

static void protobuf_framed(struct buf *b, bool reply, uint32_t id, unsigned token, uint64_t kind)
{
	struct buf part = {0};
	protobuf_message(&part, reply, id, token, kind);
	framed(b, &part);
}

static void kitex_request(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	(void)form;
	protobuf_framed(b, false, id, token, kind);
}

static void kitex_response(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	(void)form;
	protobuf_framed(b, true, id, token, kind);
}

const struct sweep_maker sweep_kitex_protobuf = {kitex_request, kitex_response, 1, true};

/* ---- TTHeader ---- */

static void pair16(struct buf *b, const char *key, const char *value)
{
	sweep_be(b, strlen(key), 2);
	sweep_text(b, "%s", key);
	sweep_be(b, strlen(value), 2);
	sweep_text(b, "%s", value);
}

static void int_pair(struct buf *b, unsigned key, const char *value)
{
	sweep_be(b, key, 2);
	sweep_be(b, strlen(value), 2);
	sweep_text(b, "%s", value);
}

static void ttheader_infos(struct buf *h, bool reply, unsigned token, uint64_t kind)
{
	char name[64], service[64];
	snprintf(name, sizeof(name), "do_t%06u", token);
	snprintf(service, sizeof(service), "t%06u.service", token);
	sweep_be(h, 1, 1);
	sweep_be(h, 1, 2);
	pair16(h, reply ? "back" : "RPC_TRANSIT_T", name);
	sweep_be(h, 0x10, 1);
	sweep_be(h, reply ? 1 : 4, 2);
	if (!reply) {
		int_pair(h, 3, service);
		int_pair(h, 6, service);
		int_pair(h, 9, name);
	}
	int_pair(h, 22, !reply ? "1" : kind % 5 == 4 ? "3" : "2");
}

/* Forms: framed or not inside; Thrift binary or Kitex Protobuf */
static void ttheader_message(struct buf *b, unsigned form, bool reply, uint32_t id, unsigned token,
			     uint64_t kind)
{
	struct buf h = {0}, part = {0}, payload = {0};
	if (form == 2)
		protobuf_message(&part, reply, id, token, kind);
	else
		message(&part, BINARY, reply, id, token, kind);
	if (form)
		sweep_be(&payload, part.n, 4);
	sweep_bytes(&payload, buf_bytes(&part));
	sweep_be(&h, form == 2 ? 4 : 0, 1);
	sweep_be(&h, 0, 1);
	ttheader_infos(&h, reply, token, kind);
	while (h.n % 4)
		sweep_be(&h, 0, 1);
	sweep_be(b, 10 + h.n + payload.n, 4);
	sweep_be(b, 0x1000, 2);
	sweep_be(b, !reply, 2);
	sweep_be(b, id, 4);
	sweep_be(b, h.n / 4, 2);
	sweep_bytes(b, buf_bytes(&h));
	sweep_bytes(b, buf_bytes(&payload));
	buf_fini(&h);
	buf_fini(&part);
	buf_fini(&payload);
}

static void ttheader_request(struct buf *b, unsigned form, uint32_t id, unsigned token,
			     uint64_t kind)
{
	ttheader_message(b, form, false, id, token, kind);
}

static void ttheader_response(struct buf *b, unsigned form, uint32_t id, unsigned token,
			      uint64_t kind)
{
	ttheader_message(b, form, true, id, token, kind);
}

const struct sweep_maker sweep_ttheader = {ttheader_request, ttheader_response, 3, true};

/* ---- THeader ---- */

/* Forms: binary with a key and value, compact without */
static void theader_message(struct buf *b, unsigned form, bool reply, uint32_t id, unsigned token,
			    uint64_t kind)
{
	struct buf h = {0}, part = {0};
	char value[32];
	snprintf(value, sizeof(value), "t%06u", token);
	message(&part, form ? COMPACT : BINARY, reply, id, token, kind);
	sweep_be(&h, form ? 2 : 0, 1);
	sweep_be(&h, 0, 1);
	if (!form) {
		sweep_be(&h, 0x0101, 2);
		sweep_be(&h, 5, 1);
		sweep_text(&h, "token");
		varint(&h, strlen(value));
		sweep_text(&h, "%s", value);
	}
	while (h.n % 4)
		sweep_be(&h, 0, 1);
	sweep_be(b, 10 + h.n + part.n, 4);
	sweep_be(b, 0x0fff0000, 4);
	sweep_be(b, id, 4);
	sweep_be(b, h.n / 4, 2);
	sweep_bytes(b, buf_bytes(&h));
	sweep_bytes(b, buf_bytes(&part));
	buf_fini(&h);
	buf_fini(&part);
}

static void theader_request(struct buf *b, unsigned form, uint32_t id, unsigned token,
			    uint64_t kind)
{
	theader_message(b, form, false, id, token, kind);
}

static void theader_response(struct buf *b, unsigned form, uint32_t id, unsigned token,
			     uint64_t kind)
{
	theader_message(b, form, true, id, token, kind);
}

const struct sweep_maker sweep_theader = {theader_request, theader_response, 2, true};

/* ---- Dubbo2, hessian2 ---- */

static void hessian(struct buf *b, const char *text)
{
	sweep_be(b, strlen(text), 1);
	sweep_text(b, "%s", text);
}

static void hessian_tokens(struct buf *b, unsigned token, size_t n)
{
	sweep_be(b, 0x3000 + n * 8, 2);
	sweep_tokens(b, token, n);
}

static void dubbo2_frame(struct buf *b, unsigned flags, unsigned status, uint32_t id,
			 struct buf *part)
{
	sweep_be(b, 0xdabb, 2);
	sweep_be(b, flags, 1);
	sweep_be(b, status, 1);
	sweep_be(b, 0x2f06077100000000 + id, 8);
	framed(b, part);
}

static void dubbo2_request(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	struct buf part = {0};
	char text[64];
	(void)form;
	hessian(&part, "2.0.2");
	snprintf(text, sizeof(text), "demo.T.t%06u", token);
	hessian(&part, text);
	hessian(&part, "1.2.3");
	snprintf(text, sizeof(text), "do_t%06u", token);
	hessian(&part, text);
	hessian(&part, "Ljava/lang/String;");
	hessian_tokens(&part, token, 1 + kind % 60);
	sweep_text(&part, "H");
	hessian(&part, "path");
	hessian(&part, text);
	sweep_text(&part, "Z");
	dubbo2_frame(b, 0xc2, 0, id, &part);
}

static void dubbo2_response(struct buf *b, unsigned form, uint32_t id, unsigned token,
			    uint64_t kind)
{
	struct buf part = {0};
	bool busy = kind % 7 == 6;
	(void)form;
	if (!busy)
		sweep_be(&part, kind % 5 == 4 ? 0x93 : 0x94, 1);
	hessian_tokens(&part, token, 1 + kind % 50);
	if (!busy)
		sweep_text(&part, "HZ");
	dubbo2_frame(b, 2, busy ? 70 : 20, id, &part);
}

const struct sweep_maker sweep_dubbo2 = {dubbo2_request, dubbo2_response, 1, true};

/* ---- bRPC baidu_std ---- */

static void pb_text(struct buf *b, unsigned field, const char *text)
{
	varint(b, field << 3 | 2);
	varint(b, strlen(text));
	sweep_text(b, "%s", text);
}

static void pb_part(struct buf *b, unsigned field, struct buf *part)
{
	varint(b, field << 3 | 2);
	varint(b, part->n);
	sweep_bytes(b, buf_bytes(part));
	buf_fini(part);
}

static void brpc_frame(struct buf *b, unsigned field, struct buf *inner, uint32_t id,
		       unsigned token, size_t n)
{
	struct buf meta = {0};
	pb_part(&meta, field, inner);
	sweep_be(&meta, 0x1800, 2);
	sweep_be(&meta, 0x20, 1);
	varint(&meta, id);
	sweep_text(b, "PRPC");
	sweep_be(b, meta.n + 2 + n * 8 + (n > 15), 4);
	sweep_be(b, meta.n, 4);
	sweep_bytes(b, buf_bytes(&meta));
	sweep_be(b, 0x0a, 1);
	varint(b, n * 8);
	sweep_tokens(b, token, n);
	buf_fini(&meta);
}

static void brpc_request(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	struct buf inner = {0};
	char text[64];
	(void)form;
	snprintf(text, sizeof(text), "demo.T.t%06u", token);
	pb_text(&inner, 1, text);
	snprintf(text, sizeof(text), "do_t%06u", token);
	pb_text(&inner, 2, text);
	brpc_frame(b, 1, &inner, id, token, 1 + kind % 60);
}

static void brpc_response(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	struct buf inner = {0};
	char text[64];
	bool fails = kind % 5 == 4;
	(void)form;
	sweep_be(&inner, 8, 1);
	varint(&inner, fails ? 2001 : 0);
	if (fails) {
		snprintf(text, sizeof(text), "t%06u failed", token);
		pb_text(&inner, 2, text);
	}
	brpc_frame(b, 2, &inner, id, token, 1 + kind % 70);
}

const struct sweep_maker sweep_brpc = {brpc_request, brpc_response, 1, true};
