/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules look into a body, and with which engine. What is compressed or unknown is not looked into: it goes. */
#include <limits.h>
#include <string.h>

#include "capture/redact_state.h"

/* ---- for the engines ---- */

int redact_job_fail(struct redact_job *j, enum redact_why why)
{
	if (!j->failed)
		j->failed = -1 - (int)why;
	return j->failed;
}

void redact_job_put(struct redact_job *j, struct bytes b)
{
	if (j->failed || !b.n)
		return;
	if (j->room < b.n)
		redact_job_fail(j, REDACT_GROWN);
	else if (buf_append(j->out, b) < 0)
		redact_job_fail(j, REDACT_NO_MEMORY);
	else
		j->room -= b.n;
}

void redact_job_copy(struct redact_job *j, size_t to)
{
	if (to <= j->from)
		return;
	redact_job_put(j, bytes_of(j->in.p + j->from, to - j->from));
	j->from = to;
}

void redact_job_skip(struct redact_job *j, size_t to)
{
	j->from = to;
	j->changed = true;
}

void redact_job_count(struct redact_job *j, enum redact_kind kind)
{
	redact_count(j->r->counts, kind);
}

void redact_job_replace(struct redact_job *j, enum redact_kind kind, enum redact_action action,
			size_t from, size_t to, struct bytes secret, struct bytes before,
			struct bytes after)
{
	redact_job_copy(j, from);
	redact_job_put(j, before);
	redact_job_put(j, redact_token_text(&j->r->by->token, action, secret));
	redact_job_put(j, after);
	redact_job_skip(j, to);
	redact_job_count(j, kind);
}

/* ---- what a body is ---- */

enum family { FAMILY_NONE, FAMILY_HTTP, FAMILY_GRPC, FAMILY_THRIFT, FAMILY_PROTOBUF, FAMILY_DUBBO };

/* A ttstream of protobuf structs says neither binary nor compact. */
static bool is_protobuf_stream(const char *transport)
{
	return transport && strstr(transport, "streaming") && !strstr(transport, "binary") &&
	       !strstr(transport, "compact");
}

static enum family family_of(const struct redact_body *b)
{
	static const struct {
		const char *name;
		enum family family;
	} list[] = {
		{"http1", FAMILY_HTTP},      {"http2", FAMILY_HTTP},
		{"grpc", FAMILY_GRPC},       {"thrift", FAMILY_THRIFT},
		{"ttheader", FAMILY_THRIFT}, {"theader", FAMILY_THRIFT},
		{"brpc", FAMILY_PROTOBUF},   {"kitex_protobuf", FAMILY_PROTOBUF},
		{"dubbo2", FAMILY_DUBBO},
	};
	if (is_protobuf_stream(b->transport))
		return FAMILY_PROTOBUF;
	for (size_t i = 0; b->protocol && i < sizeof(list) / sizeof(*list); i++)
		if (strcmp(b->protocol, list[i].name) == 0)
			return list[i].family;
	return FAMILY_NONE;
}

/* The first header of this name; *hidden: there is one whose name is not known. */
static struct bytes header_of(const struct redact_body *b, const char *name, bool *hidden)
{
	struct bytes found = {0};
	for (size_t i = 0; i < b->n_headers; i++) {
		const struct header *h = &b->headers[i];
		*hidden |= h->provenance == PROVENANCE_UNKNOWN && h->name.n == 0;
		if (!found.p && bytes_caseeq(h->name, bytes_str(name)))
			found = h->value.p ? h->value : BYTES("");
	}
	return found;
}

static bool has(struct bytes in, const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= in.n; i++)
		if (bytes_caseeq(bytes_of(in.p + i, n), bytes_str(word)))
			return true;
	return false;
}

static bool begins(struct bytes in, const char *word)
{
	return bytes_caseeq(bytes_head(in, strlen(word)), bytes_str(word));
}

/* Pictures and the like: no rule but a pattern is about them. */
static bool is_media(struct bytes type)
{
	return begins(type, "image/") || begins(type, "video/") || begins(type, "audio/") ||
	       begins(type, "font/");
}

/* Plain, as far as the headers tell: a coding that is not "identity" is one that hides. */
static bool is_plain(const struct redact_body *b)
{
	bool hidden = b->blind;
	if (family_of(b) != FAMILY_HTTP)
		return !b->compressed;
	struct bytes coding = header_of(b, "content-encoding", &hidden);
	struct bytes transfer = header_of(b, "transfer-encoding", &hidden);
	return !hidden && !b->compressed &&
	       (!coding.n || bytes_caseeq(coding, BYTES("identity"))) &&
	       (!transfer.n || bytes_caseeq(transfer, BYTES("chunked")) ||
		bytes_caseeq(transfer, BYTES("identity")));
}

static bool looks_like_json(struct bytes in)
{
	size_t i = bytes_starts(in, BYTES("\xef\xbb\xbf")) ? 3 : 0;
	while (i < in.n && in.p[i] && strchr(" \t\r\n\x1e", in.p[i]))
		i++;
	return i < in.n && (in.p[i] == '{' || in.p[i] == '[');
}

bool redact_body_wanted(const struct redactor *r, const struct redact_body *b)
{
	if (!r->bodies && (!b->protocol || strcmp(b->protocol, "dubbo2") != 0))
		return false;
	switch (family_of(b)) {
	case FAMILY_HTTP: return r->bodies;
	case FAMILY_GRPC: return r->protobuf.n || r->json.n || r->body_regex.n;
	case FAMILY_THRIFT: return r->thrift.n || r->body_regex.n;
	case FAMILY_PROTOBUF: return r->protobuf.n || r->body_regex.n;
	case FAMILY_DUBBO: return r->headers.n || r->body_regex.n;
	case FAMILY_NONE: break;
	}
	return false;
}

