/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/sized.h"

#include <errno.h>

void sized_init(struct sized *s, const struct framer_limits *limits, bool late)
{
	size_t head = limits->header_bytes < SIZED_WAIT_MAX ? limits->header_bytes : SIZED_WAIT_MAX;

	*s = (struct sized) {
		.uncertain = late, .frame_max = limits->frame_bytes, .head_max = (uint32_t)head};
	if (late)
		s->side[0].phase = s->side[1].phase = SIZED_LOST;
}

unsigned sized_ask(struct sized *s, uint64_t id)
{
	unsigned at = s->asked_at;

	s->asked[at] = id;
	s->asked_at = (uint8_t)((at + 1) % SIZED_ASKED_MAX);
	s->n_asked += s->n_asked < SIZED_ASKED_MAX;
	return at;
}

int sized_asked(const struct sized *s, uint64_t id)
{
	for (unsigned i = 1; i <= s->n_asked; i++) {
		unsigned at = (s->asked_at + SIZED_ASKED_MAX - i) % SIZED_ASKED_MAX;
		if (s->asked[at] == id)
			return (int)at;
	}
	return -1;
}

/* The piece that consumes nothing makes the caller look at the other direction again. */
bool sized_reply_waits(struct sized *s, uint64_t id, struct piece *out)
{
	if (!s->candidate_waits || s->candidate != id)
		return false;
	out->what = s->candidate_answered ? 0 : PIECE_CONTROL;
	s->candidate_answered = true;
	return true;
}

/* A message of this direction that travels on the other one (a call of the server) is given up with it: what is left of it
 * belongs to no call. */
static void reverse_lose(struct sized_side *d, enum dir dir)
{
	if (d->dir != dir)
		return;
	if (d->phase == SIZED_BODY)
		d->phase = SIZED_CONTROL;
	else if (d->phase == SIZED_OWED_END)
		d->phase = SIZED_HEAD;
	d->missing = 0;
}

static void side_lose(struct sized *s, enum dir dir)
{
	reverse_lose(&s->side[dir_other(dir)], dir);
	s->side[dir] = (struct sized_side) {.phase = SIZED_LOST};
	s->uncertain = true;
	if (dir == DIR_REQUEST)
		s->candidate_waits = s->candidate_answered = false;
}

int64_t sized_lost(struct sized *s, enum dir dir, struct piece *out)
{
	side_lose(s, dir);
	out->what = out->flags = 0;
	return -EPROTO;
}

int64_t sized_bad(struct sized *s, enum dir dir, struct piece *out)
{
	if (s->uncertain)
		return sized_lost(s, dir, out);
	reverse_lose(&s->side[dir_other(dir)], dir);
	s->side[dir] = (struct sized_side) {.phase = SIZED_BAD, .flags = FLAG_PROTOCOL_ERROR};
	out->what = 0;
	out->flags = FLAG_PROTOCOL_ERROR;
	return -EPROTO;
}

static void missing_tell(struct sized_side *d, struct piece *out)
{
	out->missing = d->missing;
	d->missing = 0;
}

static size_t body_run(struct sized_side *d, struct bytes in, struct piece *out)
{
	if (in.n == 0)
		return 0;
	out->what |= PIECE_BODY;
	out->body = bytes_head(in, d->left < in.n ? (size_t)d->left : in.n);
	out->dir = d->dir;
	out->corr = d->corr;
	missing_tell(d, out);
	d->left -= out->body.n;
	if (d->left == 0) {
		out->what |= PIECE_END;
		d->phase = SIZED_HEAD;
	}
	return out->body.n;
}

int64_t sized_open(struct sized *s, enum dir dir, struct bytes in, size_t head, uint64_t body,
		   struct piece *out)
{
	struct sized_side *d = &s->side[dir];

	out->what |= PIECE_HEAD;
	if (body == 0) {
		out->what |= PIECE_END;
		return (int64_t)head;
	}
	d->phase = SIZED_BODY;
	d->left = body;
	d->corr = out->corr;
	d->dir = (uint8_t)out->dir;
	return (int64_t)(head + body_run(d, bytes_from(in, head), out));
}

static int64_t control_run(struct sized_side *d, struct bytes in, struct piece *out)
{
	size_t n = d->left < in.n ? (size_t)d->left : in.n;

	out->what = n ? PIECE_CONTROL : 0;
	d->left -= n;
	d->phase = d->left ? SIZED_CONTROL : SIZED_HEAD;
	return (int64_t)n;
}

int64_t sized_control(struct sized *s, enum dir dir, struct bytes in, uint64_t total,
		      struct piece *out)
{
	s->side[dir].left = total;
	return control_run(&s->side[dir], in, out);
}

