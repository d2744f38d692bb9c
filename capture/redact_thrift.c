/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thrift by field numbers, without a schema (apache/thrift doc/specs thrift-binary-protocol.md, thrift-compact-protocol.md).
 * Only what lies on the way to a rule is looked into, the rest is skipped by rpc/thrift_skip.c. Strings get a
 * new length. A message may be cut: its beginning is redacted alike.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "capture/redact_state.h"
#include "rpc/thrift_message.h"

/* Types of the binary protocol; the compact one's are mapped to them. */
enum {
	STOP = 0,
	BOOL = 2,
	BYTE = 3,
	DOUBLE = 4,
	I16 = 6,
	I32 = 8,
	I64 = 10,
	STRING = 11,
	STRUCT = 12,
	MAP = 13,
	SET = 14,
	LIST = 15,
	UUID = 16
};

/* More than a message can hold of what is walked through; a value that is skipped counts its own. */
enum { STEPS_MAX = 1 << 22, NEST_MAX = 64 };

struct walk {
	struct redact_job *j;
	enum thrift_form form;
	struct bytes in;
	size_t at;
	bool ended; /* the input did, within what was read */
	unsigned steps, nest;
	size_t n_paths;
};

struct field {
	uint8_t type; /* of the binary protocol */
	uint8_t raw; /* of the compact one */
	int16_t id;
	size_t from, value; /* where its header begins, where its value does */
};

static uint8_t compact_type(uint8_t raw)
{
	static const uint8_t map[14] = {STOP,   BOOL,   BOOL, BYTE, I16, I32,    I64,
					DOUBLE, STRING, LIST, SET,  MAP, STRUCT, UUID};
	return raw < sizeof(map) ? map[raw] : 0xff;
}

/* ---- reading: 1 read, 0 the input ended, -EBADMSG ---- */

static int take(struct walk *w, size_t n, const uint8_t **p)
{
	if (w->in.n - w->at < n) {
		w->ended = true;
		return 0;
	}
	*p = w->in.p + w->at;
	w->at += n;
	return 1;
}

static int take_varint(struct walk *w, uint64_t *v)
{
	int used = thrift_varint(bytes_from(w->in, w->at), 10, v);
	if (used < 0)
		return -EBADMSG;
	w->ended |= used == 0;
	w->at += (size_t)used;
	return used > 0;
}

static int take_be(struct walk *w, unsigned n, uint32_t *v)
{
	const uint8_t *p;
	int rc = take(w, n, &p);
	*v = 0;
	for (unsigned i = 0; rc == 1 && i < n; i++)
		*v = *v << 8 | p[i];
	return rc;
}

static int field_compact(struct walk *w, int16_t last, struct field *f)
{
	uint32_t head;
	uint64_t id;
	int rc = take_be(w, 1, &head);
	if (rc < 1)
		return rc;
	f->raw = head & 15;
	f->type = compact_type(f->raw);
	f->id = (int16_t)(last + (int16_t)(head >> 4));
	if (head == 0)
		f->type = STOP;
	else if (f->type == STOP || f->type == 0xff)
		return -EBADMSG;
	else if (head >> 4 == 0 && (rc = take_varint(w, &id)) == 1)
		f->id = (int16_t)((uint32_t)id >> 1 ^ -((uint32_t)id & 1));
	return rc;
}

static int field_read(struct walk *w, int16_t last, struct field *f)
{
	uint32_t type, id;
	int rc;
	*f = (struct field) {.from = w->at};
	if (w->form == THRIFT_COMPACT) {
		rc = field_compact(w, last, f);
	} else {
		rc = take_be(w, 1, &type);
		f->type = (uint8_t)type;
		if (rc == 1 && type != STOP)
			rc = take_be(w, 2, &id);
		if (rc == 1 && type != STOP)
			f->id = (int16_t)id;
	}
	f->value = w->at;
	return rc;
}

/* What a list, set or map holds */
struct container {
	uint8_t key, value; /* key STOP: no map */
	uint32_t n;
};

static int container_compact(struct walk *w, uint8_t type, struct container *c)
{
	uint32_t head;
	uint64_t n = 0;
	int rc;
	if (type == MAP) {
		rc = take_varint(w, &n);
		if (rc == 1 && n && (rc = take_be(w, 1, &head)) == 1) {
			c->key = compact_type((uint8_t)(head >> 4));
			c->value = compact_type(head & 15);
		}
	} else {
		rc = take_be(w, 1, &head);
		if (rc == 1) {
			c->value = compact_type(head & 15);
			n = head >> 4;
			if (n == 15)
				rc = take_varint(w, &n);
		}
	}
	c->n = (uint32_t)n;
	return rc == 1 && n > INT32_MAX ? -EBADMSG : rc;
}