/* ---- engines ---- */

/* One pass: in -> out. The answer of redact_body. */
static int pass(struct redact_job *j, int (*engine)(struct redact_job *), struct buf *out)
{
	j->from = 0;
	j->changed = false;
	j->out = out;
	engine(j);
	if (!j->failed && j->changed)
		redact_job_copy(j, j->in.n);
	return j->failed ? -1 : j->changed;
}

static int multipart(struct redact_job *j)
{
	bool hidden = false;
	return redact_multipart(j, header_of(j->body, "content-type", &hidden));
}

static int regex_text(struct redact_job *j)
{
	return redact_regex_body(j, false);
}

static int regex_binary(struct redact_job *j)
{
	return redact_regex_body(j, true);
}

typedef int engine_fn(struct redact_job *);

/* Of an HTTP body, by its type, or by how it begins. REDACT_WHYS, or why it cannot be. */
static int http_engine(const struct redact_body *b, const struct redactor *r, struct bytes in,
		       engine_fn **out, bool *binary)
{
	bool hidden = false;
	struct bytes type = header_of(b, "content-type", &hidden);
	bool json = has(type, "json"), enveloped = begins(type, "application/grpc-web") ||
						   begins(type, "application/connect+");
	bool protobuf = has(type, "protobuf") || begins(type, "application/proto") ||
			begins(type, "application/grpc");
	bool thrift = has(type, "thrift");
	*binary = protobuf || thrift || begins(type, "application/octet-stream") || is_media(type);
	if (enveloped && ((r->protobuf.n && !json) || (r->json.n && json)))
		return REDACT_ENCODING;
	if (thrift)
		*out = r->thrift.n ? redact_thrift : NULL;
	else if (protobuf && !json)
		*out = r->protobuf.n ? redact_protobuf : NULL;
	else if (begins(type, "application/x-www-form-urlencoded"))
		*out = r->form.n ? redact_form : NULL;
	else if (begins(type, "multipart/form-data"))
		*out = r->form.n ? multipart : NULL;
	else if (begins(type, "text/event-stream"))
		*out = r->json.n ? redact_events : NULL;
	else if (r->json.n && (json || looks_like_json(in)))
		*out = redact_json;
	return REDACT_WHYS;
}

/* Which engine reads this body besides patterns; NULL: none. */
static int engine_of(const struct redact_body *b, const struct redactor *r, struct bytes in,
		     engine_fn **out, bool *binary)
{
	bool hidden = false;
	*out = NULL;
	*binary = true;
	switch (family_of(b)) {
	case FAMILY_HTTP: return http_engine(b, r, in, out, binary);
	case FAMILY_GRPC:
		if (has(header_of(b, "content-type", &hidden), "json"))
			*out = r->json.n ? redact_json : NULL;
		else
			*out = r->protobuf.n ? redact_protobuf : NULL;
		break;
	case FAMILY_THRIFT: *out = r->thrift.n ? redact_thrift : NULL; break;
	case FAMILY_PROTOBUF: *out = r->protobuf.n ? redact_protobuf : NULL; break;
	case FAMILY_DUBBO: *out = redact_dubbo; break;
	default: break;
	}
	return REDACT_WHYS;
}

/* Hidden by a coding: kept only where no rule could be about it. */
static bool hidden_matters(const struct redact_body *b, const struct redactor *r)
{
	bool hidden = false;
	if (family_of(b) != FAMILY_HTTP || r->body_regex.n || b->blind)
		return true;
	return !is_media(header_of(b, "content-type", &hidden));
}

static int redact_plain(struct redact_job *j, struct bytes in, struct buf *out)
{
	struct redactor *r = j->r->by;
	engine_fn *engine;
	bool binary;
	int why = engine_of(j->body, r, in, &engine, &binary), rc = 0;
	size_t start = out->n;
	struct buf between = {0};
	if (why != REDACT_WHYS)
		return redact_job_fail(j, (enum redact_why)why);
	j->in = in;
	if (engine)
		rc = pass(j, engine, out);
	if (rc < 0 || !r->body_regex.n)
		return rc;
	if (rc) { /* the second pass reads what the first one wrote */
		if (buf_append(&between, bytes_from(buf_bytes(out), start)) < 0)
			redact_job_fail(j, REDACT_NO_MEMORY);
		j->room += out->n - start;
		out->n = start;
		in = buf_bytes(&between);
	}
	bool changed = rc;
	j->in = in;
	rc = j->failed ? -1 : pass(j, binary ? regex_binary : regex_text, out);
	if (rc == 0 && changed) {
		redact_job_put(j, in);
		rc = j->failed ? -1 : 1;
	}
	buf_fini(&between);
	return rc;
}

int redact_body(const struct redaction *r, const struct redact_body *b, struct bytes in,
		size_t room, struct buf *out)
{
	struct redact_job j = {.r = r, .body = b, .room = room};
	size_t start = out->n;
	int rc = -1;
	r->counts->bodies++;
	if (b->later)
		redact_job_fail(&j, REDACT_LATER_PART);
	else if (!is_plain(b) && hidden_matters(b, r->by))
		redact_job_fail(&j, REDACT_ENCODING);
	else if (!is_plain(b))
		rc = 0;
	else
		rc = redact_plain(&j, in, out);
	if (rc < 0)
		r->counts->dropped[-1 - j.failed]++;
	else if (rc)
		r->counts->changed++;
	else
		r->counts->unchanged++;
	if (rc <= 0)
		out->n = start;
	return rc;
}
