/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apache Thrift: framed and unframed; strict and old binary, compact; multiplexed names
 * (apache/thrift doc/specs thrift-rpc.md). Two entries of the table share all of it: `thrift` is known by one side's
 * magic, `thrift_weak` (old binary; unframed compact) by both sides together (rpc/thrift_probe.c).
 *
 * The id of a call is its seqid. Many clients always send 0: then it is the method, so that a call that is never
 * answered does not take the answer of another method's; among equal ones it is the order.
 *
 * A frame leads over what its struct holds: the skip in it only finds out whether it is one. Without a frame
 * the skip is all there is.
 *
 * After a loss or a late join a contradiction means out of step; else, that it is no Thrift.
 */
#include <errno.h>

#include "rpc/protocols.h"
#include "rpc/thrift_frame.h"
#include "rpc/thrift_probe.h"

enum {
	RESULT_WINDOW = 4096, /* bytes of a reply's struct that its head may wait for */
	TEXT_MAX = 1024, /* of an exception; its record keeps no more */
	VERIFY_MAX = 65536, /* a longer message proves no place to go on from by being whole */
	RECENT = 8,
};

enum phase {
	PHASE_HEAD, /* before a message */
	PHASE_BODY,
	PHASE_OWED_END, /* its bytes are over, what only the END tells is due */
	PHASE_BAD, /* not Thrift any more */
	PHASE_LOST, /* out of step: resync() */
	PHASE_ENDED,
};

struct side {
	uint64_t left; /* of the frame */
	uint64_t missing; /* body bytes lost and not yet told */
	uint64_t corr; /* of the message */
	uint8_t phase;
	bool checked; /* the skip has seen all of the struct so far */
	bool code_owed; /* a TApplicationException whose type the head could not tell */
	bool last; /* nothing follows what waits */
	struct thrift_skip skip;
};

struct thrift {
	struct side side[2];
	size_t frame_max;
	enum thrift_transport transport;
	enum thrift_form form; /* of the last request */
	bool form_known;
	bool uncertain; /* joined late, or lost something */
	bool seqid_seen, seqids_differ; /* of requests */
	int32_t seqid;
	/* A request that waits in resync() for a proof that it is one, and that the reply to it has come */
	uint64_t candidate;
	bool candidate_waits, candidate_answered;
	uint8_t n_recent; /* of the last requests, newest last */
	uint64_t recent[RECENT];
};

/* ---- ids ---- */

/* FNV-1a: equal names meet in one id, and that an attacker can find others that do costs nobody anything but him. */
static uint64_t name_hash(struct bytes name)
{
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ name.p[i]) * 0x01000193;
	return h;
}

static uint64_t corr_of(const struct thrift_frame *f, struct bytes method)
{
	uint32_t seqid = (uint32_t)f->message.seqid;

	return seqid ? seqid : 1ull << 32 | name_hash(method);
}

/* Id and method: what a reply must repeat. */
static uint64_t recent_key(const struct thrift_frame *f)
{
	struct bytes service, method;

	thrift_name_split(f->message.name, &service, &method);
	return (uint64_t)(uint32_t)f->message.seqid << 32 | name_hash(method);
}

static void request_note(struct thrift *t, const struct thrift_frame *f)
{
	t->form = f->message.form;
	t->form_known = true;
	t->seqids_differ |= t->seqid_seen && t->seqid != f->message.seqid;
	t->seqid_seen = true;
	t->seqid = f->message.seqid;
	if (f->message.type == THRIFT_ONEWAY)
		return;
	if (t->n_recent == RECENT)
		memmove(t->recent, t->recent + 1, --t->n_recent * sizeof(t->recent[0]));
	t->recent[t->n_recent++] = recent_key(f);
}

static bool recent_has(const struct thrift *t, const struct thrift_frame *f)
{
	for (size_t i = 0; i < t->n_recent; i++)
		if (t->recent[i] == recent_key(f))
			return true;
	return false;
}

/* The reply to a request that waits proves it, and waits for it in turn. */
static bool reply_waits(struct thrift *t, const struct thrift_frame *f)
{
	if (!t->candidate_waits || t->candidate != recent_key(f) || t->side[DIR_RESPONSE].last)
		return false;
	t->candidate_answered = true;
	return true;
}

/* ---- out of step ---- */

static void side_lose(struct thrift *t, enum dir dir)
{
	t->side[dir].phase = PHASE_LOST;
	t->side[dir].missing = 0;
	t->uncertain = true;
}

