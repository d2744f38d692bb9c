/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0 and 1.1 (RFC 9112): framing of both directions of a connection. Heads are read by
 * rpc/http1_head.c, which lists the decisions about strictness.
 *
 * What the method of a request means for its reply (HEAD, CONNECT, Upgrade) waits in a FIFO
 * (rpc/http1_pending.h); beyond its cap the kind of a reply is unknown.
 *
 * A request with Upgrade or CONNECT is a gate: its direction stops behind it until the final response says
 * whether HTTP goes on.
 *
 * After a late join or a loss the FIFO is a guess (`uncertain`, for the rest of the connection). Then a reply
 * to HEAD could be read as one with a body, or the other way round. So, while uncertain:
 *  - a direction that does not stand before a message as it should is out of step (-EPROTO, flags 0), no
 *    protocol error;
 *  - a body that begins with "HTTP/1." is taken for the next head: out of step as well, since nothing tells
 *    which it is;
 *  - a reply without a known request and with a body carries the attribute body_framing=assumed.
 * What is not known is never framed silently.
 */
#include <errno.h>

#include "rpc/http1_body.h"
#include "rpc/http1_head.h"
#include "rpc/http1_pending.h"
#include "rpc/protocols.h"

/* The request goes on as this one, half closed by the client (RFC 7540 3.2). */
enum { HTTP1_H2C_STREAM = 1 };

enum phase {
	PHASE_HEAD, /* before a message */
	PHASE_CHECK, /* before a body that could be the next head; then PHASE_LENGTH or PHASE_CLOSE */
	PHASE_LENGTH,
	PHASE_CLOSE,
	PHASE_CHUNK_SIZE,
	PHASE_CHUNK_DATA,
	PHASE_CHUNK_CRLF,
	PHASE_TRAILER,
	PHASE_OWED_END, /* the body's end was lost, the END is due */
	PHASE_GATE, /* waits for the response */
	PHASE_BAD, /* not HTTP any more: side.flags */
	PHASE_LOST, /* out of step: resync() */
	PHASE_SWITCH,
	PHASE_ENDED,
};

struct side {
	uint64_t left; /* of the body or the chunk */
	uint64_t missing; /* body bytes lost and not yet told */
	struct http1_scan scan;
	uint16_t flags;
	uint8_t phase, after_check;
	bool waiting; /* PHASE_CHECK has seen body bytes that it did not take */
};

struct http1 {
	struct side side[2];
	uint32_t header_bytes;
	uint16_t header_count;
	bool uncertain;
	bool gated; /* the last request pending decides whether HTTP goes on */
	bool switched, h2c; /* it does not; what follows is HTTP/2 */
	bool interim_seen; /* the server's last words were 1xx, so a body may follow */
	struct http1_pending pending;
};

/* ---- what ends a message, or the reading ---- */

static void side_finish(struct http1 *c, enum dir dir)
{
	struct side *s = &c->side[dir];

	if (c->switched)
		s->phase = PHASE_SWITCH;
	else
		s->phase = dir == DIR_REQUEST && c->gated ? PHASE_GATE : PHASE_HEAD;
}

static void side_lose(struct http1 *c, enum dir dir)
{
	c->side[dir] = (struct side) {.phase = PHASE_LOST};
	c->uncertain = true;
	c->gated = false;
	if (dir == DIR_RESPONSE)
		c->interim_seen = false;
}

static int64_t side_bad(struct http1 *c, enum dir dir, unsigned flags, struct piece *out)
{
	c->side[dir].phase = PHASE_BAD;
	c->side[dir].flags = (uint16_t)flags;
	out->what = 0;
	out->flags = flags;
	return -EPROTO;
}

static int64_t side_lost(struct http1 *c, enum dir dir, struct piece *out)
{
	side_lose(c, dir);
	out->what = 0;
	out->flags = 0;
	return -EPROTO;
}

static int64_t side_switch(const struct http1 *c, struct piece *out)
{
	out->what = PIECE_SWITCH;
	out->to = c->h2c ? &framer_http2 : &framer_opaque;
	out->corr = c->h2c ? HTTP1_H2C_STREAM : 0;
	return 0;
}

static void end_give(struct http1 *c, enum dir dir, struct piece *out)
{
	out->what |= PIECE_END;
	side_finish(c, dir);
}

/* ---- bodies ---- */

static void missing_tell(struct side *s, struct piece *out)
{
	out->missing = s->missing;
	s->missing = 0;
}

