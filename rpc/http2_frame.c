/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_frame.h"

#include <errno.h>

const struct bytes http2_preface = BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

struct http2_frame http2_frame_read(struct bytes in)
{
	const uint8_t *p = in.p;

	return (struct http2_frame) {
		.len = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2],
		.type = p[3],
		.flags = p[4],
		.id = (uint32_t)(p[5] & 0x7f) << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 |
		      p[8],
	};
}

bool http2_frame_fragment(const struct http2_frame *f, struct bytes payload, struct bytes *fragment,
			  uint32_t *promised)
{
	struct cursor c = cursor_of(payload);
	bool plain = f->type == HTTP2_CONTINUATION;
	size_t pad = !plain && (f->flags & HTTP2_PADDED) ? cursor_u8(&c) : 0;

	*promised = 0;
	if (f->type == HTTP2_HEADERS && (f->flags & HTTP2_WITH_PRIORITY))
		cursor_take(&c, 5);
	if (f->type == HTTP2_PUSH_PROMISE)
		*promised = cursor_be32(&c) & 0x7fffffff;
	if (c.bad || cursor_left(&c) < pad)
		return false;
	*fragment = cursor_take(&c, cursor_left(&c) - pad);
	return true;
}

static int block_over(struct http2_block *b, const char *cap)
{
	b->cap = cap;
	return -EPROTO;
}

/* The frame at offset b->n; false: not whole, b->need says how much is. */
static bool frame_whole(struct http2_block *b, struct bytes in, struct http2_frame *f)
{
	b->need = b->n + HTTP2_HEADER;
	if (in.n < b->need)
		return false;
	*f = http2_frame_read(bytes_from(in, b->n));
	b->need += f->len;
	return true;
}

static int fragment_add(struct http2_block *b, struct bytes fragment, uint8_t *room,
			size_t room_bytes)
{
	if (b->fragment.n + fragment.n > room_bytes)
		return block_over(b, "header_bytes");
	if (b->fragment.p != room && b->fragment.n)
		memcpy(room, b->fragment.p, b->fragment.n);
	if (fragment.n)
		memcpy(room + b->fragment.n, fragment.p, fragment.n);
	b->fragment = bytes_of(room, b->fragment.n + fragment.n);
	return 0;
}

int http2_frame_block(struct http2_block *b, struct bytes in, uint32_t frame_max, uint8_t *room,
		      size_t room_bytes)
{
	struct http2_frame f;
	struct bytes fragment;
	uint32_t promised;

	*b = (struct http2_block) {0};
	for (unsigned i = 0;; i++) {
		if (!frame_whole(b, in, &f))
			break;
		if (f.len > frame_max ||
		    (i && (f.type != HTTP2_CONTINUATION || f.id != b->first.id)))
			return -EPROTO;
		if (i > HTTP2_CONTINUATIONS_MAX)
			return block_over(b, "continuation_frames");
		if (f.len > room_bytes + 1 + 255 + 5)
			return block_over(b, "header_bytes");
		if (in.n < b->need)
			break;
		struct bytes payload = bytes_head(bytes_from(in, b->n + HTTP2_HEADER), f.len);
		if (!http2_frame_fragment(&f, payload, &fragment, &promised))
			return -EPROTO;
		if (i == 0) {
			b->first = f;
			b->promised = promised;
			b->fragment = fragment;
			if (fragment.n > room_bytes)
				return block_over(b, "header_bytes");
		} else if (fragment_add(b, fragment, room, room_bytes) < 0) {
			return -EPROTO;
		}
		b->n = b->need;
		if (f.flags & HTTP2_END_HEADERS)
			return 0;
	}
	b->n = 0;
	return 0;
}

/* ---- does it look like frames? ---- */

struct rule {
	uint8_t flags; /* that are defined */
	uint8_t sent_by; /* bit of each direction */
	int8_t zero; /* stream: 1 must be 0, 0 must not, -1 either */
	uint32_t least, most;
};

enum { REQUESTS = 1, RESPONSES = 2, EITHER = 3, FEW_SETTINGS = 6 * 32, GOAWAY_MOST = 1024 };