static int container_read(struct walk *w, uint8_t type, struct container *c)
{
	uint32_t v;
	*c = (struct container) {0};
	if (w->form == THRIFT_COMPACT)
		return container_compact(w, type, c);
	int rc = type == MAP ? take_be(w, 1, &v) : 1;
	if (rc == 1 && type == MAP)
		c->key = (uint8_t)v;
	if (rc == 1 && (rc = take_be(w, 1, &v)) == 1)
		c->value = (uint8_t)v;
	if (rc == 1)
		rc = take_be(w, 4, &c->n);
	return rc == 1 && c->n > INT32_MAX ? -EBADMSG : rc;
}

/* Over one value; a compact bool of a field has no bytes. */
static int value_skip(struct walk *w, uint8_t type, bool element)
{
	struct thrift_skip s;
	const uint8_t *p;
	bool done = false;
	if (w->form == THRIFT_COMPACT && type == BOOL)
		return element ? take(w, 1, &p) : 1;
	if (type == BYTE || (type == BOOL && w->form != THRIFT_COMPACT))
		return take(w, 1, &p);
	static const uint8_t compact[17] = {
		[DOUBLE] = 7,  [I16] = 4,  [I32] = 5,  [I64] = 6,  [STRING] = 8,
		[STRUCT] = 12, [MAP] = 11, [SET] = 10, [LIST] = 9, [UUID] = 13};
	if (type > UUID)
		return -EBADMSG;
	unsigned wire = w->form == THRIFT_COMPACT ? compact[type] : type;
	if (thrift_skip_value_start(&s, w->form, wire) < 0)
		return -EBADMSG;
	int64_t n = thrift_skip_next(&s, bytes_from(w->in, w->at), &done);
	if (n < 0 || s.failed)
		return -EBADMSG;
	w->at += (size_t)n;
	w->ended |= !done;
	return done;
}

/* ---- writing ---- */

static void put_varint(struct redact_job *j, uint64_t v)
{
	uint8_t b[10];
	size_t n = 0;
	for (; v > 127; v >>= 7)
		b[n++] = (uint8_t)(v | 128);
	b[n++] = (uint8_t)v;
	redact_job_put(j, bytes_of(b, n));
}

static void put_be(struct redact_job *j, uint64_t v, unsigned n)
{
	v = htobe64(v);
	redact_job_put(j, bytes_of((const uint8_t *)&v + 8 - n, n));
}

static void put_string(struct walk *w, struct bytes text)
{
	if (w->form == THRIFT_COMPACT)
		put_varint(w->j, text.n);
	else
		put_be(w->j, text.n, 4);
	redact_job_put(w->j, text);
}

