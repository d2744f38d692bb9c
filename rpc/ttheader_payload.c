/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/ttheader_payload.h"

#include <errno.h>

enum { LENGTH = 4 };

static bool version_byte(struct bytes in)
{
	return in.n && (in.p[0] == 0x80 || in.p[0] == 0x82);
}

/* What a parser said of the envelope behind out->skip, in terms of the payload. */
static int envelope_result(int r, struct bytes in, uint64_t total, struct ttheader_payload *out,
			   size_t *need)
{
	*need += out->skip;
	if (r == 0 && *need <= total && in.n < total)
		return 0;
	if (r == -E2BIG) /* the form is right, so the message begins there */
		out->cap = "method_bytes";
	else if (r != 1)
		*out = (struct ttheader_payload) {.form = TTHEADER_OTHER};
	return 1;
}

static int thrift_parse(struct bytes in, uint64_t total, struct ttheader_payload *out, size_t *need)
{
	struct thrift_message m;
	struct bytes message = bytes_from(in, out->skip);
	int r = thrift_message_parse(message, out->framed, &m, need);

	out->form = TTHEADER_THRIFT;
	if (r == 1) {
		out->type = m.type;
		out->thrift = m.form;
		out->seqid = m.seqid;
		out->name = m.name;
		out->body_off = out->skip + m.struct_off;
	} else if (r == -E2BIG) {
		bool compact = message.p[0] == 0x82;
		out->type = compact ? message.p[1] >> 5 : message.p[3];
		out->thrift = compact ? THRIFT_COMPACT : THRIFT_BINARY;
	}
	return envelope_result(r, in, total, out, need);
}

static int protobuf_parse(struct bytes in, uint64_t total, struct ttheader_payload *out,
			  size_t *need)
{
	struct kitex_protobuf_message m;
	int r = kitex_protobuf_parse(bytes_from(in, out->skip), &m, need);

	out->form = TTHEADER_PROTOBUF;
	if (r == 1 || r == -E2BIG) {
		out->type = m.type;
		out->seqid = m.seqid;
		out->name = m.name;
		out->body_off = out->skip + m.body_off;
	}
	return envelope_result(r, in, total, out, need);
}

int ttheader_payload_parse(struct bytes in, uint64_t total, unsigned transforms,
			   struct ttheader_payload *out, size_t *need)
{
	in = bytes_head(in, total);
	*out = (struct ttheader_payload) {.form = total ? TTHEADER_OTHER : TTHEADER_EMPTY};
	if (!total || transforms)
		return 1;
	*need = 1;
	if (in.n == 0)
		return 0;
	if (version_byte(in))
		return thrift_parse(in, total, out, need);
	*need = LENGTH + 2;
	if (total < *need)
		return 1;
	if (in.n < *need)
		return 0;
	struct cursor c = cursor_of(in);
	if (cursor_be32(&c) != total - LENGTH)
		return 1;
	out->framed = true;
	out->skip = LENGTH;
	return cursor_be16(&c) == KITEX_PROTOBUF_MAGIC ? protobuf_parse(in, total, out, need)
						       : thrift_parse(in, total, out, need);
}

static size_t most_of(const struct ttheader_payload *p, uint64_t total)
{
	size_t most = p->type == THRIFT_EXCEPTION ? TTHEADER_EXCEPTION_MAX : TTHEADER_RESULT_MAX;

	return total < most ? total : most;
}

static bool protobuf_result(const struct ttheader_payload *p, struct bytes body, bool whole,
			    struct head *out)
{
	if (p->type != KITEX_PROTOBUF_EXCEPTION) {
		out->outcome = p->type == KITEX_PROTOBUF_REPLY ? OUTCOME_OK : OUTCOME_UNKNOWN;
		return true;
	}
	out->outcome = OUTCOME_SERVER_ERROR;
	out->has_status = whole && kitex_protobuf_error(body, &out->status, &out->status_text);
	return whole;
}

static bool thrift_result(const struct ttheader_payload *p, struct bytes body, struct head *out)
{
	struct thrift_result r = thrift_result_read(p->thrift, p->type, body);

	out->outcome = r.outcome;
	out->has_status = r.has_code;
	out->status = r.code;
	out->status_text = r.text;
	return r.known || r.broken;
}

int ttheader_payload_result(const struct ttheader_payload *p, struct bytes in, uint64_t total,
			    bool last, struct head *out, size_t *need)
{
	size_t most = most_of(p, total);
	struct bytes body = bytes_from(bytes_head(in, most), p->body_off);
	bool known = true;

	*need = most;
	if (!p->body_off)
		return 1;
	if (p->form == TTHEADER_PROTOBUF)
		known = protobuf_result(p, body, most == total && in.n >= total, out);
	else if (p->form == TTHEADER_THRIFT &&
		 (p->type == THRIFT_REPLY || p->type == THRIFT_EXCEPTION))
		known = thrift_result(p, body, out);
	return known || last || in.n >= most;
}

const char *ttheader_payload_transport(const struct ttheader_payload *p, bool mux)
{
	static const char *const thrift[2][2][3] = {
		{{"unframed+binary", "unframed+old_binary", "unframed+compact"},
		 {"unframed+mux+binary", "unframed+mux+old_binary", "unframed+mux+compact"}},
		{{"framed+binary", "framed+old_binary", "framed+compact"},
		 {"framed+mux+binary", "framed+mux+old_binary", "framed+mux+compact"}}};

	if (p->form == TTHEADER_THRIFT)
		return thrift[p->framed][mux][p->thrift];
	if (p->form == TTHEADER_PROTOBUF)
		return mux ? "framed+mux" : "framed";
	return mux ? "mux" : NULL;
}