static const struct rule rules[] = {
	[HTTP2_DATA] = {0x09, EITHER, 0, 0, UINT32_MAX},
	[HTTP2_HEADERS] = {0x2d, EITHER, 0, 1, UINT32_MAX},
	[HTTP2_PRIORITY] = {0, EITHER, 0, 5, 5},
	[HTTP2_RST_STREAM] = {0, EITHER, 0, 4, 4},
	[HTTP2_SETTINGS] = {0x01, EITHER, 1, 0, FEW_SETTINGS},
	[HTTP2_PUSH_PROMISE] = {0x0c, RESPONSES, 0, 5, UINT32_MAX},
	[HTTP2_PING] = {0x01, EITHER, 1, 8, 8},
	[HTTP2_GOAWAY] = {0, EITHER, 1, 8, GOAWAY_MOST},
	[HTTP2_WINDOW_UPDATE] = {0, EITHER, -1, 4, 4},
	[HTTP2_CONTINUATION] = {0x04, EITHER, 0, 0, UINT32_MAX},
};

/* Rules of one frame alone; `in` has its header, and what is here of its payload. */
static bool frame_plausible(const struct http2_frame *f, struct bytes in, enum dir dir,
			    uint32_t frame_max)
{
	if (f->type > HTTP2_CONTINUATION || (in.p[5] & 0x80))
		return false;
	const struct rule *r = &rules[f->type];
	if ((f->flags & ~r->flags) || !(r->sent_by & 1 << dir) || f->len < r->least ||
	    f->len > r->most || f->len > frame_max)
		return false;
	if (r->zero >= 0 && (f->id == 0) != r->zero)
		return false;
	if (f->type == HTTP2_SETTINGS)
		return f->flags ? f->len == 0 : f->len % 6 == 0;
	bool padded = f->type != HTTP2_PING && (f->flags & HTTP2_PADDED);
	if (padded && (f->len == 0 || (in.n > HTTP2_HEADER && in.p[HTTP2_HEADER] >= f->len)))
		return false;
	if (f->type == HTTP2_WINDOW_UPDATE && in.n >= HTTP2_HEADER + 4)
		return !(in.p[9] & 0x80) && (in.p[9] | in.p[10] | in.p[11] | in.p[12]);
	/* pushed streams are even: a request names one in no other way */
	return f->id % 2 == 1 || f->id == 0 || dir == DIR_RESPONSE ||
	       (f->type != HTTP2_DATA && f->type != HTTP2_HEADERS && f->type != HTTP2_CONTINUATION);
}

/* The bytes of a header that is cut: could they begin one? */
static bool start_plausible(struct bytes in, uint32_t frame_max)
{
	uint32_t len = 0;

	for (size_t i = 0; i < 3; i++)
		len = len << 8 | (i < in.n ? in.p[i] : 0);
	return len <= frame_max && (in.n < 4 || in.p[3] <= HTTP2_CONTINUATION) &&
	       (in.n < 5 || !(in.p[4] & ~rules[in.p[3]].flags)) && (in.n < 6 || in.p[5] < 0x80);
}

struct http2_chain http2_frame_chain(struct bytes in, enum dir dir, uint32_t frame_max)
{
	struct http2_chain c = {.block = SIZE_MAX};
	uint32_t block_id = 0; /* of a header block that goes on */
	size_t block_at = 0;

	for (struct bytes rest = in; rest.n && !c.refuted; rest = bytes_from(in, c.n)) {
		if (rest.n < HTTP2_HEADER) {
			c.refuted = !start_plausible(rest, frame_max);
			return c;
		}
		struct http2_frame f = http2_frame_read(rest);
		bool goes_on = f.type == HTTP2_CONTINUATION;
		c.refuted = !frame_plausible(&f, rest, dir, frame_max) ||
			    goes_on != (block_id != 0) || (goes_on && f.id != block_id);
		if (c.refuted)
			return c;
		c.headers++;
		if (rest.n < HTTP2_HEADER + (size_t)f.len)
			return c;
		bool starts = f.type == HTTP2_HEADERS || f.type == HTTP2_PUSH_PROMISE;
		if (starts)
			block_at = c.n;
		if (starts || goes_on) {
			bool ends = f.flags & HTTP2_END_HEADERS;
			block_id = ends ? 0 : f.id;
			if (ends && c.block == SIZE_MAX)
				c.block = block_at;
		}
		/* an empty DATA frame is little but zeroes, a block that goes on is not whole */
		c.whole += f.type == HTTP2_DATA ? f.len || (f.flags & HTTP2_END_STREAM) : !block_id;
		c.n += HTTP2_HEADER + (size_t)f.len;
	}
	return c;
}
