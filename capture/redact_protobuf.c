/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf by field numbers, without a schema (protobuf.dev/programming-guides/encoding). Only fields on the way to a rule are
 * taken for messages; those around a changed one get a new length. A message may be cut.
 */
#include <errno.h>
#include <string.h>

#include "capture/redact_state.h"
#include "rpc/kitex_protobuf.h"

enum { VARINT = 0, I64 = 1, LEN = 2, GROUP = 3, GROUP_END = 4, I32 = 5, NEST_MAX = 100 };

struct walk {
	struct redact_job *j;
	struct bytes in;
	size_t at;
	bool ended; /* the input did, within what was read */
	unsigned nest;
	size_t n_paths;
};

struct field {
	uint32_t number;
	uint8_t type;
	size_t from, length, value; /* where its tag, its length (LEN) and its value begin */
	uint64_t n; /* of LEN */
};

/* 1 read, 0 the input ended before `end`, -EBADMSG */
static int take_varint(struct walk *w, size_t end, uint64_t *v)
{
	*v = 0;
	for (unsigned i = 0; i < 10; i++) {
		if (w->at >= end) {
			w->ended = true;
			return 0;
		}
		uint8_t b = w->in.p[w->at++];
		*v |= i < 9 || b < 2 ? (uint64_t)(b & 0x7f) << 7 * i : 0;
		if (b < 0x80)
			return 1;
	}
	return -EBADMSG;
}

static int field_read(struct walk *w, size_t end, struct field *f)
{
	uint64_t tag;
	*f = (struct field) {.from = w->at};
	int rc = take_varint(w, end, &tag);
	if (rc < 1)
		return rc;
	if (tag >> 32 || tag >> 3 == 0)
		return -EBADMSG;
	f->number = (uint32_t)(tag >> 3);
	f->type = tag & 7;
	f->length = f->value = w->at;
	if (f->type != LEN)
		return 1;
	rc = take_varint(w, end, &f->n);
	f->value = w->at;
	return rc;
}

static int over(struct walk *w, size_t end, uint64_t n)
{
	if (n > end - w->at) {
		w->ended = true;
		w->at = end;
		return 0;
	}
	w->at += (size_t)n;
	return 1;
}

static int group_skip(struct walk *w, size_t end, uint32_t number);

static int value_skip(struct walk *w, size_t end, const struct field *f)
{
	uint64_t v;
	switch (f->type) {
	case VARINT: return take_varint(w, end, &v);
	case I64: return over(w, end, 8);
	case I32: return over(w, end, 4);
	case LEN: return over(w, end, f->n);
	case GROUP: return group_skip(w, end, f->number);
	default: return -EBADMSG;
	}
}

/* Groups within groups, without recursion: their numbers close in order. */
static int group_skip(struct walk *w, size_t end, uint32_t number)
{
	uint32_t open[NEST_MAX];
	unsigned depth = 0;
	open[depth++] = number;
	while (depth) {
		struct field f;
		int rc = field_read(w, end, &f);
		if (rc < 1)
			return rc;
		if (f.type == GROUP) {
			if (depth == NEST_MAX)
				return -EBADMSG;
			open[depth++] = f.number;
		} else if (f.type == GROUP_END) {
			if (open[--depth] != f.number)
				return -EBADMSG;
		} else if ((rc = value_skip(w, end, &f)) < 1) {
			return rc;
		}
	}
	return 1;
}

static size_t varint_bytes(uint64_t v, uint8_t out[10])
{
	size_t n = 0;
	for (; v > 127; v >>= 7)
		out[n++] = (uint8_t)(v | 128);
	out[n++] = (uint8_t)v;
	return n;
}

static void put_varint(struct redact_job *j, uint64_t v)
{
	uint8_t b[10];
	redact_job_put(j, bytes_of(b, varint_bytes(v, b)));
}

/* A number that stands for another: the same of the same, never negative in any width; or 0 */
static void put_number(struct walk *w, const struct field *f, enum redact_action action,
		       struct bytes secret)
{
	uint8_t hash[16] = {0};
	if (action != REDACT_HASH || !redact_token_hash(&w->j->r->by->token, secret, hash))
		memset(hash, 0, sizeof(hash));
	size_t width = f->type == I64 ? 8 : 4;
	hash[width - 1] &= 0x7f;
	if (f->type != VARINT)
		redact_job_put(w->j, bytes_of(hash, width));
	else
		put_varint(w->j, hash[0] | (uint32_t)hash[1] << 8 | (uint32_t)hash[2] << 16 |
					 (uint32_t)hash[3] << 24);
}

static void value_write(struct walk *w, const struct field *f, enum redact_action action)
{
	struct bytes secret = bytes_of(w->in.p + f->value, w->at - f->value);
	if (w->ended)
		action = REDACT_MASK;
	if (f->type == LEN) {
		struct bytes text = redact_token_text(&w->j->r->by->token, action, secret);
		put_varint(w->j, text.n);
		redact_job_put(w->j, text);
	} else if (f->type != GROUP) {
		put_number(w, f, action, secret);
	}
}

