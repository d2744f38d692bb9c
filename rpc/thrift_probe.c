/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/thrift_probe.h"

#include "rpc/thrift_frame.h"

static int parse(struct bytes in, bool old, struct thrift_frame *f)
{
	size_t need;

	return thrift_frame_parse(in, THRIFT_ANY, old, THRIFT_FRAME_MAX, f, &need);
}

static enum probe_answer answer_of(int r)
{
	return r < 0 ? PROBE_NO : r ? PROBE_YES : PROBE_MORE;
}

/* The first byte of a struct: a field's type, or that there is none. */
static bool struct_begins(const struct thrift_frame *f, uint8_t byte)
{
	struct thrift_skip s = {.form = f->message.form};
	bool done;

	thrift_skip_next(&s, bytes_of(&byte, 1), &done);
	return !s.failed;
}

/* An envelope with magic, and a struct behind it. */
static enum probe_answer strong(struct bytes in, struct thrift_frame *f)
{
	int r = parse(in, false, f);

	/* unframed compact: not one byte of it is waited for */
	if (r < 0 || (in.n && in.p[0] == 0x82) || (r == 1 && !thrift_frame_strong(f)))
		return PROBE_NO;
	size_t head = f->off + f->message.struct_off;
	if (r == 0 || in.n <= head)
		return PROBE_MORE;
	return struct_begins(f, in.p[head]) ? PROBE_YES : PROBE_NO;
}

enum probe_answer thrift_probe(struct bytes request, struct bytes response)
{
	struct thrift_frame q, r;
	enum probe_answer a = strong(request, &q);

	if (a != PROBE_YES || thrift_frame_fits(&q, DIR_REQUEST))
		return a;
	a = strong(response, &r);
	if (a != PROBE_YES)
		return a;
	return thrift_frame_fits(&r, DIR_REQUEST) ? PROBE_REVERSED : PROBE_NO;
}

/* Does a message of the same connection follow the one at the start of `in`, or nothing? */
static bool whole(struct bytes in, const struct thrift_frame *f)
{
	struct thrift_frame next;
	int64_t n = thrift_frame_whole(in, f);

	if (n <= 0)
		return false;
	struct bytes after = bytes_from(in, (size_t)n);
	if (after.n == 0)
		return true;
	return parse(after, false, &next) == 1 && next.transport == f->transport &&
	       next.message.form == f->message.form &&
	       thrift_frame_fits(&next, DIR_REQUEST) == thrift_frame_fits(f, DIR_REQUEST);
}

static bool agree(const struct thrift_frame *q, const struct thrift_frame *r)
{
	return thrift_frame_fits(q, DIR_REQUEST) && thrift_frame_fits(r, DIR_RESPONSE) &&
	       thrift_frame_answers(q, r);
}

/* One side, read as it goes in `dir`: 1 surely, 0 not yet, -1 no. */
static int late_side(struct bytes in, enum probe_answer a, const struct thrift_frame *f,
		     enum dir dir)
{
	if (a == PROBE_NO || (a == PROBE_YES && !thrift_frame_fits(f, dir)))
		return -1;
	if (a == PROBE_MORE)
		return 0;
	return f->message.form == THRIFT_BINARY || whole(in, f);
}

/* One of the heads may begin anywhere: that it is no message says nothing. */
static bool late_sure(struct bytes q_in, enum probe_answer qa, const struct thrift_frame *q,
		      struct bytes r_in, enum probe_answer ra, const struct thrift_frame *r)
{
	int a = late_side(q_in, qa, q, DIR_REQUEST), b = late_side(r_in, ra, r, DIR_RESPONSE);

	if (qa == PROBE_YES && ra == PROBE_YES && (a < 0 || b < 0))
		return false; /* they contradict each other */
	return a > 0 || b > 0 || (qa == PROBE_YES && ra == PROBE_YES && agree(q, r));
}

enum probe_answer thrift_probe_late(struct bytes request, struct bytes response)
{
	struct thrift_frame q, r;
	enum probe_answer qa = strong(request, &q), ra = strong(response, &r);

	if (late_sure(request, qa, &q, response, ra, &r))
		return PROBE_YES;
	if (late_sure(response, ra, &r, request, qa, &q))
		return PROBE_REVERSED;
	return qa == PROBE_NO && ra == PROBE_NO ? PROBE_NO : PROBE_MORE;
}

/* One-way calls, and calls that nobody answers, may come before the one that is answered. */
static enum probe_answer answered(struct bytes requests, const struct thrift_frame *q,
				  const struct thrift_frame *reply)
{
	struct thrift_frame f = *q;

	for (;;) {
		if (f.message.type == THRIFT_CALL && thrift_frame_answers(&f, reply))
			return PROBE_YES;
		int64_t n = thrift_frame_whole(requests, &f);
		if (n <= 0)
			return n ? PROBE_NO : PROBE_MORE;
		requests = bytes_from(requests, (size_t)n);
		int r = parse(requests, true, &f);
		if (r <= 0)
			return answer_of(r);
		if (!thrift_frame_fits(&f, DIR_REQUEST) || f.transport != q->transport)
			return PROBE_NO;
	}
}

enum probe_answer thrift_probe_weak(struct bytes request, struct bytes response)
{
	struct thrift_frame q, r;
	int a = parse(request, true, &q), b = parse(response, true, &r);

	if (a < 0 || b < 0 ||
	    (a == 1 && thrift_frame_strong(&q) && thrift_frame_fits(&q, DIR_REQUEST)))
		return PROBE_NO;
	if (a == 0 || b == 0)
		return PROBE_MORE;
	if (thrift_frame_fits(&q, DIR_REQUEST) == thrift_frame_fits(&r, DIR_REQUEST))
		return PROBE_NO;
	if (thrift_frame_fits(&q, DIR_REQUEST))
		return answered(request, &q, &r);
	enum probe_answer turned = answered(response, &r, &q);
	return turned == PROBE_YES ? PROBE_REVERSED : turned;
}
