/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/thrift_frame.h"

#include <errno.h>

static int framed_parse(struct bytes in, bool old, size_t frame_max, struct thrift_frame *out,
			size_t *need)
{
	struct cursor c = cursor_of(in);

	*need = 5;
	if (in.n && (uint64_t)in.p[0] << 24 > frame_max)
		return -EPROTO;
	if (in.n < 4)
		return 0;
	out->transport = THRIFT_FRAMED;
	out->off = 4;
	out->length = cursor_be32(&c);
	if (out->length == 0 || out->length > frame_max)
		return -EPROTO;
	struct bytes message = bytes_head(bytes_from(in, 4), out->length);
	int r = thrift_message_parse(message, old, &out->message, need);
	if (r >= 0 && *need + (r == 1) > out->length)
		return -EPROTO;
	*need += 4;
	return r;
}

static int unframed_parse(struct bytes in, bool old, struct thrift_frame *out, size_t *need)
{
	out->transport = THRIFT_UNFRAMED;
	return thrift_message_parse(in, old, &out->message, need);
}

/*
 * A version word is no length, it would be negative. A length and the length of an old message's name look alike: what
 * follows is a letter, or the version word or zero with which a framed message begins.
 */
int thrift_frame_parse(struct bytes in, enum thrift_transport transport, bool old, size_t frame_max,
		       struct thrift_frame *out, size_t *need)
{
	*out = (struct thrift_frame) {0};
	*need = 1;
	if (in.n == 0)
		return 0;
	if (transport == THRIFT_ANY &&
	    (in.p[0] > 0x7f || (in.n > 4 && in.p[4] > ' ' && in.p[4] < 0x7f)))
		transport = THRIFT_UNFRAMED;
	return transport == THRIFT_UNFRAMED ? unframed_parse(in, old, out, need)
					    : framed_parse(in, old, frame_max, out, need);
}

bool thrift_frame_strong(const struct thrift_frame *f)
{
	return f->message.form == THRIFT_BINARY ||
	       (f->message.form == THRIFT_COMPACT && f->transport == THRIFT_FRAMED);
}

bool thrift_frame_fits(const struct thrift_frame *f, enum dir dir)
{
	bool request = f->message.type == THRIFT_CALL || f->message.type == THRIFT_ONEWAY;

	return request == (dir == DIR_REQUEST);
}

int64_t thrift_frame_whole(struct bytes in, const struct thrift_frame *f)
{
	struct thrift_skip s;
	size_t head = f->off + f->message.struct_off;
	struct bytes body = bytes_from(in, head);
	bool done;

	if (f->transport == THRIFT_FRAMED)
		body = bytes_head(body, f->length - f->message.struct_off);
	thrift_skip_start(&s, f->message.form);
	int64_t n = thrift_skip_next(&s, body, &done);
	if (n < 0 || s.failed)
		return s.failed;
	if (f->transport == THRIFT_UNFRAMED)
		return done ? (int64_t)head + n : 0;
	if (head + (size_t)n == f->off + f->length)
		return done ? (int64_t)head + n : -EPROTO;
	return done ? -EPROTO : 0;
}

bool thrift_frame_answers(const struct thrift_frame *request, const struct thrift_frame *reply)
{
	struct bytes service, asked, answered;

	thrift_name_split(request->message.name, &service, &asked);
	thrift_name_split(reply->message.name, &service, &answered);
	return request->message.seqid == reply->message.seqid && bytes_eq(asked, answered) &&
	       request->transport == reply->transport &&
	       (request->message.form == THRIFT_COMPACT) == (reply->message.form == THRIFT_COMPACT);
}
