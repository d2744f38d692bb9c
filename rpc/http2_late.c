/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_late.h"

#include "rpc/http2_frame.h"
#include "rpc/http2_head.h"

/* Longer frames than the default are believed only where a sender's segment begins. */
enum { PENDING_MAX = 65536, FRAME_AT_START_MAX = 1 << 20 };

/* ---- the first header block ---- */

enum kind { KIND_NONE, KIND_WRONG, KIND_PLAIN, KIND_REQUEST, KIND_RESPONSE };

/* What the block that begins at in.p[0] says, decoded without a past. */
static enum kind block_kind(struct bytes in)
{
	const struct framer_limits limits = {HPACK_BLOCK_MAX, HPACK_FIELDS_MAX, 0, 0};
	struct hpack hpack = {.late = true};
	struct http2_block b;
	struct hpack_list list;
	struct http2_fields f;

	if (hpack_scratch() < 0)
		return KIND_NONE;
	if (http2_frame_block(&b, in, HTTP2_FRAME_MAX, hpack_scratch_block(), HPACK_BLOCK_MAX) <
		    0 ||
	    !b.n)
		return KIND_WRONG;
	int r = hpack_decode(&hpack, b.fragment, UINT32_MAX, &limits, &list);
	hpack_reset(&hpack, true);
	if (r < 0)
		return KIND_WRONG;
	http2_fields_read(&f, &list);
	if (f.malformed || !f.n)
		return KIND_WRONG;
	return f.request ? KIND_REQUEST : f.response ? KIND_RESPONSE : KIND_PLAIN;
}

static enum kind expected(enum dir dir, const struct bytes in, size_t block)
{
	bool push = in.p[block + 3] == HTTP2_PUSH_PROMISE;

	return dir == DIR_REQUEST || push ? KIND_REQUEST : KIND_RESPONSE;
}

/* ---- how sure ---- */

enum sight { SIGHT_NO, SIGHT_MORE, SIGHT_GOOD, SIGHT_SURE };

/*
 * Frames of `dir` from in.p[0] on? ends: the last byte is a sender's last of a segment. SURE: a block of this
 * direction, followed by the end or by another frame header. GOOD: two whole frames.
 */
static enum sight sight_of(struct bytes in, enum dir dir, bool ends, uint32_t frame_max)
{
	struct http2_chain c = http2_frame_chain(in, dir, frame_max);
	enum kind kind = KIND_NONE;

	if (c.refuted)
		return SIGHT_NO;
	if (c.block != SIZE_MAX)
		kind = block_kind(bytes_from(in, c.block));
	if (kind == KIND_WRONG)
		return SIGHT_NO;
	if (kind > KIND_PLAIN && kind != expected(dir, in, c.block))
		return SIGHT_NO;
	if (kind > KIND_PLAIN && (c.headers > 1 || (ends && c.n == in.n)))
		return SIGHT_SURE;
	return c.whole >= 2 ? SIGHT_GOOD : SIGHT_MORE;
}

/* ---- probing ---- */

static enum probe_answer starts_with_preface(struct bytes b)
{
	if (!bytes_starts(http2_preface, bytes_head(b, http2_preface.n)))
		return PROBE_NO;
	return b.n < http2_preface.n ? PROBE_MORE : PROBE_YES;
}

/* SETTINGS, as far as they are here */
static bool starts_like_server(struct bytes b)
{
	return !http2_frame_chain(b, DIR_RESPONSE, HTTP2_FRAME_DEFAULT).refuted &&
	       (b.n < 4 || b.p[3] == HTTP2_SETTINGS);
}

enum probe_answer http2_late_preface(struct bytes request, struct bytes response)
{
	enum probe_answer q = starts_with_preface(request);

	if (q != PROBE_NO)
		return q;
	enum probe_answer r = response.n ? starts_with_preface(response) : PROBE_MORE;
	if (r == PROBE_NO || !request.n || !starts_like_server(request))
		return PROBE_NO;
	return r == PROBE_YES && request.n >= HTTP2_HEADER ? PROBE_REVERSED : PROBE_MORE;
}

/* Both heads, as those of `dir` and of the other direction; an empty one says nothing. */
static enum sight sight_of_both(struct bytes a, struct bytes b, enum dir dir)
{
	enum sight x = a.n ? sight_of(a, dir, true, FRAME_AT_START_MAX) : SIGHT_MORE;
	enum sight y = b.n ? sight_of(b, dir_other(dir), true, FRAME_AT_START_MAX) : SIGHT_MORE;

	if (x == SIGHT_NO || y == SIGHT_NO)
		return SIGHT_NO;
	return x > y ? x : y;
}

enum probe_answer http2_late_probe(struct bytes request, struct bytes response)
{
	enum probe_answer p = http2_late_preface(request, response);

	if (request.n && p != PROBE_NO)
		return p;
	enum sight straight = sight_of_both(request, response, DIR_REQUEST);
	if (straight >= SIGHT_GOOD)
		return straight == SIGHT_SURE ? PROBE_SURE : PROBE_YES;
	enum sight turned = sight_of_both(request, response, DIR_RESPONSE);
	if (straight == SIGHT_NO && turned == SIGHT_SURE)
		return PROBE_REVERSED;
	return straight == SIGHT_NO && turned == SIGHT_NO ? PROBE_NO : PROBE_MORE;
}

/* ---- resync ---- */

/* Cheap, and right for most bytes: a frame of at most 16 KiB and a known type? */
static bool may_start(const uint8_t *p, size_t n)
{
	return p[0] == 0 && (n < 2 || p[1] <= 0x40) && (n < 4 || p[3] <= HTTP2_CONTINUATION) &&
	       (n < 6 || p[5] < 0x80);
}

static bool candidate_waits(enum sight s, size_t n)
{
	return s == SIGHT_MORE && n < PENDING_MAX;
}

enum http2_late_found http2_late_find(enum dir dir, struct bytes in, unsigned hints, bool fresh,
				      size_t *skip)
{
	bool start = hints & RESYNC_SEGMENT_START;

	*skip = 0;
	if (start && fresh && in.n) {
		enum probe_answer p = starts_with_preface(in);
		if (p != PROBE_NO)
			return p == PROBE_YES ? HTTP2_LATE_PREFACE : HTTP2_LATE_MORE;
	}
	for (size_t i = 0; i < in.n; i++) {
		bool first = i == 0 && start;
		if (!first && !may_start(in.p + i, in.n - i))
			continue;
		struct bytes rest = bytes_from(in, i);
		enum sight s = sight_of(rest, dir, first,
					first ? FRAME_AT_START_MAX : HTTP2_FRAME_DEFAULT);
		*skip = i;
		if (s == SIGHT_SURE && !first &&
		    http2_frame_chain(rest, dir, HTTP2_FRAME_DEFAULT).whole < 2)
			s = SIGHT_MORE;
		if (s >= SIGHT_GOOD)
			return HTTP2_LATE_FRAME;
		if (candidate_waits(s, rest.n))
			return HTTP2_LATE_MORE;
	}
	*skip = in.n;
	return HTTP2_LATE_MORE;
}