static size_t body_run(struct side *s, struct bytes in, struct piece *out)
{
	out->what |= PIECE_BODY;
	out->body = s->phase == PHASE_CLOSE ? in : bytes_head(in, s->left);
	if (s->phase != PHASE_CLOSE)
		s->left -= out->body.n;
	missing_tell(s, out);
	return out->body.n;
}

static int64_t body_length(struct http1 *c, enum dir dir, struct bytes in, struct piece *out)
{
	struct side *s = &c->side[dir];

	if (in.n == 0)
		return 0;
	size_t n = body_run(s, in, out);
	if (s->phase == PHASE_LENGTH && s->left == 0)
		end_give(c, dir, out);
	return (int64_t)n;
}

static int64_t body_chunk_data(struct side *s, struct bytes in, struct piece *out)
{
	if (in.n == 0)
		return 0;
	size_t n = body_run(s, in, out);
	if (s->left == 0)
		s->phase = PHASE_CHUNK_CRLF;
	return (int64_t)n;
}

static int64_t body_chunk_size(struct http1 *c, enum dir dir, struct bytes in, struct piece *out)
{
	struct side *s = &c->side[dir];
	int64_t n = http1_body_chunk(in, &s->scan.seen, &s->left);

	if (n < 0 && c->uncertain && bytes_starts(in, BYTES("HTTP/1.")))
		return side_lost(c, dir, out);
	if (n < 0)
		return side_bad(c, dir, FLAG_PROTOCOL_ERROR, out);
	if (n == 0)
		return 0;
	s->scan = (struct http1_scan) {0};
	s->phase = s->left ? PHASE_CHUNK_DATA : PHASE_TRAILER;
	if (s->left)
		n += body_chunk_data(s, bytes_from(in, (size_t)n), out);
	return n;
}

static int64_t body_chunk_crlf(struct http1 *c, enum dir dir, struct bytes in, struct piece *out,
			       size_t *need)
{
	*need = 2;
	if (in.n && !bytes_starts(BYTES("\r\n"), bytes_head(in, 2)))
		return side_bad(c, dir, FLAG_PROTOCOL_ERROR, out);
	if (in.n < 2)
		return 0;
	c->side[dir].phase = PHASE_CHUNK_SIZE;
	return 2;
}

static int64_t parse(struct http1 *c, enum dir dir, enum http1_kind kind, struct bytes in,
		     struct http1_head *h)
{
	const struct framer_limits limits = {.header_bytes = c->header_bytes,
					     .header_count = c->header_count};

	return http1_head_parse(h, kind, in, &limits, &c->side[dir].scan);
}

static int64_t body_trailer(struct http1 *c, enum dir dir, struct bytes in, struct piece *out)
{
	struct http1_head h;
	int64_t n = parse(c, dir, HTTP1_TRAILER, in, &h);

	if (n < 0)
		return side_bad(c, dir, h.flags, out);
	if (n == 0)
		return 0;
	out->head.headers = h.fields;
	out->head.n_headers = h.n_fields;
	missing_tell(&c->side[dir], out);
	if (out->missing)
		out->what = PIECE_BODY;
	end_give(c, dir, out);
	return n;
}

/* Is the body that should begin here rather the next head? Asked only while uncertain. */
static int64_t body_check(struct http1 *c, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	const struct bytes start = BYTES("HTTP/1.");
	struct side *s = &c->side[dir];
	size_t want = s->after_check == PHASE_LENGTH && s->left < start.n ? s->left : start.n;
	struct bytes begun = bytes_head(in, want);

	if (in.n && !bytes_starts(start, begun)) {
		s->phase = s->after_check;
		s->waiting = false;
		return body_length(c, dir, in, out);
	}
	*need = want;
	s->waiting = in.n > 0;
	return in.n < want ? 0 : side_lost(c, dir, out);
}

/* ---- heads ---- */

/* The body that `framing` tells begins behind the head: as much of it as is here goes along. */
static int64_t head_give(struct http1 *c, enum dir dir, enum http1_framing framing, uint64_t length,
			 struct bytes in, size_t head, struct piece *out)
{
	static const uint8_t phases[] = {[HTTP1_LENGTH] = PHASE_LENGTH,
					 [HTTP1_CHUNKED] = PHASE_CHUNK_SIZE,
					 [HTTP1_CLOSE] = PHASE_CLOSE};
	struct side *s = &c->side[dir];