static int field_redact(struct walk *w, size_t end, const struct field *f,
			const struct redact_rule *rule)
{
	int rc = value_skip(w, end, f);
	if (rc < 0)
		return rc;
	bool drop = rule->action == REDACT_DROP || f->type == GROUP;
	redact_job_copy(w->j, drop ? f->from : f->length);
	if (!drop)
		value_write(w, f, rule->action);
	redact_job_skip(w->j, w->at);
	redact_job_count(w->j, REDACT_PROTOBUF);
	return rc;
}

/* The length of what was written behind `mark`, in place of `width` bytes there. */
static void length_write(struct redact_job *j, size_t mark, size_t width, uint64_t n)
{
	uint8_t b[10];
	size_t need = varint_bytes(n, b), tail = j->out->n - mark - width;
	if (need > width)
		redact_job_put(j, bytes_of(b, need - width)); /* room */
	if (j->failed)
		return;
	memmove(j->out->p + mark + need, j->out->p + mark + width, tail);
	memcpy(j->out->p + mark, b, need);
	j->out->n = mark + need + tail;
	if (need < width)
		j->room += width - need;
}

static int message_walk(struct walk *w, size_t end, const redact_mask *masks, uint32_t group);

/* A field that a rule's way leads through: its own length is told once what is in it was written. */
static int message_enter(struct walk *w, size_t end, const struct field *f,
			 const redact_mask *masks)
{
	struct redact_job *j = w->j;
	struct redact_job before = *j;
	size_t out_n = j->out->n, inner = f->n < end - f->value ? f->value + (size_t)f->n : end;
	redact_job_copy(j, f->value);
	size_t width = f->value - f->length, mark = j->out->n - (j->failed ? 0 : width);
	j->changed = false;
	int rc = message_walk(w, inner, masks, 0);
	if (rc < 0 || j->failed)
		return rc < 0 ? rc : 0;
	if (!j->changed) {
		j->out->n = out_n;
		j->from = before.from;
		j->room = before.room;
		j->changed = before.changed;
	} else {
		redact_job_copy(j, w->at);
		if (!j->failed)
			length_write(j, mark, width,
				     j->out->n - mark - width + (f->n - (w->at - f->value)));
	}
	bool whole = inner - f->value == f->n;
	if (rc == 0 && whole) /* it is no message, or a broken one */
		return -EBADMSG;
	w->ended |= !whole;
	return whole;
}

/* Fields up to `end`, or up to the end of the group. */
static int message_walk(struct walk *w, size_t end, const redact_mask *masks, uint32_t group)
{
	redact_mask next[REDACT_PATHS_MAX];
	const struct redact_rule *hit;
	struct field f;
	if (++w->nest > REDACT_PATH_STEPS + 1)
		return -EBADMSG;
	while (w->at < end || group) {
		int rc = field_read(w, end, &f);
		if (rc == 1 && f.type == GROUP_END) {
			rc = group && f.number == group ? 1 : -EBADMSG;
			w->nest--;
			return rc;
		}
		if (rc == 1 &&
		    redact_paths_field(&w->j->r->by->protobuf, masks, f.number, next, &hit))
			rc = field_redact(w, end, &f, hit);
		else if (rc == 1 && f.type == LEN && redact_mask_any(next, w->n_paths))
			rc = message_enter(w, end, &f, next);
		else if (rc == 1 && f.type == GROUP && redact_mask_any(next, w->n_paths))
			rc = message_walk(w, end, next, f.number);
		else if (rc == 1)
			rc = value_skip(w, end, &f);
		if (rc < 1)
			return rc;
	}
	w->nest--;
	return 1;
}

/* Behind the envelope of Kitex Protobuf. False: there is none. */
static bool envelope_skip(struct walk *w)
{
	struct kitex_protobuf_message m;
	size_t need;
	const char *protocol = w->j->body->protocol;
	if (!protocol || strcmp(protocol, "kitex_protobuf") != 0)
		return true;
	int rc = kitex_protobuf_parse(w->in, &m, &need);
	w->at = rc == 1 ? m.body_off : w->in.n;
	return rc >= 0;
}

int redact_protobuf(struct redact_job *j)
{
	redact_mask masks[REDACT_PATHS_MAX];
	struct walk w = {.j = j, .in = j->in, .n_paths = j->r->by->protobuf.n};
	if (!redact_paths_start(&j->r->by->protobuf, j->body, masks) || !j->in.n)
		return 0;
	if (j->body->attachment && j->body->cut) /* where it begins is not known */
		return redact_job_fail(j, REDACT_CUT);
	if (j->body->attachment > w.in.n || !envelope_skip(&w))
		return redact_job_fail(j, REDACT_INVALID);
	w.in.n -= (size_t)j->body->attachment;
	int rc = w.at < w.in.n ? message_walk(&w, w.in.n, masks, 0) : 1;
	/* it may end within a field only where it was cut */
	if (rc < 0 || (rc == 0 && !j->body->cut && !j->failed))
		return redact_job_fail(j, REDACT_INVALID);
	return j->failed;
}
