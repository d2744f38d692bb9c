/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/ttheader_find.h"

#include <errno.h>

#include "rpc/prober.h"
#include "rpc/ttheader_payload.h"

/* A second frame is waited for behind a first one of at most so many bytes. */
enum { NEXT_MAX = 64 * 1024 };

static const struct framer_limits probe_limits = {
	.header_bytes = 64 * 1024, .header_count = TTHEADER_HEADERS_MAX, .frame_bytes = 64 << 20};

static enum ttheader_said said_by(unsigned type)
{
	switch (type) {
	case THRIFT_CALL:
	case THRIFT_ONEWAY: return TTHEADER_SAID_REQUEST;
	case THRIFT_REPLY:
	case THRIFT_EXCEPTION: return TTHEADER_SAID_REPLY;
	default: return TTHEADER_SAID_NOTHING;
	}
}

/* The frame of a stream that begins it tells whose it is: only the client names the service. */
static enum ttheader_said stream_said(const struct ttheader_head *h)
{
	return ttheader_head_frame(h) == TTHEADER_HEADER && h->isn.n ? TTHEADER_SAID_REQUEST
								     : TTHEADER_SAID_NOTHING;
}

static int verify_stream(const struct ttheader_head *h, enum ttheader_said *said)
{
	*said = stream_said(h);
	return h->protocol >= 0x10 && ttheader_head_frame(h) && ttheader_head_method(h).n ? 1
											  : -EPROTO;
}

/* Does another frame begin behind this one? */
static int verify_next(const struct ttheader_head *h, struct bytes in,
		       const struct framer_limits *limits)
{
	struct ttheader_head next;
	size_t need;

	if (h->total > NEXT_MAX)
		return -EPROTO;
	int64_t r = ttheader_head_parse(&next, bytes_from(in, h->total), true, limits, &need);
	return r < 0 ? -EPROTO : r > 0;
}

int ttheader_find_verify(struct bytes in, const struct framer_limits *limits,
			 enum ttheader_said *said)
{
	struct ttheader_head h;
	struct ttheader_payload p;
	size_t need;
	int64_t n = ttheader_head_parse(&h, in, true, limits, &need);

	*said = TTHEADER_SAID_NOTHING;
	if (n < 0 || (h.fixed && h.size > limits->header_bytes))
		return -EPROTO;
	if (n == 0)
		return 0;
	if (h.flags & TTHEADER_STREAMING)
		return verify_stream(&h, said);
	if (!ttheader_payload_parse(bytes_from(in, h.size), h.total - h.size, h.transforms, &p,
				    &need))
		return 0;
	*said = said_by(p.type ? p.type : ttheader_head_type(&h));
	if (p.type)
		return 1;
	return verify_next(&h, in, limits);
}

int ttheader_find(struct bytes in, const struct framer_limits *limits, size_t *skip,
		  enum ttheader_said *said)
{
	size_t i = 0;

	for (; in.n - i > 4; i++) {
		const uint8_t *magic = memchr(in.p + i + 4, TTHEADER_MAGIC >> 8, in.n - i - 4);
		i = magic ? (size_t)(magic - in.p) - 4 : in.n - 4;
		if (!magic)
			break;
		int r = ttheader_find_verify(bytes_from(in, i), limits, said);
		if (r < 0)
			continue;
		*skip = i;
		return r;
	}
	*skip = i;
	return 0;
}

/* One side's first bytes */
static enum probe_answer head_probe(struct bytes b, enum ttheader_said *said)
{
	struct ttheader_head h;
	struct ttheader_payload p;
	size_t need;
	bool full = b.n >= PROBER_HEAD_MAX;
	int64_t n = ttheader_head_parse(&h, b, true, &probe_limits, &need);

	*said = TTHEADER_SAID_NOTHING;
	if (n <= 0)
		return n < 0 ? PROBE_NO : full && h.fixed ? PROBE_YES : PROBE_MORE;
	if (h.flags & TTHEADER_STREAMING) {
		*said = stream_said(&h);
		return PROBE_YES;
	}
	if (!ttheader_payload_parse(bytes_from(b, (size_t)n), h.total - h.size, h.transforms, &p,
				    &need))
		return full ? PROBE_YES : PROBE_MORE;
	*said = said_by(p.type ? p.type : ttheader_head_type(&h));
	return PROBE_YES;
}

/* The client's side decides when it has spoken, whatever the server says. */
enum probe_answer ttheader_find_probe(struct bytes request, struct bytes response)
{
	enum ttheader_said said;
	enum probe_answer a = head_probe(request, &said);

	if (a == PROBE_YES && said == TTHEADER_SAID_REPLY)
		return PROBE_REVERSED;
	if (a == PROBE_YES || a == PROBE_NO || request.n)
		return a;
	a = head_probe(response, &said);
	if (a == PROBE_YES && said == TTHEADER_SAID_REQUEST)
		return PROBE_REVERSED;
	return a;
}

enum probe_answer ttheader_find_probe_late(struct bytes request, struct bytes response)
{
	enum ttheader_said said;
	size_t skip;

	if (request.n && ttheader_find(request, &probe_limits, &skip, &said) == 1)
		return said == TTHEADER_SAID_REPLY ? PROBE_REVERSED : PROBE_YES;
	if (response.n && ttheader_find(response, &probe_limits, &skip, &said) == 1)
		return said == TTHEADER_SAID_REQUEST ? PROBE_REVERSED : PROBE_YES;
	return PROBE_MORE;
}
