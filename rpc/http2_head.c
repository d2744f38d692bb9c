/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_head.h"

#include "rpc/http1_head.h"

enum { UNKNOWN_TEXT_MAX = 64 };

/* What heads lend, until the next one */
static _Thread_local char unknown_text[UNKNOWN_TEXT_MAX];
static _Thread_local struct attribute unknown_attribute;
static _Thread_local uint8_t status_text[GRPC_TEXT_MAX];

/* ---- fields ---- */

/* RFC 9113 8.2.1, and tokens as RFC 9110 5.1 has them */
static bool name_valid(struct bytes name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 'A' && name.p[i] <= 'Z')
			return false;
	return name.n && http1_is_token(name);
}

static bool value_valid(struct bytes v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] == 0 || v.p[i] == '\r' || v.p[i] == '\n')
			return false;
	return true;
}

/* What a record's text field may be taken from */
static bool text_valid(struct bytes v)
{
	return v.n && http1_is_text(v) && v.p[0] != ' ' && v.p[0] != '\t' && v.p[v.n - 1] != ' ' &&
	       v.p[v.n - 1] != '\t';
}

static int32_t status_read(struct bytes v)
{
	if (v.n != 3 || v.p[0] < '1' || v.p[0] > '9' || v.p[1] < '0' || v.p[1] > '9' ||
	    v.p[2] < '0' || v.p[2] > '9')
		return 0;
	return (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0');
}

static void pseudo_set(struct http2_fields *f, struct bytes *to, struct bytes v, bool valid)
{
	f->request = true;
	f->malformed |= to->n > 0 || !valid;
	if (valid && !to->n)
		*to = v;
}

static void pseudo_read(struct http2_fields *f, struct bytes name, struct bytes v)
{
	bool text = text_valid(v);

	if (bytes_eq(name, BYTES(":method"))) {
		pseudo_set(f, &f->method, v, http1_is_token(v) && v.n);
	} else if (bytes_eq(name, BYTES(":path"))) {
		pseudo_set(f, &f->path, v, text);
	} else if (bytes_eq(name, BYTES(":authority"))) {
		pseudo_set(f, &f->authority, v, text || !v.n);
	} else if (bytes_eq(name, BYTES(":scheme"))) {
		pseudo_set(f, &f->scheme, v, text);
	} else if (bytes_eq(name, BYTES(":protocol"))) {
		pseudo_set(f, &f->protocol, v, text);
	} else if (bytes_eq(name, BYTES(":status"))) {
		f->malformed |= f->response || !status_read(v);
		f->response = true;
		if (!f->status)
			f->status = status_read(v);
	} else {
		f->malformed = true;
	}
}

/* gRPC's libraries agree among themselves to send such values as they are, behind a 0 (no RFC's form). */
static bool is_binary(struct bytes name)
{
	return name.n > 4 && bytes_eq(bytes_from(name, name.n - 4), BYTES("-bin"));
}

static void regular_read(struct http2_fields *f, struct bytes name, struct bytes v)
{
	if (!name_valid(name) || (!value_valid(v) && !is_binary(name))) {
		f->malformed = true;
	} else if (bytes_eq(name, BYTES("content-type"))) {
		if (!f->has_content_type)
			f->content_type = v;
		f->has_content_type = true;
	} else if (bytes_eq(name, BYTES("content-length"))) {
		f->has_content_length = true;
		f->content_length = v;
	} else if (bytes_eq(name, BYTES("host"))) {
		if (!f->host.n && text_valid(v))
			f->host = v;
	} else if (bytes_eq(name, BYTES("te"))) {
		f->te_trailers |= bytes_caseeq(v, BYTES("trailers"));
	} else if (bytes_starts(name, BYTES("grpc-")) && !bytes_eq(name, BYTES("grpc-status")) &&
		   !bytes_eq(name, BYTES("grpc-message"))) {
		f->grpc_named = true;
	}
}

void http2_fields_read(struct http2_fields *f, const struct hpack_list *list)
{
	bool regular = false;

	*f = (struct http2_fields) {.list = list->fields,
				    .n = list->n,
				    .unknown_entries = list->unknown,
				    .n_unknown = list->n_unknown,
				    .unknown_whole = list->unknown_whole && !list->cap};
	for (size_t i = 0; i < f->n; i++) {
		struct bytes name = f->list[i].name;
		if (f->list[i].provenance == PROVENANCE_UNKNOWN && !name.n) {
			f->unknown = true;
			f->pseudo_unknown |= !regular;
		} else if (name.n && name.p[0] == ':') {
			f->malformed |= regular;
			pseudo_read(f, name, f->list[i].value);
		} else {
			regular = true;
			regular_read(f, name, f->list[i].value);
		}
	}
	f->malformed |= f->request && f->response;
}

bool http2_fields_is_request(const struct http2_fields *f, bool ended)
{
	return f->request || (f->pseudo_unknown && !ended && !f->response);
}

bool http2_fields_is_response(const struct http2_fields *f, bool ended)
{
	return f->response || (f->pseudo_unknown && !ended && !f->request);
}

bool http2_fields_unsure(const struct http2_fields *f, bool ended)
{
	return !ended && !f->status && f->pseudo_unknown && !f->has_content_type &&
	       !f->has_content_length;
}

/* ---- heads ---- */

static void unknown_name(struct head *h, const char *field)
{
	size_t n = h->n_attributes ? unknown_attribute.value.n : 0, add = strlen(field);

	if (n + 1 + add > UNKNOWN_TEXT_MAX)
		return;
	if (n)
		unknown_text[n++] = ',';
	for (size_t i = 0; i < add; i++)
		unknown_text[n + i] = field[i];
	unknown_attribute = (struct attribute) {"unknown", bytes_of(unknown_text, n + add)};
	h->attributes = &unknown_attribute;
	h->n_attributes = 1;
}

static void route_grpc(const struct http2_fields *f, struct head *h)
{
	h->protocol = "grpc";
	h->messages = true;
	if (f->path.n) {
		grpc_path_split(f->path, &h->service, &h->method);
	} else if (f->pseudo_unknown) {
		unknown_name(h, "service");
		unknown_name(h, "method");
	}
}

static void route_http(const struct http2_fields *f, bool maybe_grpc, struct head *h)
{
	bool hidden = !f->authority.n && f->pseudo_unknown;

	if (maybe_grpc) {
		unknown_name(h, "protocol");
		unknown_name(h, "call_type");
	}
	if (!maybe_grpc && !hidden)
		h->service = f->authority.n ? f->authority : f->host;
	if (maybe_grpc || (!h->service.n && (hidden || f->unknown)))
		unknown_name(h, "service");
	if (!maybe_grpc)
		h->method = f->method;
	if (maybe_grpc || (!f->method.n && f->pseudo_unknown))
		unknown_name(h, "method");
}

/* CONNECT without :protocol names the authority and no path (RFC 9113 8.5, RFC 8441). */
static bool is_connect(const struct http2_fields *f)
{
	return bytes_eq(f->method, BYTES("CONNECT")) && !f->protocol.n;
}

static bool request_malformed(const struct http2_fields *f)
{
	bool lacks = !f->method.n || (is_connect(f) ? !f->authority.n : !f->path.n);

	return f->malformed || f->response || (lacks && !f->pseudo_unknown);
}

void http2_head_request(const struct http2_fields *f, struct http2_stream *s, bool proven,
			struct piece *out)
{
	struct head *h = &out->head;
	bool post = bytes_eq(f->method, BYTES("POST")) || (!f->method.n && f->pseudo_unknown);
	bool connect = is_connect(f);

	s->grpc = !connect &&
		  (grpc_content_type(f->content_type) ||
		   (f->unknown && !f->has_content_type && f->te_trailers && f->grpc_named) ||
		   (proven && !f->has_content_type));
	s->maybe_grpc = !s->grpc && post && !f->has_content_type && f->unknown;
	s->head_method = bytes_eq(f->method, BYTES("HEAD"));
	s->method_hidden = !f->method.n && f->pseudo_unknown;
	if (s->grpc)
		route_grpc(f, h);
	else
		route_http(f, s->maybe_grpc, h);
	bool connect_hidden = connect && f->pseudo_unknown; /* :protocol may be there */
	if (!connect_hidden)
		h->path = connect ? f->authority : f->path;
	if (!h->path.n && f->pseudo_unknown)
		unknown_name(h, "path");
	if (request_malformed(f))
		out->flags |= FLAG_PROTOCOL_ERROR;
}

static enum outcome http_outcome(int32_t status)
{
	if (status < 400)
		return OUTCOME_OK;
	return status < 500 ? OUTCOME_CLIENT_ERROR : OUTCOME_SERVER_ERROR;
}

static void grpc_ended(const struct http2_fields *f, struct http2_stream *s, struct piece *out)
{
	unsigned found =
		grpc_end(&out->head, f ? f->list : NULL, f ? f->n : 0, s->http_status, status_text);

	/* without a :status that is known the rule for a missing grpc-status has nothing to say */
	if ((found & GRPC_END_UNKNOWN) || (!out->head.has_status && !s->http_status)) {
		out->head.outcome = OUTCOME_UNKNOWN;
		unknown_name(&out->head, "status_code");
	}
	if (found & GRPC_END_CUT)
		out->cap = "status_text";
}

/* A reply may tell that the request, of which nothing was given out as another protocol's, was gRPC. */
static void grpc_by_reply(const struct http2_fields *f, struct http2_stream *s)
{
	if (!s->maybe_grpc || !grpc_content_type(f->content_type) || s->half[DIR_REQUEST].data)
		return;
	s->grpc = true;
	s->maybe_grpc = false;
}

/* Not the gRPC server's: its body is no messages. */
static bool proxy_answer(const struct http2_fields *f)
{
	if (f->has_content_type)
		return !grpc_content_type(f->content_type);
	return f->status && f->status != 200;
}

/* How long the response's body will be, where its head tells (RFC 9110 6.4.1, 8.6). */
static void expect_body(const struct http2_fields *f, struct http2_stream *s)
{
	s->sized = s->head_method || f->status == 204 || f->status == 304;
	bool maybe_head = s->half[DIR_REQUEST].state == HTTP2_GIVEN_UP || s->method_hidden;
	s->hidden = s->maybe_grpc ||
		    (!s->sized && (maybe_head || (f->unknown && !f->content_length.n)));
	if (s->sized || !f->content_length.n || f->content_length.n > 18)
		return;
	for (size_t i = 0; i < f->content_length.n; i++) {
		unsigned digit = f->content_length.p[i] - '0';
		if (digit > 9)
			return;
		s->expected = s->expected * 10 + digit;
	}
	s->sized = true;
}

void http2_head_response(const struct http2_fields *f, struct http2_stream *s, bool ended,
			 struct piece *out)
{
	struct head *h = &out->head;

	s->http_status = f->status;
	grpc_by_reply(f, s);
	expect_body(f, s);
	if (f->malformed || f->request || (!f->status && !f->pseudo_unknown))
		out->flags |= FLAG_PROTOCOL_ERROR;
	if (s->grpc) {
		h->protocol = "grpc";
		s->half[DIR_RESPONSE].raw = proxy_answer(f);
		h->messages = !s->half[DIR_RESPONSE].raw;
		if (ended)
			grpc_ended(f, s, out);
	} else if (s->maybe_grpc || (!f->status && f->pseudo_unknown)) {
		unknown_name(h, "status_code");
	} else if (f->status) {
		h->status = f->status;
		h->has_status = true;
		if (!s->hidden || ended)
			h->outcome = http_outcome(f->status);
	}
}

void http2_head_end(const struct http2_fields *f, struct http2_stream *s, struct piece *out)
{
	if (f && (f->malformed || f->request || f->response))
		out->flags |= FLAG_PROTOCOL_ERROR;
	if (s->grpc)
		grpc_ended(f, s, out);
	else if (s->hidden && s->http_status && !s->maybe_grpc)
		out->head.outcome = http_outcome(s->http_status);
}

void http2_head_unsure(struct piece *out)
{
	unknown_name(&out->head, "protocol");
	unknown_name(&out->head, "call_type");
}

void http2_head_lost(struct piece *out)
{
	out->flags |= FLAG_GAP | FLAG_TRUNCATED;
	unknown_name(&out->head, "status_code");
}
