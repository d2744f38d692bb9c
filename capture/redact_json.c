/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON by paths (RFC 8259), keeping every other byte as it is. A body may be cut anywhere: what is decided of a byte depends
 * on those before it only. Several documents in a row are read (JSON lines). What is no JSON is not guessed at: a
 * reader may see a secret where this does not.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/types.h>

#include "capture/redact_state.h"

enum { KEY_MAX = 256 }; /* of a key as it is compared; a longer one has no name */

struct frame {
	bool object, kept; /* kept: a member before this one stays */
	bool expect_member; /* else a ',' or the end */
	bool first; /* no member yet: it may end at once */
	uint32_t index;
	size_t member; /* where the present member begins: behind '{', '[' or at its ',' */
};

struct walk {
	struct redact_job *j;
	const uint8_t *p;
	size_t at, n;
	unsigned depth;
	size_t n_paths;
	struct frame frame[REDACT_DEPTH_MAX + 2];
};

static redact_mask *masks_at(const struct walk *w, unsigned depth)
{
	return w->j->r->by->masks + depth * w->n_paths;
}

static void blanks(struct walk *w)
{
	while (w->at < w->n && (w->p[w->at] == ' ' || w->p[w->at] == '\n' || w->p[w->at] == '\r' ||
				w->p[w->at] == '\t'))
		w->at++;
}

/* Behind the string at w->at; its content is [*from, *to). False: it is cut, and w->at at the end. */
static bool string_skip(struct walk *w, size_t *from, size_t *to)
{
	*from = ++w->at;
	for (;;) {
		const uint8_t *quote =
			w->at < w->n ? memchr(w->p + w->at, '"', w->n - w->at) : NULL;
		if (!quote) {
			*to = w->at = w->n;
			return false;
		}
		size_t end = (size_t)(quote - w->p), slashes = end;
		while (slashes > *from && w->p[slashes - 1] == '\\')
			slashes--;
		w->at = end + 1;
		*to = end;
		if ((end - slashes) % 2 == 0)
			return true;
	}
}

static int hex4(const uint8_t *p)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i] | 0x20;
		int d = p[i] >= '0' && p[i] <= '9' ? p[i] - '0'
			: c >= 'a' && c <= 'f'     ? c - 'a' + 10
						   : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static size_t utf8_put(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)(c | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
	return n;
}

/* One escape at in.p[*i] ('\\'); how many bytes came of it, 0: none such. */
static size_t unescape_one(struct bytes in, size_t *i, uint8_t *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (*i + 1 >= in.n)
		return 0;
	if (in.p[*i + 1] != 'u') {
		const char *c = in.p[*i + 1] ? strchr(from, in.p[*i + 1]) : NULL;
		if (!c)
			return 0;
		*out = (uint8_t)to[c - from];
		*i += 2;
		return 1;
	}
	int high = *i + 6 <= in.n ? hex4(in.p + *i + 2) : -1;
	if (high < 0)
		return 0;
	uint32_t c = (uint32_t)high;
	*i += 6;
	if (high >= 0xd800 && high < 0xdc00 && *i + 6 <= in.n && in.p[*i] == '\\' &&
	    in.p[*i + 1] == 'u') {
		int low = hex4(in.p + *i + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
			*i += 6;
		}
	}
	return utf8_put(out, c);
}

/* The text of a string into out, at most max. -1: an escape that is none; SSIZE_MAX: longer than max. */
static ssize_t unescape(struct bytes in, uint8_t *out, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n;) {
		uint8_t text[4] = {in.p[i]};
		size_t more = 1;
		if (in.p[i] == '\\')
			more = unescape_one(in, &i, text);
		else
			i++;
		if (more == 0)
			return -1;
		if (n + more > max)
			return SSIZE_MAX;
		memcpy(out + n, text, more);
		n += more;
	}
	return (ssize_t)n;
}

