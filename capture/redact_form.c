/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of forms: application/x-www-form-urlencoded (WHATWG URL section 5), multipart/form-data (RFC 7578). */
#include <string.h>

#include "capture/redact_state.h"

enum { FORM_NAME_MAX = 256, PART_HEAD_MAX = 8192, BOUNDARY_MAX = 200 };

static void param_redact(struct redact_job *j, const struct redact_param *p,
			 enum redact_action action)
{
	bool first = p->name == 0 || p->name == j->from;
	struct bytes in = j->in, none = {0}, secret = bytes_of(in.p + p->value, p->end - p->value);
	if (action != REDACT_DROP) {
		redact_job_replace(j, REDACT_FORM, action, p->value, p->end, secret, none, none);
		return;
	}
	redact_job_copy(j, first ? p->name : p->name - 1);
	redact_job_skip(j, first && p->end < in.n ? p->end + 1 : p->end);
	redact_job_count(j, REDACT_FORM);
}

int redact_form(struct redact_job *j)
{
	const struct redact_names *names = &j->r->by->form;
	struct redact_param p;
	for (size_t at = 0; redact_param_next(j->in, at, "&", &p) && !j->failed; at = p.end + 1) {
		const struct redact_name *rule = redact_param_secret(names, j->in, true, &p);
		if (rule)
			param_redact(j, &p, rule->action);
	}
	return j->failed;
}

/* ---- multipart ---- */