	out->what = PIECE_HEAD;
	if (framing == HTTP1_NO_BODY) {
		end_give(c, dir, out);
		return (int64_t)head;
	}
	s->left = length;
	s->phase = phases[framing];
	if (c->uncertain && dir == DIR_RESPONSE && framing != HTTP1_CHUNKED) {
		s->after_check = s->phase;
		s->phase = PHASE_CHECK;
	} else if (framing == HTTP1_LENGTH) {
		return (int64_t)head + body_length(c, dir, bytes_from(in, head), out);
	}
	return (int64_t)head;
}

/* A wrong head whose start line is right is given out with its flags; the error itself comes next. */
static int64_t head_wrong(struct http1 *c, enum dir dir, const struct http1_head *h,
			  struct piece *out)
{
	side_bad(c, dir, h->flags, out);
	out->head.outcome = OUTCOME_UNKNOWN;
	out->what = PIECE_HEAD;
	return 0;
}

static uint8_t kind_of(const struct http1_head *h)
{
	if (bytes_eq(h->method, BYTES("CONNECT")))
		return HTTP1_KIND_CONNECT;
	return (bytes_eq(h->method, BYTES("HEAD")) ? HTTP1_KIND_HEAD : 0) |
	       (h->upgrade && h->minor > 0 ? HTTP1_KIND_UPGRADE : 0);
}

static int64_t request_head(struct http1 *c, struct bytes in, struct piece *out)
{
	const struct bytes empty = BYTES("\r\n");
	struct http1_head h;

	if (bytes_starts(in, empty)) { /* RFC 9112 section 2.2 */
		out->what = PIECE_CONTROL;
		return 2;
	}
	if (in.n == 1 && in.p[0] == '\r')
		return 0;
	int64_t n = parse(c, DIR_REQUEST, HTTP1_REQUEST, in, &h);
	if (n == 0)
		return 0;
	if (n < 0 && !h.started)
		return c->uncertain ? side_lost(c, DIR_REQUEST, out)
				    : side_bad(c, DIR_REQUEST, h.flags, out);
	out->head.method = h.method;
	out->head.path = h.target;
	out->head.service = http1_head_service(&h);
	out->head.headers = h.fields;
	out->head.n_headers = h.n_fields;
	uint8_t kind = kind_of(&h);
	bool kept = http1_pending_push(&c->pending, kind);
	c->uncertain |= !kept;
	if (n < 0)
		return head_wrong(c, DIR_REQUEST, &h, out);
	out->flags = h.compressed ? FLAG_COMPRESSED : 0;
	c->gated = kept && (kind & (HTTP1_KIND_CONNECT | HTTP1_KIND_UPGRADE)) != 0;
	return head_give(c, DIR_REQUEST, h.framing, h.length, in, (size_t)n, out);
}

static enum outcome outcome_of(unsigned status)
{
	if (status < 400)
		return OUTCOME_OK;
	return status < 500 ? OUTCOME_CLIENT_ERROR : OUTCOME_SERVER_ERROR;
}

/* The connection is HTTP no longer, once both directions stand behind their messages. */
static void switch_on(struct http1 *c, bool h2c)
{
	struct side *request = &c->side[DIR_REQUEST];

	c->switched = true;
	c->h2c = h2c;
	c->gated = false;
	if (request->phase == PHASE_GATE || request->phase == PHASE_HEAD ||
	    request->phase == PHASE_LOST)
		request->phase = PHASE_SWITCH;
}

/* A final response: what kind of request it answers decides whether it has a body (RFC 9112 6.3). */
static int64_t response_final(struct http1 *c, struct http1_head *h, struct bytes in, size_t n,
			      struct piece *out)
{
	static const struct attribute assumed = {"body_framing", BYTES("assumed")};
	uint8_t kind = http1_pending_pop(&c->pending);
	enum http1_framing framing = h->framing;