/* A number, true, false, null: whatever is written like one. */
static bool word_skip(struct walk *w)
{
	size_t from = w->at;
	for (; w->at < w->n; w->at++) {
		uint8_t c = w->p[w->at], low = c | 0x20;
		if (!((c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') || c == '-' ||
		      c == '+' || c == '.'))
			break;
	}
	return w->at > from;
}

/* Behind the value at w->at without looking into it; brackets must close in their order. -EBADMSG. */
static int value_skip(struct walk *w)
{
	uint64_t kinds[2] = {0}; /* of the open brackets: a bit each, an object's is set */
	unsigned depth = 0;
	size_t from, to;
	do {
		while (depth && w->at < w->n && strchr(" \t\r\n,:", w->p[w->at]) && w->p[w->at])
			w->at++;
		if (w->at >= w->n)
			return 0;
		uint8_t c = w->p[w->at];
		if (c == '"') {
			string_skip(w, &from, &to);
		} else if (c == '{' || c == '[') {
			if (w->depth + depth >= REDACT_DEPTH_MAX)
				return -EBADMSG;
			uint64_t bit = 1ull << (depth & 63);
			kinds[depth >> 6] =
				c == '{' ? kinds[depth >> 6] | bit : kinds[depth >> 6] & ~bit;
			depth++;
			w->at++;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
			if ((kinds[depth >> 6] >> (depth & 63) & 1) != (c == '}'))
				return -EBADMSG;
			w->at++;
		} else if (!word_skip(w)) {
			return -EBADMSG;
		}
	} while (depth);
	return 0;
}

static bool step_fits(const struct redact_step *s, const struct frame *f, struct bytes key,
		      bool known)
{
	switch (s->kind) {
	case REDACT_STEP_ANY:
	case REDACT_STEP_DEEP_ANY: return true;
	case REDACT_STEP_INDEX: return !f->object && s->number == f->index;
	case REDACT_STEP_NAME:
	case REDACT_STEP_DEEP_NAME: return f->object && known && bytes_caseeq(s->name, key);
	default: return false;
	}
}

/* Does this step go on looking below a member that it did not name? */
static bool step_stays(const struct redact_step *s, const struct frame *f)
{
	return s->kind == REDACT_STEP_DEEP_NAME || s->kind == REDACT_STEP_DEEP_ANY ||
	       (s->kind == REDACT_STEP_NAME && !f->object);
}

/* The places of the member's value, at depth + 1. The rule that names it, or NULL. */
static const struct redact_rule *member_enter(struct walk *w, struct bytes key, bool known)
{
	const struct redact_paths *paths = &w->j->r->by->json;
	const struct frame *f = &w->frame[w->depth];
	const redact_mask *from = masks_at(w, w->depth);
	redact_mask *to = masks_at(w, w->depth + 1);
	const struct redact_rule *hit = NULL;
	for (size_t i = 0; i < w->n_paths; i++) {
		const struct redact_path *path = &paths->list[i];
		to[i] = 0;
		for (unsigned k = 0; from[i] >> k && k < path->n; k++) {
			if (!(from[i] >> k & 1))
				continue;
			if (step_fits(&path->step[k], f, key, known))
				to[i] |= 1u << (k + 1);
			if (step_stays(&path->step[k], f))
				to[i] |= 1u << k;
		}
		if (!hit && to[i] >> path->n & 1)
			hit = path->rule;
	}
	return hit;
}

/* What a hash is taken of: the text of a string, the bytes of anything else. p NULL: it is not whole. */
static struct bytes secret_of(struct walk *w, size_t from, size_t to)
{
	struct buf *text = &w->j->r->by->text;
	struct bytes raw = bytes_of(w->p + from, to - from);
	if (raw.p[0] != '"')
		return to == w->n && w->depth ? bytes_of(NULL, 0) : raw;
	if (raw.n < 2 || raw.p[raw.n - 1] != '"')
		return bytes_of(NULL, 0);
	raw = bytes_of(raw.p + 1, raw.n - 2);
	text->n = 0;
	if (!raw.n || !memchr(raw.p, '\\', raw.n))
		return raw;
	if (buf_append(text, raw) < 0)
		return bytes_of(NULL, 0);
	ssize_t n = unescape(raw, text->p, raw.n);
	return n < 0 || n == SSIZE_MAX ? bytes_of(NULL, 0) : bytes_of(text->p, (size_t)n);
}

static int value_redact(struct walk *w, const struct redact_rule *rule)
{
	struct frame *f = &w->frame[w->depth];
	size_t from = w->at;
	if (value_skip(w) < 0)
		return -EBADMSG;
	if (rule->action == REDACT_DROP) {
		redact_job_copy(w->j, f->member);
		redact_job_skip(w->j, w->at);
		redact_job_count(w->j, REDACT_JSON);
		return 0;
	}
	struct bytes secret = secret_of(w, from, w->at);
	redact_job_replace(w->j, REDACT_JSON, secret.p ? rule->action : REDACT_MASK, from, w->at,
			   secret, BYTES("\""), BYTES("\""));
	f->kept = true;
	return 0;
}

static int open_bracket(struct walk *w)
{
	if (++w->depth > REDACT_DEPTH_MAX)
		return -EBADMSG;
	w->frame[w->depth] = (struct frame) {.object = w->p[w->at] == '{',
					     .expect_member = true,
					     .first = true,
					     .member = w->at + 1};
	w->at++;
	return 0;
}

/* The value of a member whose places are at depth + 1. */
static int value(struct walk *w, const struct redact_rule *hit)
{
	struct frame *f = &w->frame[w->depth];
	size_t from, to;
	f->expect_member = false;
	f->first = false;
	if (hit)
		return value_redact(w, hit);
	f->kept = true;
	uint8_t c = w->p[w->at];
	if ((c == '{' || c == '[') && redact_mask_any(masks_at(w, w->depth + 1), w->n_paths))
		return open_bracket(w);
	if (c == '{' || c == '[')
		return value_skip(w);
	if (c == '"') {
		string_skip(w, &from, &to);
		return 0;
	}
	return word_skip(w) ? 0 : -EBADMSG;
}

/* A key and its ':'; false: it ends before the value. */
static int key_read(struct walk *w, uint8_t *text, struct bytes *key, bool *known, bool *whole)
{
	size_t from, to;
	if (w->p[w->at] != '"')
		return -EBADMSG;
	*whole = string_skip(w, &from, &to);
	blanks(w);
	if (!*whole || w->at >= w->n) {
		*whole = false;
		return 0;
	}
	if (w->p[w->at++] != ':')
		return -EBADMSG;
	blanks(w);
	*whole = w->at < w->n;
	*key = bytes_of(w->p + from, to - from);
	*known = true;
	if (!key->n || !memchr(key->p, '\\', key->n))
		return 0;
	ssize_t n = unescape(*key, text, KEY_MAX);
	*known = n != SSIZE_MAX;
	*key = bytes_of(text, *known && n > 0 ? (size_t)n : 0);
	return n < 0 ? -EBADMSG : 0;
}

static int member(struct walk *w)
{
	struct frame *f = &w->frame[w->depth];
	uint8_t text[KEY_MAX];
	struct bytes key = {0};
	bool known = false, whole = true;
	int rc = f->object ? key_read(w, text, &key, &known, &whole) : 0;
	if (rc < 0 || !whole)
		return rc;
	return value(w, member_enter(w, key, known));
}

static void comma(struct walk *w)
{
	struct frame *f = &w->frame[w->depth];
	f->index++;
	f->expect_member = true;
	f->member = w->at;
	if (!f->kept) { /* all before it went: so does this ',' */
		redact_job_copy(w->j, w->at);
		redact_job_skip(w->j, w->at + 1);
		f->member = w->at + 1;
	}
	w->at++;
}

static int inside(struct walk *w)
{
	struct frame *f = &w->frame[w->depth];
	uint8_t c = w->p[w->at];
	if (c == (f->object ? '}' : ']') && (!f->expect_member || f->first)) {
		w->at++;
		w->depth--;
		return 0;
	}
	if (f->expect_member)
		return member(w);
	if (c != ',')
		return -EBADMSG;
	comma(w);
	return 0;
}

/* A document: the place of its root is that of no step. RS comes before each in RFC 7464. */
static int document(struct walk *w)
{
	if (w->p[w->at] == 0x1e) {
		w->at++;
		return 0;
	}
	if (w->p[w->at] == '{' || w->p[w->at] == '[')
		return open_bracket(w);
	return value_skip(w);
}

static int walk(struct walk *w)
{
	struct bytes mark =
		bytes_head(BYTES("\xef\xbb\xbf"), w->n); /* of byte order; it may be cut */
	if (bytes_starts(bytes_of(w->p, w->n), mark))
		w->at = mark.n;
	for (blanks(w); w->at < w->n && !w->j->failed; blanks(w)) {
		int rc = w->depth ? inside(w) : document(w);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int redact_json(struct redact_job *j)
{
	const struct redact_paths *paths = &j->r->by->json;
	struct walk w = {.j = j, .p = j->in.p, .n = j->in.n, .n_paths = paths->n};
	if (!redact_paths_start(paths, j->body, masks_at(&w, 1)))
		return 0;
	if (walk(&w) < 0)
		return redact_job_fail(j, REDACT_INVALID);
	return j->failed;
}

/* ---- text/event-stream: each data line is a document of its own ---- */

static int event_data(struct redact_job *j, size_t from, size_t to)
{
	struct walk w = {.j = j, .p = j->in.p, .at = from, .n = to, .n_paths = j->r->by->json.n};
	for (blanks(&w); w.at < w.n && !j->failed; blanks(&w))
		if ((w.depth ? inside(&w) : document(&w)) < 0)
			return redact_job_fail(j, REDACT_INVALID);
	if (w.depth && to < j->in.n) /* goes on in the next line */
		return redact_job_fail(j, REDACT_INVALID);
	return j->failed;
}

int redact_events(struct redact_job *j)
{
	struct bytes in = j->in;
	struct walk w = {.j = j, .n_paths = j->r->by->json.n};
	if (!redact_paths_start(&j->r->by->json, j->body, masks_at(&w, 1)))
		return 0;
	for (size_t at = 0, end; at < in.n && !j->failed; at = end + 1) {
		end = at;
		while (end < in.n && in.p[end] != '\n' && in.p[end] != '\r')
			end++;
		struct bytes line = bytes_of(in.p + at, end - at);
		size_t skip = bytes_starts(line, BYTES("data:")) ? 5 : line.n;
		while (skip < line.n && line.p[skip] == ' ')
			skip++;
		if (skip < line.n && (line.p[skip] == '{' || line.p[skip] == '['))
			event_data(j, at + skip, end);
	}
	return j->failed;
}