/* A number that stands for another: 31 bits of the hash, or 0 */
static uint32_t number_token(struct walk *w, enum redact_action action, struct bytes secret)
{
	uint8_t hash[16];
	if (action != REDACT_HASH || !redact_token_hash(&w->j->r->by->token, secret, hash))
		return 0;
	return ((uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 |
		hash[3]) &
	       0x7fffffff;
}

static void put_number(struct walk *w, uint8_t type, uint32_t v)
{
	static const uint8_t width[] = {[BYTE] = 1, [I16] = 2, [I32] = 4, [I64] = 8};
	v = type == BYTE ? v & 0x7f : type == I16 ? v & 0x7fff : v;
	if (w->form == THRIFT_COMPACT && type != BYTE)
		put_varint(w->j, (uint64_t)v * 2);
	else
		put_be(w->j, v, width[type]);
}

/* The value of this type, with the bytes from `from` in its place; nothing of a container stays. */
static void value_write(struct walk *w, uint8_t type, enum redact_action action, size_t from)
{
	struct bytes raw = bytes_of(w->in.p + from, w->at - from), secret = raw;
	bool compact = w->form == THRIFT_COMPACT;
	switch (type) {
	case STRING: {
		uint64_t n;
		int used = compact ? thrift_varint(raw, 10, &n) : 4;
		secret = bytes_from(raw, used > 0 ? (size_t)used : 0);
		put_string(w, redact_token_text(&w->j->r->by->token,
						w->ended ? REDACT_MASK : action, secret));
		break;
	}
	case BYTE:
	case I16:
	case I32:
	case I64:
		put_number(w, type, number_token(w, w->ended ? REDACT_MASK : action, secret));
		break;
	case BOOL: put_be(w->j, compact ? 2 : 0, 1); break; /* an element's: false */
	case DOUBLE: put_be(w->j, 0, 8); break;
	case UUID:
		put_be(w->j, 0, 8);
		put_be(w->j, 0, 8);
		break;
	case STRUCT: put_be(w->j, STOP, 1); break;
	case MAP:
		put_be(w->j, compact ? 0 : (uint64_t)STRING << 40 | (uint64_t)STRING << 32,
		       compact ? 1 : 6);
		break;
	default: put_be(w->j, compact ? 8 : (uint64_t)STRING << 32, compact ? 1 : 5); break;
	}
}

/* ---- walking ---- */

static int struct_walk(struct walk *w, const redact_mask *masks);

static int value_walk(struct walk *w, uint8_t type, const redact_mask *masks, bool element);

static int container_walk(struct walk *w, uint8_t type, const redact_mask *masks)
{
	struct container c;
	int rc = container_read(w, type, &c);
	for (uint32_t i = 0; rc == 1 && i < c.n; i++) {
		if (++w->steps > STEPS_MAX)
			return -EBADMSG;
		if (c.key)
			rc = value_skip(w, c.key, true);
		if (rc == 1)
			rc = value_walk(w, c.value, masks, true);
	}
	return rc;
}

/* Elements of lists and values of maps are where their container is. */
static int value_walk(struct walk *w, uint8_t type, const redact_mask *masks, bool element)
{
	if (type != STRUCT && type != LIST && type != SET && type != MAP)
		return value_skip(w, type, element);
	if (++w->nest > NEST_MAX)
		return -EBADMSG;
	int rc = type == STRUCT ? struct_walk(w, masks) : container_walk(w, type, masks);
	w->nest--;
	return rc;
}

/* After a field that went, the compact form counts ids from the one before it. */
static void header_write(struct walk *w, const struct field *f, int16_t written, bool off)
{
	int delta = f->id - written;
	bool compact_bool = w->form == THRIFT_COMPACT && f->type == BOOL;
	if (!off && !compact_bool) {
		redact_job_copy(w->j, f->value);
		return;
	}
	redact_job_copy(w->j, f->from);
	redact_job_skip(w->j, f->value);
	if (delta > 0 && delta < 16) {
		put_be(w->j, (unsigned)delta << 4 | f->raw, 1);
		return;
	}
	put_be(w->j, f->raw, 1);
	put_varint(w->j, (uint16_t)((uint16_t)f->id << 1 ^ (uint16_t)(f->id >> 15)));
}

static int field_redact(struct walk *w, struct field *f, const struct redact_rule *rule,
			int16_t *written, bool *off)
{
	int rc = value_skip(w, f->type, false);
	if (rc < 0)
		return rc;
	redact_job_count(w->j, REDACT_THRIFT);
	if (rule->action == REDACT_DROP) {
		redact_job_copy(w->j, f->from);
		redact_job_skip(w->j, w->at);
		*off = w->form == THRIFT_COMPACT;
		return rc;
	}
	if (w->form == THRIFT_COMPACT && f->type == BOOL)
		f->raw = 2; /* false */
	header_write(w, f, *written, *off);
	if (!(w->form == THRIFT_COMPACT && f->type == BOOL))
		value_write(w, f->type, rule->action, f->value);
	redact_job_skip(w->j, w->at);
	*off = false;
	*written = f->id;
	return rc;
}

static int struct_walk(struct walk *w, const redact_mask *masks)
{
	redact_mask next[REDACT_PATHS_MAX];
	const struct redact_rule *hit;
	int16_t last = 0, written = 0;
	bool off = false;
	struct field f;
	for (;;) {
		int rc = field_read(w, last, &f);
		if (rc < 1 || f.type == STOP)
			return rc;
		if (++w->steps > STEPS_MAX)
			return -EBADMSG;
		if (redact_paths_field(&w->j->r->by->thrift, masks, (uint16_t)f.id, next, &hit)) {
			rc = field_redact(w, &f, hit, &written, &off);
		} else {
			if (off)
				header_write(w, &f, written, true);
			off = false;
			written = f.id;
			rc = redact_mask_any(next, w->n_paths) ? value_walk(w, f.type, next, false)
							       : value_skip(w, f.type, false);
		}
		if (rc < 1)
			return rc;
		last = f.id;
	}
}

/* The envelope, or none: frames of a ttstream are bare structs. */
static int envelope_skip(struct walk *w)
{
	struct thrift_message m;
	const char *transport = w->j->body->transport ? w->j->body->transport : "";
	size_t need;
	int rc = thrift_message_parse(w->in, strstr(transport, "old_binary") != NULL, &m, &need);
	if (rc == 1) {
		w->form = m.form;
		w->at = m.struct_off;
	} else if (rc == 0) {
		w->ended = true;
		w->at = w->in.n;
	} else if (!strstr(transport, "streaming")) {
		return -EBADMSG;
	}
	return 0;
}

int redact_thrift(struct redact_job *j)
{
	redact_mask masks[REDACT_PATHS_MAX];
	struct walk w = {.j = j, .in = j->in, .n_paths = j->r->by->thrift.n};
	if (!redact_paths_start(&j->r->by->thrift, j->body, masks) || !j->in.n)
		return 0;
	if (envelope_skip(&w) < 0)
		return redact_job_fail(j, REDACT_INVALID);
	int rc = w.ended ? 0 : struct_walk(&w, masks);
	if (rc < 0 || (rc == 1 && w.at < w.in.n))
		return redact_job_fail(j, REDACT_INVALID);
	return j->failed;
}