bool sized_next(struct sized *s, enum dir dir, struct bytes in, struct piece *out, int64_t *r)
{
	struct sized_side *d = &s->side[dir];

	*r = 0;
	switch ((enum sized_phase)d->phase) {
	case SIZED_HEAD: return in.n == 0;
	case SIZED_BODY: *r = (int64_t)body_run(d, in, out); break;
	case SIZED_CONTROL: *r = control_run(d, in, out); break;
	case SIZED_OWED_END:
		out->what = PIECE_BODY | PIECE_END;
		out->dir = d->dir;
		out->corr = d->corr;
		missing_tell(d, out);
		d->phase = SIZED_HEAD;
		break;
	case SIZED_BAD:
		out->flags = d->flags;
		*r = -EPROTO;
		break;
	case SIZED_LOST: *r = -EPROTO; break;
	case SIZED_ENDED: break;
	}
	return true;
}

int sized_gap(void *state, enum dir dir, uint64_t n)
{
	struct sized *s = state;
	struct sized_side *d = &s->side[dir];

	if (d->phase == SIZED_BAD || d->phase == SIZED_ENDED)
		return 0;
	if ((d->phase != SIZED_BODY && d->phase != SIZED_CONTROL) || n > d->left) {
		side_lose(s, dir);
		return -EPROTO;
	}
	s->uncertain = true;
	d->left -= n;
	if (d->phase == SIZED_BODY) {
		d->missing += n;
		d->phase = d->left ? SIZED_BODY : SIZED_OWED_END;
	} else if (d->left == 0) {
		d->phase = SIZED_HEAD;
	}
	return 0;
}

void sized_fini(void *state)
{
	(void)state;
}

void sized_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct sized *s = state;
	struct sized_side *d = &s->side[dir];

	(void)how;
	*out = (struct piece) {.dir = dir};
	if (d->phase == SIZED_BODY || d->phase == SIZED_OWED_END) {
		out->what = d->phase == SIZED_BODY ? PIECE_ABORT : PIECE_END;
		out->dir = d->dir;
		out->corr = d->corr;
		missing_tell(d, out);
	}
	d->phase = SIZED_ENDED;
}

/* Is a place at `off`, which the check believed, a start? 1 yes, -1 no, 0: not to be told yet. */
static int verify(struct sized *s, const struct sized_format *f, enum dir dir, struct bytes in,
		  size_t off, unsigned hints, const struct sized_frame *frame)
{
	struct bytes rest = bytes_from(in, off);
	struct sized_frame next;

	if (off == 0 && (hints & RESYNC_SEGMENT_START) && (hints & RESYNC_TURN))
		return 1;
	if (frame->reply && sized_asked(s, frame->id) >= 0)
		return 1;
	if (frame->request && s->candidate_answered && s->candidate == frame->id)
		return 1;
	if (frame->total > SIZED_WAIT_MAX)
		return -1;
	if (frame->request) {
		s->candidate = frame->id;
		s->candidate_waits = true;
	}
	if (rest.n <= frame->total)
		return 0;
	int r = f->check(s, dir, bytes_from(rest, (size_t)frame->total), &next);
	return r < 0 ? -1 : r;
}

int sized_resync(struct sized *s, const struct sized_format *f, enum dir dir, struct bytes in,
		 unsigned hints, size_t *skip)
{
	for (size_t off = 0; off < in.n; off++) {
		struct sized_frame frame;
		if (in.n - off > f->mark_at) {
			struct bytes rest = bytes_from(in, off + f->mark_at);
			const uint8_t *mark = memchr(rest.p, f->mark, rest.n);
			off = mark ? (size_t)(mark - in.p) - f->mark_at : in.n - f->mark_at;
		}
		if (off == in.n)
			break;
		int r = f->check(s, dir, bytes_from(in, off), &frame);
		if (r == 1)
			r = verify(s, f, dir, in, off, hints, &frame);
		if (r != 0 && dir == DIR_REQUEST)
			s->candidate_waits = s->candidate_answered = false;
		if (r >= 0) {
			*skip = off;
			if (r == 1)
				s->side[dir] = (struct sized_side) {.phase = SIZED_HEAD};
			return r;
		}
	}
	*skip = in.n;
	if (dir == DIR_REQUEST)
		s->candidate_waits = s->candidate_answered = false;
	return 0;
}

bool sized_is_name(struct bytes b)
{
	if (b.n == 0 || b.n > SIZED_NAME_MAX)
		return false;
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] <= 0x20 || b.p[i] >= 0x7f)
			return false;
	return true;
}

struct bytes sized_decimal(char **text, uint64_t v)
{
	char digits[SIZED_DECIMAL_MAX], *to = *text;
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	*text += n;
	return bytes_of(to, n);
}