static bool is_token(uint8_t c)
{
	return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

/*
 * The parameter `name` of a header value with parameters, quotes removed, into out. 1: there; 0: not; -1: it is, in a form
 * that is not read here (name*=, too long).
 */
static int param_of(struct bytes v, const char *name, uint8_t *out, size_t *out_n)
{
	size_t i = 0, max = *out_n, len = strlen(name);
	while (i < v.n) {
		while (i < v.n && v.p[i] != ';') /* also steps over the value itself */
			i++;
		while (i < v.n && (v.p[i] == ';' || v.p[i] == ' ' || v.p[i] == '\t' ||
				   v.p[i] == '\r' || v.p[i] == '\n'))
			i++;
		size_t from = i;
		while (i < v.n && is_token(v.p[i]))
			i++;
		struct bytes word = bytes_of(v.p + from, i - from);
		while (i < v.n && (v.p[i] == ' ' || v.p[i] == '\t'))
			i++;
		if (i >= v.n || v.p[i] != '=')
			continue;
		i++;
		while (i < v.n && (v.p[i] == ' ' || v.p[i] == '\t'))
			i++;
		bool quoted = i < v.n && v.p[i] == '"', mine = bytes_caseeq(word, bytes_str(name));
		size_t n = 0;
		if (word.n == len + 1 && bytes_caseeq(bytes_head(word, len), bytes_str(name)) &&
		    word.p[len] == '*')
			return -1;
		for (i += quoted; i < v.n; i++) {
			if (quoted ? v.p[i] == '"' : v.p[i] == ';' || v.p[i] == '\r')
				break;
			if (quoted && v.p[i] == '\\' && i + 1 < v.n)
				i++;
			if (mine && n == max)
				return -1;
			if (mine)
				out[n++] = v.p[i];
		}
		if (mine) {
			while (!quoted && n && (out[n - 1] == ' ' || out[n - 1] == '\t'))
				n--;
			*out_n = n;
			return 1;
		}
	}
	return 0;
}

static size_t line_end(struct bytes in, size_t at)
{
	const uint8_t *nl = at < in.n ? memchr(in.p + at, '\n', in.n - at) : NULL;
	return nl ? (size_t)(nl - in.p) + 1 : in.n;
}

static bool is_blank_line(struct bytes line)
{
	return bytes_eq(line, BYTES("\r\n")) || bytes_eq(line, BYTES("\n"));
}

/* A header with those of its lines that are folded */
static struct bytes header_at(struct bytes in, size_t at, size_t *next)
{
	*next = line_end(in, at);
	while (*next < in.n && (in.p[*next] == ' ' || in.p[*next] == '\t'))
		*next = line_end(in, *next);
	return bytes_of(in.p + at, *next - at);
}

/*
 * The head of a part at *at, which moves behind it. The rule that names its field, or NULL; an unreadable one fails
 * the job.
 */
static const struct redact_name *part_head(struct redact_job *j, size_t *at)
{
	static const struct bytes disposition = BYTES("content-disposition:");
	const struct redact_name *rule = NULL;
	size_t begin = *at;
	while (*at < j->in.n) {
		uint8_t name[FORM_NAME_MAX];
		size_t next, n = sizeof(name);
		struct bytes h = header_at(j->in, *at, &next);
		*at = next;
		if (is_blank_line(h))
			return rule;
		if (next - begin > PART_HEAD_MAX)
			redact_job_fail(j, REDACT_INVALID);
		if (j->failed || !bytes_caseeq(bytes_head(h, disposition.n), disposition))
			continue;
		int rc = param_of(bytes_from(h, disposition.n - 1), "name", name, &n);
		if (rc < 0)
			redact_job_fail(j, REDACT_INVALID);
		else if (rc == 1 && !rule)
			rule = redact_names_find(&j->r->by->form, bytes_of(name, n));
	}
	return rule;
}

struct delimiter {
	size_t from, content; /* its line's start with the line break before it; behind it */
	bool last;
	bool bare; /* a line break without CR is at it: who reads this, ends a part elsewhere */
};

/* Behind the boundary: "--", blanks, a line break or the end; else it is text that begins like one. */
static bool delimiter_read(struct bytes in, size_t at, struct delimiter *d)
{
	d->last = bytes_starts(bytes_from(in, at), BYTES("--"));
	at += d->last ? 2 : 0;
	while (at < in.n && (in.p[at] == ' ' || in.p[at] == '\t'))
		at++;
	d->content = line_end(in, at);
	d->bare = at < in.n && in.p[at] == '\n';
	return at >= in.n || d->bare || bytes_starts(bytes_from(in, at), BYTES("\r\n")) ||
	       (in.p[at] == '\r' && at + 1 == in.n);
}

static bool delimiter_find(struct bytes in, size_t at, struct bytes dash, struct delimiter *d)
{
	while (at < in.n) {
		const uint8_t *p = memmem(in.p + at, in.n - at, dash.p, dash.n);
		if (!p)
			return false;
		size_t from = (size_t)(p - in.p);
		if ((from == 0 || in.p[from - 1] == '\n') && delimiter_read(in, from + dash.n, d)) {
			bool crlf = from > 1 && in.p[from - 2] == '\r';
			d->bare |= from && !crlf;
			d->from = from ? from - 1 - crlf : 0;
			return true;
		}
		at = from + 1;
	}
	return false;
}

static void content_redact(struct redact_job *j, const struct redact_name *rule, size_t from,
			   size_t to)
{
	struct bytes none = {0}, secret = bytes_of(j->in.p + from, to - from);
	if (from >= to)
		return;
	if (rule->action != REDACT_DROP) {
		redact_job_replace(j, REDACT_FORM, rule->action, from, to, secret, none, none);
		return;
	}
	redact_job_copy(j, from); /* the part stays, empty: the others keep their delimiters */
	redact_job_skip(j, to);
	redact_job_count(j, REDACT_FORM);
}

int redact_multipart(struct redact_job *j, struct bytes content_type)
{
	uint8_t dash[2 + BOUNDARY_MAX] = "--";
	size_t n = BOUNDARY_MAX;
	struct delimiter d, next;
	if (param_of(content_type, "boundary", dash + 2, &n) != 1 || n == 0)
		return redact_job_fail(j, REDACT_INVALID);
	struct bytes boundary = bytes_of(dash, n + 2);
	if (!delimiter_find(j->in, 0, boundary, &d))
		return j->in.n ? redact_job_fail(j, REDACT_INVALID) : 0;
	for (bool more = true; more && !d.last && !j->failed; d = next) {
		size_t at = d.content;
		const struct redact_name *rule = part_head(j, &at);
		more = delimiter_find(j->in, at, boundary, &next);
		if (d.bare || (more && next.bare))
			redact_job_fail(j, REDACT_INVALID);
		if (!more)
			next = (struct delimiter) {.from = j->in.n};
		if (rule && !j->failed)
			content_redact(j, rule, at, next.from);
	}
	return j->failed;
}