static int64_t side_wrong(struct thrift *t, enum dir dir, int err, const char *cap,
			  struct piece *out)
{
	out->what = 0;
	out->cap = err == -E2BIG ? cap : NULL;
	if (t->uncertain) {
		side_lose(t, dir);
		return -EPROTO;
	}
	t->side[dir].phase = PHASE_BAD;
	out->flags = FLAG_PROTOCOL_ERROR;
	return -EPROTO;
}

/* ---- bodies ---- */

static void missing_tell(struct side *s, struct piece *out)
{
	out->missing = s->missing;
	s->missing = 0;
}

static void end_give(struct side *s, struct piece *out)
{
	out->what |= PIECE_END;
	s->phase = PHASE_HEAD;
}

/* In a frame: only looks. */
static void check(struct side *s, struct bytes body)
{
	bool done;

	if (s->checked && body.n && !s->skip.failed)
		thrift_skip_next(&s->skip, body, &done);
}

static bool struct_ended(struct side *s)
{
	bool done;

	return thrift_skip_next(&s->skip, bytes_of(NULL, 0), &done) == 0 && done;
}

/* Is there anything that the END tells? Then it comes alone, however the bytes were cut. */
static void frame_end(struct side *s, struct piece *out)
{
	if (s->code_owed || s->missing || (s->checked && !struct_ended(s)))
		s->phase = PHASE_OWED_END;
	else
		end_give(s, out);
}

static int64_t owed_end(struct side *s, struct piece *out)
{
	missing_tell(s, out);
	if (out->missing)
		out->what = PIECE_BODY;
	if (s->checked && s->skip.failed == -E2BIG)
		out->cap = "thrift_skip";
	else if (s->checked && !struct_ended(s))
		out->flags = FLAG_PROTOCOL_ERROR;
	if (s->checked && s->code_owed && s->skip.has_code) {
		out->head.status = s->skip.code;
		out->head.has_status = true;
	}
	end_give(s, out);
	return 0;
}

/* `lead` bytes of the run are envelope. */
static size_t framed_run(struct side *s, struct bytes in, size_t lead, struct piece *out)
{
	struct bytes run = bytes_head(in, s->left);

	check(s, bytes_from(run, lead));
	s->left -= run.n;
	out->what |= PIECE_BODY;
	out->body = run;
	missing_tell(s, out);
	if (s->left == 0)
		frame_end(s, out);
	return run.n;
}

/* As far as it is a struct; what is none shows at the next call. */
static int64_t unframed_run(struct thrift *t, enum dir dir, struct bytes in, size_t lead,
			    struct piece *out)
{
	struct side *s = &t->side[dir];
	bool done;
	int64_t n = thrift_skip_next(&s->skip, bytes_from(in, lead), &done);

	if (n < 0 && lead == 0)
		return side_wrong(t, dir, (int)n, "thrift_skip", out);
	n += (int64_t)lead;
	if (n == 0)
		return 0;
	out->what |= PIECE_BODY;
	out->body = bytes_head(in, (size_t)n);
	if (done && s->code_owed)
		s->phase = PHASE_OWED_END;
	else if (done)
		end_give(s, out);
	return n;
}

static int64_t body_run(struct thrift *t, enum dir dir, struct bytes in, size_t lead,
			struct piece *out)
{
	if (t->transport == THRIFT_UNFRAMED)
		return unframed_run(t, dir, in, lead, out);
	return in.n ? (int64_t)framed_run(&t->side[dir], in, lead, out) : 0;
}

/* ---- heads ---- */

static const char *transport_name(enum thrift_transport transport, enum thrift_form form)
{
	static const char *const names[2][3] = {
		{"framed+binary", "framed+old_binary", "framed+compact"},
		{"unframed+binary", "unframed+old_binary", "unframed+compact"}};

	return names[transport == THRIFT_UNFRAMED][form];
}

static void head_fill(const struct thrift *t, const struct thrift_frame *f, enum dir dir,
		      struct piece *out)
{
	bool own = dir == DIR_REQUEST || !t->form_known;

	out->what = PIECE_HEAD;
	thrift_name_split(f->message.name, &out->head.service, &out->head.method);
	out->corr = corr_of(f, out->head.method);
	out->head.by_order = !t->seqids_differ;
	out->head.transport = transport_name(f->transport, own ? f->message.form : t->form);
	if (f->message.type == THRIFT_ONEWAY)
		out->head.type = CALL_ONEWAY;
}

