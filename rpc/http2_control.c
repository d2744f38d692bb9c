/* SPDX-License-Identifier: Apache-2.0 */
/* RST_STREAM, GOAWAY, SETTINGS: frames without bytes of a message that change streams or limits. */
#include <stdio.h>

#include "rpc/http2_head.h"
#include "rpc/http2_state.h"

enum { HTTP2_ATTRIBUTES = 3 };

/*
 * The response is whole by HTTP's own rules, only its END_STREAM has not come: who needs no more bytes may reset
 * (proxies do, after the head of a 204) or close. Or a late join hides whether it is.
 */
bool http2_response_may_be_whole(const struct http2_stream *s)
{
	return s->half[DIR_REQUEST].state >= HTTP2_DONE && !s->grpc &&
	       s->half[DIR_RESPONSE].state == HTTP2_OPEN &&
	       (s->hidden || (!s->maybe_grpc && s->sized && s->got == s->expected));
}

/* Such a response ends. Where it is hidden, its outcome stays open. */
void http2_response_end(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	static _Thread_local struct attribute attributes[HTTP2_ATTRIBUTES];

	if (s->hidden) {
		for (size_t i = 0; i < out->head.n_attributes; i++)
			attributes[i] = out->head.attributes[i];
		attributes[out->head.n_attributes++] =
			(struct attribute) {"unknown", BYTES("outcome")};
		out->head.attributes = attributes;
	}
	out->dir = DIR_RESPONSE;
	out->corr = s->id;
	http2_message_end(c, s, DIR_RESPONSE, out);
}

int64_t http2_control_rst(struct http2 *c, enum dir dir, const struct http2_frame *f,
			  struct bytes in, struct piece *out, size_t *need)
{
	static _Thread_local char code[12];
	static _Thread_local struct attribute attributes[2];

	if (f->len != 4)
		return http2_fault(c, dir, out);
	*need = HTTP2_HEADER + 4;
	if (in.n < *need)
		return 0;
	int64_t n = (int64_t)*need;
	*need = 0;
	struct http2_stream *s = http2_streams_find(&c->streams, f->id);
	out->what = PIECE_CONTROL;
	if (!s)
		return f->id ? n : http2_ignore(n, out);
	struct cursor cur = cursor_of(bytes_from(in, HTTP2_HEADER));
	int digits = snprintf(code, sizeof(code), "%u", cursor_be32(&cur));
	attributes[0] = (struct attribute) {"rst_code", bytes_of(code, (size_t)digits)};
	attributes[1] = (struct attribute) {"rst_by",
					    dir == DIR_REQUEST ? BYTES("client") : BYTES("server")};
	out->head.attributes = attributes;
	out->head.n_attributes = 2;
	out->what = 0;
	if (http2_response_may_be_whole(s))
		http2_response_end(c, s, out);
	else
		http2_abort_both(c, s, out);
	return n;
}

/* Of the streams that the sender of a GOAWAY will not handle: one that is still open. */
static struct http2_stream *goaway_victim(const struct http2 *c, enum dir dir, uint32_t last)
{
	uint32_t parity = dir == DIR_RESPONSE; /* whose streams it speaks of */

	list_for_each (it, &c->streams.lru) {
		struct http2_stream *s = list_entry(it, struct http2_stream, in_lru);
		if (s->id > last && s->id % 2 == parity &&
		    s->half[DIR_RESPONSE].state == HTTP2_IDLE)
			return s;
	}
	return NULL;
}

int64_t http2_control_goaway(struct http2 *c, enum dir dir, const struct http2_frame *f,
			     struct bytes in, struct piece *out, size_t *need)
{
	if (f->len < 8)
		return http2_fault(c, dir, out);
	*need = HTTP2_HEADER + 8;
	if (in.n < *need)
		return 0;
	*need = 0;
	struct cursor cur = cursor_of(bytes_from(in, HTTP2_HEADER));
	uint32_t last = cursor_be32(&cur) & 0x7fffffff;
	struct http2_stream *s = goaway_victim(c, dir, last);
	if (s)
		return http2_abort_unhandled(c, s, out);
	c->side[dir].goaway = last;
	return http2_frame_skip(&c->side[dir], f, in, out);
}

/* What the sender allows holds for the other direction: more at once, less when it is acknowledged. */
static bool setting_note(struct http2_side *to, uint16_t id, uint32_t v)
{
	if (id == 1) {
		to->table_next = v;
		if (v > to->table_max)
			to->table_max = v;
	} else if (id == 5) {
		if (v < HTTP2_FRAME_DEFAULT || v > HTTP2_FRAME_MAX)
			return false;
		to->frame_next = v;
		if (v > to->frame_max)
			to->frame_max = v;
	}
	return true;
}

static void settings_acknowledged(struct http2_side *s)
{
	if (!s->unacknowledged || --s->unacknowledged)
		return;
	s->frame_max = s->frame_next;
	s->table_max = s->table_next;
}

int64_t http2_control_settings(struct http2 *c, enum dir dir, const struct http2_frame *f,
			       struct bytes in, struct piece *out, size_t *need)
{
	bool ack = f->flags & HTTP2_ACK;
	struct http2_side *to = &c->side[http2_other(dir)];

	if (f->id || f->len % 6 || (ack && f->len) || f->len > HPACK_BLOCK_MAX)
		return http2_fault(c, dir, out);
	*need = HTTP2_HEADER + (size_t)f->len;
	if (in.n < *need)
		return 0;
	int64_t n = (int64_t)*need;
	*need = 0;
	out->what = PIECE_CONTROL;
	if (ack) {
		settings_acknowledged(&c->side[dir]);
		return n;
	}
	struct cursor cur = cursor_of(bytes_head(bytes_from(in, HTTP2_HEADER), f->len));
	while (cursor_left(&cur)) {
		uint16_t id = cursor_be16(&cur);
		if (!setting_note(to, id, cursor_be32(&cur)))
			return http2_fault(c, dir, out);
	}
	to->unacknowledged++;
	return n;
}
