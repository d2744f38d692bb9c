/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/grpc.h"

#include <errno.h>

bool grpc_content_type(struct bytes value)
{
	struct bytes type = BYTES("application/grpc");

	if (!bytes_caseeq(bytes_head(value, type.n), type))
		return false;
	return value.n == type.n || value.p[type.n] == '+' || value.p[type.n] == ';';
}

bool grpc_path_split(struct bytes path, struct bytes *service, struct bytes *method)
{
	*service = *method = (struct bytes) {NULL, 0};
	if (path.n == 0 || path.p[0] != '/')
		return false;
	const uint8_t *slash = memrchr(path.p, '/', path.n);
	size_t at = (size_t)(slash - path.p);
	if (at < 2 || at + 1 == path.n)
		return false;
	*service = bytes_of(path.p + 1, at - 1);
	*method = bytes_from(path, at + 1);
	return true;
}

/* Gathers the prefix: how many bytes of `in` were taken for it, or -EPROTO. */
static int64_t prefix_take(struct grpc_split *s, struct bytes in)
{
	size_t n = 0;

	while (s->have < sizeof(s->prefix) && n < in.n)
		s->prefix[s->have++] = in.p[n++];
	if (s->have && s->prefix[0] > 1)
		return -EPROTO;
	if (s->have < sizeof(s->prefix))
		return (int64_t)n;
	struct cursor c = cursor_of(bytes_of(s->prefix, sizeof(s->prefix)));
	s->compressed = cursor_u8(&c);
	s->left = cursor_be32(&c);
	s->inside = true;
	s->have = 0;
	return (int64_t)n;
}

int64_t grpc_split_next(struct grpc_split *s, struct bytes in, struct grpc_run *run)
{
	int64_t n = 0;

	*run = (struct grpc_run) {0};
	if (s->lost && !s->inside)
		return (int64_t)in.n;
	if (!s->inside)
		n = prefix_take(s, in);
	if (n < 0) {
		s->lost = true;
		s->have = 0;
		return n;
	}
	if (!s->inside)
		return n;
	run->body = bytes_head(bytes_from(in, (size_t)n), s->left);
	s->left -= run->body.n;
	if (s->left)
		return n + (int64_t)run->body.n;
	s->inside = false;
	run->end = true;
	run->compressed = s->compressed;
	return n + (int64_t)run->body.n;
}

void grpc_split_gap(struct grpc_split *s, uint64_t n, uint64_t *missing)
{
	uint64_t mine = s->inside && n > s->left ? s->left : s->inside ? n : 0;

	s->left -= mine;
	*missing += mine;
	if (n > mine)
		s->lost = true;
}

bool grpc_status_parse(struct bytes value, int32_t *status)
{
	int64_t v = 0;

	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return false;
		v = v * 10 + (value.p[i] - '0');
		if (v > INT32_MAX)
			return false;
	}
	if (value.n)
		*status = (int32_t)v;
	return value.n > 0;
}

enum outcome grpc_outcome(int32_t status)
{
	switch (status) {
	case 0: return OUTCOME_OK;
	case 2: /* UNKNOWN */
	case 4: /* DEADLINE_EXCEEDED */
	case 12: /* UNIMPLEMENTED */
	case 13: /* INTERNAL */
	case 14: /* UNAVAILABLE */
	case 15: /* DATA_LOSS */ return OUTCOME_SERVER_ERROR;
	default: return OUTCOME_CLIENT_ERROR;
	}
}

/* The byte that `in` begins with, escaped or not, and how long it stands there. */
static uint8_t escape_read(struct bytes in, size_t *n)
{
	*n = 1;
	if (in.p[0] != '%' || in.n < 3 || bytes_hex_digit(in.p[1]) < 0 ||
	    bytes_hex_digit(in.p[2]) < 0)
		return in.p[0];
	*n = 3;
	return (uint8_t)(bytes_hex_digit(in.p[1]) << 4 | bytes_hex_digit(in.p[2]));
}

/* Without the UTF-8 sequence that the cut behind the n bytes of `text` left unfinished */
static size_t utf8_whole(const uint8_t *text, size_t n)
{
	size_t back = 1;

	while (back < 4 && back < n && (text[n - back] & 0xc0) == 0x80)
		back++;
	if (n < back || text[n - back] < 0xc0)
		return n;
	uint8_t lead = text[n - back];
	size_t whole = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	return back < whole ? n - back : n;
}

struct bytes grpc_message_decode(struct bytes raw, uint8_t *out, size_t cap, bool *cut)
{
	size_t n = 0, used;

	for (; raw.n && n < cap; raw = bytes_from(raw, used))
		out[n++] = escape_read(raw, &used);
	*cut = raw.n > 0;
	return bytes_of(out, *cut ? utf8_whole(out, n) : n);
}

/* record.md: 101-399 OK, 4xx, 5xx; what is no status says nothing. */
static enum outcome http_outcome(int32_t status)
{
	if (status < 100 || status > 599)
		return OUTCOME_UNKNOWN;
	return status < 400   ? OUTCOME_OK
	       : status < 500 ? OUTCOME_CLIENT_ERROR
			      : OUTCOME_SERVER_ERROR;
}

static void status_by_http(struct head *h, int32_t http_status)
{
	if (http_status == 200) {
		h->outcome = OUTCOME_ABORTED;
		h->status = 0;
		return;
	}
	h->outcome = http_outcome(http_status);
	h->has_status = h->outcome != OUTCOME_UNKNOWN;
	h->status = h->has_status ? http_status : 0;
}

unsigned grpc_end(struct head *h, const struct header *fields, size_t n, int32_t http_status,
		  uint8_t text[GRPC_TEXT_MAX])
{
	bool unknown = false, cut = false;

	h->has_status = false;
	h->status_text = (struct bytes) {NULL, 0};
	for (size_t i = 0; i < n; i++) {
		const struct header *f = &fields[i];
		bool is_status = bytes_caseeq(f->name, BYTES("grpc-status"));
		if (f->provenance == PROVENANCE_UNKNOWN)
			unknown |= f->name.n == 0 || is_status;
		else if (is_status) /* the last one counts, as in the gRPC libraries */
			h->has_status = grpc_status_parse(f->value, &h->status);
		else if (bytes_caseeq(f->name, BYTES("grpc-message")))
			h->status_text = grpc_message_decode(f->value, text, GRPC_TEXT_MAX, &cut);
	}
	h->outcome = OUTCOME_UNKNOWN;
	if (h->has_status)
		h->outcome = grpc_outcome(h->status);
	else if (unknown)
		h->status = 0;
	else
		status_by_http(h, http_status);
	return (unknown && !h->has_status ? GRPC_END_UNKNOWN : 0) | (cut ? GRPC_END_CUT : 0);
}