/* Bytes of a reply's struct that tell: the header of its only field, or of an exception all that may be waited for. */
static size_t result_wanted(const struct thrift_frame *f)
{
	size_t all = f->length - f->message.struct_off;
	size_t some = f->message.type == THRIFT_EXCEPTION ? RESULT_WINDOW : 3;

	return all < some ? all : some;
}

/* What the reply says, from as much of its struct as may be waited for. False: wait. */
static bool result_fill(struct side *s, const struct thrift_frame *f, struct bytes in,
			struct piece *out, size_t *need)
{
	size_t head = f->off + f->message.struct_off, window = RESULT_WINDOW;
	struct bytes body = bytes_from(in, head);

	if (f->transport == THRIFT_FRAMED && f->length - f->message.struct_off < window)
		window = f->length - f->message.struct_off;
	body = bytes_head(body, window);
	struct thrift_result r = thrift_result_read(f->message.form, f->message.type, body);
	if (!r.known && !r.broken && body.n < window && !s->last) {
		*need = f->transport == THRIFT_FRAMED ? head + result_wanted(f) : 0;
		*need = *need > in.n ? *need : 0;
		return false;
	}
	out->head.outcome = r.outcome;
	out->head.status_text = bytes_head(r.text, TEXT_MAX);
	out->head.status = r.code;
	out->head.has_status = r.has_code;
	s->code_owed = f->message.type == THRIFT_EXCEPTION && !r.known && !r.has_code;
	return true;
}

static int64_t message_head(struct thrift *t, enum dir dir, struct bytes in, struct piece *out,
			    size_t *need)
{
	struct side *s = &t->side[dir];
	struct thrift_frame f;
	int r = thrift_frame_parse(in, t->transport, true, t->frame_max, &f, need);

	if (r == 0)
		return 0;
	if (r < 0 || !thrift_frame_fits(&f, dir))
		return side_wrong(t, dir, r, "thrift_name", out);
	if (dir == DIR_RESPONSE && reply_waits(t, &f)) {
		*need = 0;
		return 0;
	}
	s->code_owed = false;
	if (dir == DIR_RESPONSE && !result_fill(s, &f, in, out, need))
		return 0;
	*need = 0;
	t->transport = f.transport;
	if (dir == DIR_REQUEST)
		request_note(t, &f);
	head_fill(t, &f, dir, out);
	s->corr = out->corr;
	thrift_skip_start(&s->skip, f.message.form);
	s->skip.longest = f.transport == THRIFT_UNFRAMED ? t->frame_max : 0;
	s->checked = true;
	s->left = f.length;
	s->phase = PHASE_BODY;
	return (int64_t)f.off + body_run(t, dir, bytes_from(in, f.off), f.message.struct_off, out);
}

/* ---- the table ---- */

static int thrift_init(void *state, const struct framer_limits *limits, bool late)
{
	struct thrift *t = state;

	t->frame_max = limits->frame_bytes ? limits->frame_bytes : THRIFT_FRAME_MAX;
	if (late) {
		side_lose(t, DIR_REQUEST);
		side_lose(t, DIR_RESPONSE);
	}
	return 0;
}

static int64_t thrift_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			   size_t *need)
{
	struct thrift *t = state;
	struct side *s = &t->side[dir];

	*out = (struct piece) {.dir = dir, .corr = s->corr};
	*need = 0;
	switch ((enum phase)s->phase) {
	case PHASE_HEAD: return message_head(t, dir, in, out, need);
	case PHASE_BODY: return body_run(t, dir, in, 0, out);
	case PHASE_OWED_END: return owed_end(s, out);
	case PHASE_BAD: out->flags = FLAG_PROTOCOL_ERROR; return -EPROTO;
	case PHASE_LOST: return -EPROTO;
	case PHASE_ENDED: break;
	}
	return 0;
}

/* Without a frame nobody knows where the message ends; in one, its length does. */
static int thrift_gap(void *state, enum dir dir, uint64_t n)
{
	struct thrift *t = state;
	struct side *s = &t->side[dir];

	if (s->phase == PHASE_BAD || s->phase == PHASE_ENDED)
		return 0;
	if (t->transport != THRIFT_FRAMED || s->phase != PHASE_BODY || n > s->left) {
		side_lose(t, dir);
		return -EPROTO;
	}
	s->missing += n;
	s->left -= n;
	s->checked = false;
	if (s->left == 0)
		s->phase = PHASE_OWED_END;
	return 0;
}