	c->interim_seen = false;
	out->head.outcome = outcome_of(h->status);
	out->flags = h->compressed ? FLAG_COMPRESSED : 0;
	if (h->status == 101 && !(kind & (HTTP1_KIND_UPGRADE | HTTP1_KIND_UNKNOWN))) {
		h->flags = FLAG_PROTOCOL_ERROR; /* nobody asked (RFC 9110 15.2.2) */
		return head_wrong(c, DIR_RESPONSE, h, out);
	}
	bool h2c = h->status == 101 && h->upgrade_h2c;
	if (h->status == 101 || ((kind & HTTP1_KIND_CONNECT) && h->status / 100 == 2))
		switch_on(c, h2c);
	else if (kind & (HTTP1_KIND_CONNECT | HTTP1_KIND_UPGRADE))
		c->gated = false;
	if (h2c) { /* the final response comes in HTTP/2 */
		out->what = PIECE_INTERIM;
		out->flags = 0;
		out->head.outcome = OUTCOME_UNKNOWN;
		side_finish(c, DIR_RESPONSE);
		return (int64_t)n;
	}
	if (c->switched || (kind & HTTP1_KIND_HEAD) || h->status == 204 || h->status == 304) {
		framing = HTTP1_NO_BODY;
	} else if ((kind & HTTP1_KIND_UNKNOWN) && framing != HTTP1_NO_BODY && c->uncertain) {
		out->head.attributes = &assumed;
		out->head.n_attributes = 1;
	}
	return head_give(c, DIR_RESPONSE, framing, h->length, in, n, out);
}

static int64_t response_head(struct http1 *c, struct bytes in, struct piece *out)
{
	struct http1_head h;
	int64_t n = parse(c, DIR_RESPONSE, HTTP1_RESPONSE, in, &h);

	if (n == 0)
		return 0;
	if (n < 0 && !h.started)
		return c->uncertain ? side_lost(c, DIR_RESPONSE, out)
				    : side_bad(c, DIR_RESPONSE, h.flags, out);
	out->head.status = h.status;
	out->head.has_status = true;
	out->head.status_text = h.reason;
	out->head.headers = h.fields;
	out->head.n_headers = h.n_fields;
	if (n < 0)
		return head_wrong(c, DIR_RESPONSE, &h, out);
	if (h.status < 200 && h.status != 101) {
		out->what = PIECE_INTERIM;
		c->interim_seen = true;
		return n;
	}
	return response_final(c, &h, in, (size_t)n, out);
}

/* ---- the table ---- */

/*
 * A request line on the client's side is enough, whatever the server says: the answer must not depend on which
 * of the two was read first.
 */
static enum probe_answer http1_probe(struct bytes request, struct bytes response)
{
	enum probe_answer q = http1_head_probe_request(request);

	if (q != PROBE_NO)
		return q;
	q = http1_head_probe_request(response);
	enum probe_answer r = http1_head_probe_response(request);
	if (q == PROBE_NO || r == PROBE_NO)
		return PROBE_NO;
	return q == PROBE_YES && r == PROBE_YES ? PROBE_REVERSED : PROBE_MORE;
}

static int http1_init(void *state, const struct framer_limits *limits, bool late)
{
	struct http1 *c = state;

	c->header_bytes =
		limits->header_bytes < UINT32_MAX ? (uint32_t)limits->header_bytes : UINT32_MAX;
	c->header_count = limits->header_count < HTTP1_FIELDS_MAX ? (uint16_t)limits->header_count
								  : HTTP1_FIELDS_MAX;
	http1_pending_init(&c->pending);
	if (late) {
		side_lose(c, DIR_REQUEST);
		side_lose(c, DIR_RESPONSE);
	}
	return 0;
}

static int64_t http1_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	struct http1 *c = state;
	struct side *s = &c->side[dir];

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (s->phase == PHASE_GATE && !c->gated)
		side_finish(c, dir);
	switch ((enum phase)s->phase) {
	case PHASE_HEAD:
		return dir == DIR_REQUEST ? request_head(c, in, out) : response_head(c, in, out);
	case PHASE_CHECK: return body_check(c, dir, in, out, need);
	case PHASE_LENGTH:
	case PHASE_CLOSE: return body_length(c, dir, in, out);
	case PHASE_CHUNK_SIZE: return body_chunk_size(c, dir, in, out);
	case PHASE_CHUNK_DATA: return body_chunk_data(s, in, out);
	case PHASE_CHUNK_CRLF: return body_chunk_crlf(c, dir, in, out, need);
	case PHASE_TRAILER: return body_trailer(c, dir, in, out);
	case PHASE_OWED_END:
		out->what = PIECE_BODY;
		missing_tell(s, out);
		end_give(c, dir, out);
		return 0;
	case PHASE_BAD: return side_bad(c, dir, s->flags, out);
	case PHASE_LOST: out->flags = 0; return -EPROTO;
	case PHASE_SWITCH: return side_switch(c, out);
	case PHASE_GATE:
	case PHASE_ENDED: break;
	}
	return 0;
}

