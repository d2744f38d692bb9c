/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/ttheader_side.h"

#include <errno.h>

bool ttheader_side_repeats(struct ttheader_side *s, uint32_t seq)
{
	bool same = seq == 0 || (s->seq_known && s->last_seq == seq);

	s->seq_known = true;
	s->last_seq = seq;
	return same;
}

static void missing_tell(struct ttheader_side *s, struct piece *out)
{
	out->missing = s->missing;
	s->missing = 0;
}

/* The body is complete. */
static void finish(struct ttheader_side *s, struct piece *out)
{
	out->what |= s->finish;
	if (s->finish == PIECE_MESSAGE)
		out->what |= PIECE_BODY;
	if (s->finish == PIECE_END && !(out->what & PIECE_HEAD)) {
		out->head.outcome = s->outcome;
		out->head.has_status = s->has_status;
		out->head.status = s->status;
	}
	s->phase = TTHEADER_AT_FRAME;
}

static int64_t run(struct ttheader_side *s, struct bytes in, struct piece *out)
{
	struct bytes body = bytes_head(in, s->left);

	out->corr = s->corr;
	if (body.n) {
		out->what |= PIECE_BODY;
		out->body = body;
		missing_tell(s, out);
	}
	s->left -= body.n;
	if (s->left == 0)
		finish(s, out);
	return (int64_t)body.n;
}

int64_t ttheader_side_body(struct ttheader_side *s, uint64_t corr, unsigned finish, uint64_t left,
			   struct bytes in, struct piece *out)
{
	s->phase = TTHEADER_IN_BODY;
	s->corr = corr;
	s->finish = (uint8_t)finish;
	s->left = left;
	s->outcome = OUTCOME_UNKNOWN;
	s->has_status = false;
	s->status = 0;
	return run(s, in, out);
}

static int64_t control_run(struct ttheader_side *s, struct bytes in, struct piece *out)
{
	uint64_t n = s->left < in.n ? s->left : in.n;

	s->left -= n;
	if (s->left == 0)
		s->phase = TTHEADER_AT_FRAME;
	if (n)
		out->what = PIECE_CONTROL;
	return (int64_t)n;
}

int64_t ttheader_side_control(struct ttheader_side *s, uint64_t left, struct bytes in,
			      struct piece *out)
{
	s->phase = TTHEADER_IN_CONTROL;
	s->left = left;
	return control_run(s, in, out);
}

static int64_t header_rest(struct ttheader_side *s, struct bytes in, struct piece *out)
{
	size_t n = s->header_left < in.n ? s->header_left : in.n;

	out->corr = s->corr;
	s->header_left -= (uint32_t)n;
	if (s->header_left == 0)
		s->phase = TTHEADER_AT_PAYLOAD;
	return (int64_t)n;
}

int64_t ttheader_side_next(struct ttheader_side *s, struct bytes in, struct piece *out)
{
	switch ((enum ttheader_phase)s->phase) {
	case TTHEADER_IN_HEADER: return header_rest(s, in, out);
	case TTHEADER_IN_BODY: return in.n ? run(s, in, out) : 0;
	case TTHEADER_IN_CONTROL: return control_run(s, in, out);
	case TTHEADER_OWED:
		out->corr = s->corr;
		out->what = PIECE_BODY;
		missing_tell(s, out);
		finish(s, out);
		return 0;
	case TTHEADER_BAD: out->flags = s->flags; return -EPROTO;
	case TTHEADER_LOST: return -EPROTO;
	case TTHEADER_AT_FRAME:
	case TTHEADER_AT_PAYLOAD:
	case TTHEADER_ENDED: break;
	}
	return 0;
}

void ttheader_side_drop(struct ttheader_side *s, uint64_t corr)
{
	if (s->corr != corr || (s->phase != TTHEADER_IN_BODY && s->phase != TTHEADER_OWED))
		return;
	s->phase = s->phase == TTHEADER_IN_BODY ? TTHEADER_IN_CONTROL : TTHEADER_AT_FRAME;
	s->missing = 0;
}

void ttheader_side_lose(struct ttheader_side *s)
{
	*s = (struct ttheader_side) {.phase = TTHEADER_LOST,
				     .uncertain = true,
				     .last_seq = s->last_seq,
				     .seq_known = s->seq_known};
}

int64_t ttheader_side_fail(struct ttheader_side *s, unsigned flags, struct piece *out)
{
	*out = (struct piece) {.dir = out->dir, .cap = out->cap};
	if (s->uncertain) {
		ttheader_side_lose(s);
	} else {
		s->phase = TTHEADER_BAD;
		s->flags = (uint16_t)flags;
		out->flags = flags;
	}
	return -EPROTO;
}

int ttheader_side_gap(struct ttheader_side *s, uint64_t n)
{
	switch ((enum ttheader_phase)s->phase) {
	case TTHEADER_BAD:
	case TTHEADER_ENDED: return 0;
	case TTHEADER_IN_HEADER:
		if (n >= s->header_left)
			break;
		s->header_left -= (uint32_t)n;
		return 0;
	case TTHEADER_IN_CONTROL:
	case TTHEADER_IN_BODY:
		if (n > s->left)
			break;
		s->left -= n;
		if (s->phase == TTHEADER_IN_BODY)
			s->missing += n;
		if (s->left == 0)
			s->phase = s->phase == TTHEADER_IN_BODY ? TTHEADER_OWED : TTHEADER_AT_FRAME;
		return 0;
	default: break;
	}
	ttheader_side_lose(s);
	return -EPROTO;
}

void ttheader_side_end(struct ttheader_side *s, struct piece *out)
{
	out->corr = s->corr;
	if (s->phase == TTHEADER_OWED) {
		out->what = PIECE_BODY;
		missing_tell(s, out);
		finish(s, out);
		return;
	}
	if (s->phase == TTHEADER_IN_HEADER || s->phase == TTHEADER_AT_PAYLOAD ||
	    (s->phase == TTHEADER_IN_BODY && s->finish == PIECE_END))
		out->what = PIECE_ABORT;
	else if (s->phase == TTHEADER_IN_BODY && s->missing)
		out->what = PIECE_BODY;
	missing_tell(s, out);
	s->phase = TTHEADER_ENDED;
}