/* Does another message follow, or nothing? 1, 0: not to be told yet, -EPROTO */
static int follows(const struct thrift *t, enum dir dir, struct bytes after,
		   const struct thrift_frame *first)
{
	struct thrift_frame next;
	size_t need;
	int r = thrift_frame_parse(after, first->transport, true, t->frame_max, &next, &need);

	if (r <= 0)
		return r;
	return thrift_frame_fits(&next, dir) && next.message.form == first->message.form ? 1
											 : -EPROTO;
}

/*
 * Does a message begin here, where a sender's segment does? Behind a turn a strong envelope is enough. Else bytes
 * that look like one may be part of a body (a forwarded message, sent as a segment of its own): a reply must
 * answer a request, a request be answered, or another message must follow. A weak envelope must moreover be a whole message.
 */
static int start_verify(struct thrift *t, enum dir dir, struct bytes in, bool turn)
{
	struct thrift_frame f;
	size_t need;
	int r = thrift_frame_parse(in, t->transport, true, t->frame_max, &f, &need);

	if (r <= 0)
		return r;
	if (!thrift_frame_fits(&f, dir) ||
	    (t->form_known && (t->form == THRIFT_COMPACT) != (f.message.form == THRIFT_COMPACT)))
		return -EPROTO;
	bool sure = turn || (dir == DIR_RESPONSE ? recent_has(t, &f) : t->candidate_answered);
	if (dir == DIR_REQUEST) {
		t->candidate = recent_key(&f);
		t->candidate_waits = true;
	}
	if (sure && thrift_frame_strong(&f))
		return 1;
	if (f.transport == THRIFT_FRAMED && f.length > VERIFY_MAX)
		return -EPROTO;
	int64_t n = thrift_frame_whole(bytes_head(in, VERIFY_MAX + 4), &f);
	if (n <= 0)
		return n == 0 && in.n < VERIFY_MAX + 4 ? 0 : -EPROTO;
	struct bytes after = bytes_from(in, (size_t)n);
	return sure && after.n == 0 ? 1 : follows(t, dir, after, &f);
}

static int thrift_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	const unsigned both = RESYNC_SEGMENT_START | RESYNC_TURN;
	struct thrift *t = state;

	*skip = 0;
	if (in.n == 0)
		return 0;
	int r = hints & RESYNC_SEGMENT_START ? start_verify(t, dir, in, (hints & both) == both)
					     : -EPROTO;
	if (r < 0)
		*skip = in.n;
	if (dir == DIR_REQUEST && r != 0)
		t->candidate_waits = t->candidate_answered = false;
	if (r <= 0)
		return 0;
	t->side[dir].phase = PHASE_HEAD;
	return 1;
}

static void thrift_last(void *state, enum dir dir)
{
	((struct thrift *)state)->side[dir].last = true;
}

static void thrift_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct side *s = &((struct thrift *)state)->side[dir];

	(void)how;
	*out = (struct piece) {.dir = dir, .corr = s->corr};
	if (s->phase == PHASE_OWED_END) {
		owed_end(s, out);
	} else if (s->phase == PHASE_BODY) {
		out->what = PIECE_ABORT;
		missing_tell(s, out);
	}
	s->phase = PHASE_ENDED;
}

static void thrift_fini(void *state)
{
	(void)state;
}

const struct framer_ops framer_thrift = {
	.name = "thrift",
	.state_size = sizeof(struct thrift),
	.pairing = PAIRING_ID,
	.probe = thrift_probe,
	.probe_late = thrift_probe_late,
	.init = thrift_init,
	.next = thrift_next,
	.gap = thrift_gap,
	.resync = thrift_resync,
	.last = thrift_last,
	.end = thrift_end,
	.fini = thrift_fini,
};

const struct framer_ops framer_thrift_weak = {
	.name = "thrift",
	.state_size = sizeof(struct thrift),
	.pairing = PAIRING_ID,
	.weak = true,
	.probe = thrift_probe_weak,
	.init = thrift_init,
	.next = thrift_next,
	.gap = thrift_gap,
	.resync = thrift_resync,
	.last = thrift_last,
	.end = thrift_end,
	.fini = thrift_fini,
};