static int http1_gap(void *state, enum dir dir, uint64_t n)
{
	struct http1 *c = state;
	struct side *s = &c->side[dir];
	uint8_t phase = s->phase == PHASE_CHECK && !s->waiting ? s->after_check : s->phase;

	if (phase == PHASE_SWITCH || phase == PHASE_BAD || phase == PHASE_ENDED)
		return 0;
	if (phase != PHASE_CLOSE &&
	    !((phase == PHASE_LENGTH || phase == PHASE_CHUNK_DATA) && n <= s->left)) {
		side_lose(c, dir);
		return -EPROTO;
	}
	s->phase = phase;
	s->missing += n;
	if (phase == PHASE_CLOSE)
		return 0;
	s->left -= n;
	if (s->left == 0)
		s->phase = phase == PHASE_LENGTH ? PHASE_OWED_END : PHASE_CHUNK_CRLF;
	return 0;
}

/* HTTP/2 begins with it (RFC 9113 3.4). *skip: bytes before it, or those that cannot belong to one. */
static bool preface_find(struct bytes in, size_t *skip)
{
	const struct bytes preface = BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	const uint8_t *at = in.n ? memmem(in.p, in.n, preface.p, preface.n) : NULL;

	*skip = at ? (size_t)(at - in.p) : in.n < preface.n ? 0 : in.n - preface.n + 1;
	return at != NULL;
}

/*
 * A request is looked for only where a sender's segment began and the server had spoken before, and not behind a
 * 1xx, which a body would follow. A response only in such a place too, and when the request that it may
 * answer is known: without its method HEAD could not be told. Both by a whole and right head. Requests still
 * pending then are taken for answered, or lost, but for those that RESYNC_ASKED tells of; else but for the newest.
 */
static int http1_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	const unsigned both = RESYNC_SEGMENT_START | RESYNC_TURN;
	const struct bytes interim = BYTES("HTTP/1.1 1");
	struct http1 *c = state;
	struct http1_head h;

	*skip = 0;
	if (c->switched && !(c->h2c && dir == DIR_REQUEST && !preface_find(in, skip))) {
		c->side[dir].phase = PHASE_SWITCH;
		return 1;
	}
	if (c->switched)
		return 0;
	if (in.n == 0)
		return 0;
	bool turn = (hints & both) == both;
	uint32_t asked = hints >> RESYNC_ASKED ? (hints >> RESYNC_ASKED) - 1 : 1;
	if (asked > c->pending.n)
		asked = c->pending.n;
	if (dir == DIR_RESPONSE && turn) {
		if (in.n < interim.n && bytes_starts(interim, in))
			return 0;
		c->interim_seen = bytes_starts(in, interim);
	}
	bool possible = turn && (dir == DIR_REQUEST ? !c->interim_seen : asked > 0);
	int64_t n = possible ? parse(c, dir, dir == DIR_REQUEST ? HTTP1_REQUEST : HTTP1_RESPONSE,
				     in, &h)
			     : -EPROTO;
	if (n == 0)
		return 0;
	if (n > 0 && dir == DIR_REQUEST && !http1_method_known(h.method))
		n = -EPROTO;
	c->side[dir].scan = (struct http1_scan) {0};
	if (n < 0) {
		*skip = in.n;
		return 0;
	}
	c->side[dir] = (struct side) {.phase = PHASE_HEAD};
	http1_pending_forget(&c->pending, dir == DIR_REQUEST ? 0 : asked);
	return 1;
}

static void http1_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct http1 *c = state;
	struct side *s = &c->side[dir];
	uint8_t phase = s->phase == PHASE_CHECK && !s->waiting ? s->after_check : s->phase;

	*out = (struct piece) {.dir = dir};
	if (phase == PHASE_OWED_END || (phase == PHASE_CLOSE && how == END_FIN))
		out->what = PIECE_END;
	else if (phase >= PHASE_CHECK && phase <= PHASE_TRAILER)
		out->what = PIECE_ABORT;
	missing_tell(s, out);
	s->phase = PHASE_ENDED;
}

static void http1_fini(void *state)
{
	http1_pending_fini(&((struct http1 *)state)->pending);
}

const struct framer_ops framer_http1 = {
	.name = "http1",
	.state_size = sizeof(struct http1),
	.pairing = PAIRING_FIFO,
	.skips_bodies = true,
	.probe = http1_probe,
	.init = http1_init,
	.next = http1_next,
	.gap = http1_gap,
	.resync = http1_resync,
	.end = http1_end,
	.fini = http1_fini,
};
