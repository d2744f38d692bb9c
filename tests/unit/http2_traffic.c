/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http2_traffic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#include "tests/unit/drive.h"
#include "tests/unit/drive_print.h"

#define HASH_START 0xcbf29ce484222325ull

void h2_hash(uint64_t *hash, struct bytes b)
{
	for (size_t i = 0; i < b.n; i++)
		*hash = (*hash ^ b.p[i]) * 0x100000001b3;
}

struct h2_call *h2_calls_find(struct h2_calls *c, uint32_t id)
{
	for (size_t i = c->n; i; i--)
		if (c->list[i - 1].id == id)
			return &c->list[i - 1];
	return NULL;
}

struct h2_call *h2_calls_at(struct h2_calls *c, uint32_t id)
{
	struct h2_call *call = h2_calls_find(c, id);

	if (call)
		return call;
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		MUST(c->list = realloc(c->list, c->cap * sizeof(*c->list)));
	}
	call = &c->list[c->n++];
	memset(call, 0, sizeof(*call));
	call->id = id;
	call->msg[0].hash = call->msg[1].hash = HASH_START;
	return call;
}

void h2_calls_fini(struct h2_calls *c)
{
	arena_fini(&c->arena);
	free(c->list);
	*c = (struct h2_calls) {0};
}

static void field_add(struct h2_calls *c, struct h2_block *b, struct bytes name, struct bytes value,
		      enum provenance provenance)
{
	b->seen = true;
	MUST(b->n < H2_FIELDS_MAX);
	b->f[b->n++] = (struct header) {arena_copy(&c->arena, name), arena_copy(&c->arena, value),
					provenance};
}

/* ---- the two sessions ---- */

enum { BODY_LONG = 40000, NV_MAX = 24, TEXT_MAX = 64 };

struct world;

struct peer {
	struct world *world;
	nghttp2_session *session;
	enum dir sends;
	struct h2_block block; /* that comes in */
};

struct world {
	struct h2_traffic *t;
	struct peer peer[2]; /* by what it sends */
	uint64_t seed;
	unsigned left, open; /* streams */
};

static uint32_t dice(struct world *w, uint32_t n)
{
	return drive_random(&w->seed) % n;
}

/* gRPC bodies here are whole messages shorter than 64 KiB: what is not prefix. */
static void body_truth(struct h2_call *c, enum dir dir, struct bytes b)
{
	struct h2_message *m = &c->msg[dir];

	if (!c->grpc) {
		h2_hash(&m->hash, b);
		m->bytes += b.n;
		return;
	}
	for (size_t i = 0; i < b.n; i++) {
		if (c->inside[dir]) {
			h2_hash(&m->hash, bytes_of(b.p + i, 1));
			m->bytes++;
			m->messages += --c->inside[dir] == 0;
			continue;
		}
		c->prefix[dir][c->have[dir]++] = b.p[i];
		if (c->have[dir] < 5)
			continue;
		c->have[dir] = 0;
		c->inside[dir] = (uint64_t)c->prefix[dir][3] << 8 | c->prefix[dir][4];
		m->messages += c->inside[dir] == 0;
	}
}

static int on_begin(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	(void)s, (void)frame;
	((struct peer *)user)->block.n = 0;
	return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t n,
		     const uint8_t *value, size_t vn, uint8_t flags, void *user)
{
	struct peer *p = user;

	(void)s, (void)frame, (void)flags;
	field_add(&p->world->t->truth, &p->block, bytes_of(name, n), bytes_of(value, vn),
		  PROVENANCE_LITERAL);
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
		   void *user)
{
	struct peer *p = user;

	(void)s, (void)flags;
	body_truth(h2_calls_at(&p->world->t->truth, (uint32_t)id), !p->sends, bytes_of(data, n));
	return 0;
}

static void block_truth(const struct h2_traffic *t, struct h2_call *c, enum dir dir,
			const struct h2_block *b)
{
	struct h2_message *m = &c->msg[dir];

	if (dir == DIR_REQUEST && !m->head.seen)
		c->opened = t->n - 1;
	bool status = b->n && bytes_eq(b->f[0].name, BYTES(":status"));

	if (status && b->f[0].value.p[0] == '1')
		c->interims++;
	else if (!m->head.seen)
		m->head = *b;
	else
		m->trailers = *b;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	struct peer *p = user;
	struct h2_calls *truth = &p->world->t->truth;
	enum dir dir = !p->sends;

	(void)s;
	if (frame->hd.type == NGHTTP2_PUSH_PROMISE) {
		struct h2_call *c =
			h2_calls_at(truth, (uint32_t)frame->push_promise.promised_stream_id);
		block_truth(p->world->t, c, DIR_REQUEST, &p->block);
		c->msg[DIR_REQUEST].ended = true;
	}
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		struct h2_call *c = h2_calls_at(truth, (uint32_t)frame->hd.stream_id);
		if (!c->reset && (!c->msg[0].ended || !c->msg[1].ended)) {
			c->reset = true;
			c->rst_code = frame->rst_stream.error_code;
		}
	}
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	struct h2_call *c = h2_calls_at(truth, (uint32_t)frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_HEADERS) {
		c->waits |= dir == DIR_REQUEST && !c->msg[dir].head.seen;
		block_truth(p->world->t, c, dir, &p->block);
	}
	c->msg[dir].ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	struct peer *p = user;

	(void)s, (void)id, (void)code;
	p->world->open -= p->sends == DIR_REQUEST && id % 2;
	return 0;
}

static ssize_t pad(nghttp2_session *s, const nghttp2_frame *frame, size_t max, void *user)
{
	struct world *w = ((struct peer *)user)->world;
	size_t more = dice(w, 4) ? 0 : dice(w, 256);

	(void)s;
	return (ssize_t)(frame->hd.length + more < max ? frame->hd.length + more : max);
}

static ssize_t body_read(nghttp2_session *s, int32_t id, uint8_t *out, size_t n, uint32_t *flags,
			 nghttp2_data_source *source, void *user)
{
	struct peer *p = user;
	struct h2_call *c = h2_calls_at(&p->world->t->truth, (uint32_t)id);
	struct bytes left = bytes_from(buf_bytes(&c->body[p->sends]), c->sent[p->sends]);
	size_t want = dice(p->world, 3) ? n : 1 + dice(p->world, 600);

	(void)source;
	left = bytes_head(left, want < n ? want : n);
	if (left.n)
		memcpy(out, left.p, left.n);
	c->sent[p->sends] += left.n;
	if (c->sent[p->sends] < c->body[p->sends].n)
		return (ssize_t)left.n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (c->trailing[p->sends]) {
		const char *status = c->grpc ? (id % 3 ? "0" : "5") : "1";
		nghttp2_nv nv[] = {{(uint8_t *)(c->grpc ? "grpc-status" : "x-checksum"),
				    (uint8_t *)status, c->grpc ? 11 : 10, 1, 0}};
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		MUST(nghttp2_submit_trailer(s, id, nv, 1) == 0);
	}
	return (ssize_t)left.n;
}

/* ---- what they say ---- */

struct words {
	nghttp2_nv nv[NV_MAX];
	size_t n;
	char text[NV_MAX][TEXT_MAX];
	char *longs;
};

static void say(struct words *h, const char *name, const char *value)
{
	h->nv[h->n++] =
		(nghttp2_nv) {(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static void sayf(struct words *h, const char *name, const char *fmt, unsigned v)
{
	snprintf(h->text[h->n], TEXT_MAX, fmt, v);
	say(h, name, h->text[h->n]);
}

static void say_more(struct world *w, struct words *h)
{
	static const char *const names[] = {"x-a", "x-b", "x-request-id", "user-agent", "cookie"};

	for (uint32_t i = dice(w, 6); i; i--)
		sayf(h, names[dice(w, 5)], "value-%u", dice(w, 3) ? dice(w, 8) : dice(w, 100000));
	if (dice(w, 24) == 0) { /* CONTINUATION */
		size_t n = 17000 + dice(w, 20000);
		MUST(h->longs = malloc(n + 1));
		memset(h->longs, '~', n);
		h->longs[n] = 0;
		say(h, "x-long", h->longs);
	}
}

static void body_make(struct world *w, struct h2_call *c, enum dir dir)
{
	uint8_t b[600];

	for (uint32_t i = dice(w, 4); i; i--) {
		size_t n = dice(w, sizeof(b)),
		       times = 1 + (dice(w, 10) ? 0 : dice(w, BODY_LONG / 600));
		for (size_t k = 0; k < n; k++)
			b[k] = dice(w, 8) ? (uint8_t)drive_random(&w->seed) : 0;
		size_t whole = n * times;
		const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(whole >> 8), (uint8_t)whole};
		if (c->grpc)
			MUST(buf_append(&c->body[dir], bytes_of(prefix, 5)) == 0);
		for (size_t k = 0; k < times; k++)
			MUST(buf_append(&c->body[dir], bytes_of(b, n)) == 0);
	}
}

static void request_make(struct world *w)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "POST"};
	struct words h = {0};
	bool grpc = dice(w, 3) == 0, body = grpc || dice(w, 2);
	const nghttp2_data_provider source = {.read_callback = body_read};
	nghttp2_session *s = w->peer[DIR_REQUEST].session;

	say(&h, ":method", grpc ? "POST" : methods[dice(w, 4)]);
	say(&h, ":scheme", "http");
	sayf(&h, ":path", grpc ? "/demo.Shop/M%u" : "/path/%u",
	     dice(w, 3) ? dice(w, 5) : dice(w, 1000));
	sayf(&h, ":authority", "host%u:80", dice(w, 3));
	if (grpc) {
		say(&h, "content-type", "application/grpc");
		say(&h, "te", "trailers");
		if (dice(w, 2))
			sayf(&h, "grpc-timeout", "%um", dice(w, 1000));
	} else if (dice(w, 2)) {
		say(&h, "content-type", dice(w, 2) ? "application/json" : "text/plain");
	}
	say_more(w, &h);
	int32_t id = nghttp2_submit_request(s, NULL, h.nv, h.n, body ? &source : NULL, NULL);
	free(h.longs);
	MUST(id > 0);
	struct h2_call *c = h2_calls_at(&w->t->truth, (uint32_t)id);
	c->grpc = grpc;
	c->trailing[DIR_REQUEST] = !grpc && dice(w, 6) == 0;
	if (body)
		body_make(w, c, DIR_REQUEST);
	w->left--;
	w->open++;
}

static void push_make(struct world *w, int32_t on)
{
	struct words h = {0};

	say(&h, ":method", "GET");
	say(&h, ":scheme", "http");
	sayf(&h, ":path", "/pushed/%u", dice(w, 100));
	say(&h, ":authority", "host1:80");
	int32_t id =
		nghttp2_submit_push_promise(w->peer[DIR_RESPONSE].session, 0, on, h.nv, h.n, NULL);
	if (id > 0)
		h2_calls_at(&w->t->truth, (uint32_t)id)->waits = true;
}

static void response_make(struct world *w, uint32_t id)
{
	static const char *const statuses[] = {"200", "200", "200", "204", "404", "500", "418"};
	const nghttp2_data_provider source = {.read_callback = body_read};
	nghttp2_session *s = w->peer[DIR_RESPONSE].session;
	struct h2_call *c = h2_calls_at(&w->t->truth, id);
	struct words h = {0};
	bool only = c->grpc && dice(w, 6) == 0;
	nghttp2_nv early = {(uint8_t *)":status", (uint8_t *)"103", 7, 3, 0};

	c->waits = false;
	if (dice(w, 8) == 0)
		MUST(nghttp2_submit_headers(s, 0, (int32_t)id, NULL, &early, 1, NULL) == 0);
	const char *status = c->grpc ? "200" : statuses[dice(w, 7)];
	bool empty = strcmp(status, "204") == 0;
	say(&h, ":status", status);
	if (c->grpc || dice(w, 2))
		say(&h, "content-type", c->grpc ? "application/grpc" : "application/json");
	say_more(w, &h);
	if (only)
		sayf(&h, "grpc-status", "%u", dice(w, 17));
	else if (!empty)
		body_make(w, c, DIR_RESPONSE);
	c->trailing[DIR_RESPONSE] = c->grpc || (!empty && dice(w, 6) == 0);
	bool body = !only && (c->trailing[DIR_RESPONSE] || c->body[DIR_RESPONSE].n);
	int r = nghttp2_submit_response(s, (int32_t)id, h.nv, h.n, body ? &source : NULL);
	free(h.longs);
	MUST(r == 0);
}

/* One frame or so of this peer, on the wire and to the other. False: it has nothing to say. */
static bool peer_send(struct world *w, enum dir dir)
{
	struct h2_traffic *t = w->t;
	const uint8_t *p;
	ssize_t n = nghttp2_session_mem_send(w->peer[dir].session, &p);

	MUST(n >= 0);
	if (n == 0)
		return false;
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 256;
		MUST(t->segments = realloc(t->segments, t->cap * sizeof(*t->segments)));
	}
	t->segments[t->n++] = (struct h2_segment) {dir, t->bytes.n, (size_t)n};
	MUST(buf_append(&t->bytes, bytes_of(p, (size_t)n)) == 0);
	MUST(nghttp2_session_mem_recv(w->peer[!dir].session, t->bytes.p + t->bytes.n - n,
				      (size_t)n) == n);
	return true;
}

static void settings_make(struct world *w, enum dir dir)
{
	static const uint32_t sizes[] = {0, 256, 4096, 4096, 16384, 65536};
	nghttp2_settings_entry e[] = {
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, sizes[dice(w, 6)]},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384 + dice(w, 20000)},
	};

	MUST(nghttp2_submit_settings(w->peer[dir].session, 0, e, 2) == 0);
}

/* Some answer, push or reset, for streams in any state */
static void server_act(struct world *w)
{
	struct h2_calls *truth = &w->t->truth;

	for (size_t i = 0; i < truth->n; i++) {
		struct h2_call *c = &truth->list[i];
		uint32_t id = c->id;
		if (!c->waits || dice(w, 3))
			continue;
		if (id % 2 && dice(w, 20) == 0)
			push_make(w, (int32_t)id);
		else
			response_make(w, id);
	}
	if (truth->n && dice(w, 40) == 0) {
		uint32_t id = truth->list[dice(w, (uint32_t)truth->n)].id;
		enum dir dir = dice(w, 2);
		if (h2_calls_find(truth, id)->msg[DIR_REQUEST].head.seen)
			nghttp2_submit_rst_stream(w->peer[dir].session, 0, (int32_t)id,
						  dice(w, 2) ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
		while (peer_send(w, dir)) /* once it is queued the session no longer listens */
			;
	}
	if (dice(w, 30) == 0)
		settings_make(w, dice(w, 2));
	if (dice(w, 20) == 0)
		nghttp2_submit_ping(w->peer[dice(w, 2)].session, 0, NULL);
}

static void peer_open(struct world *w, enum dir sends)
{
	struct peer *p = &w->peer[sends];
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	*p = (struct peer) {.world = w, .sends = sends};
	MUST(nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&option) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_select_padding_callback(cb, pad);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, 65536);
	if (sends == DIR_REQUEST)
		MUST(nghttp2_session_client_new2(&p->session, cb, p, option) == 0);
	else
		MUST(nghttp2_session_server_new2(&p->session, cb, p, option) == 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	settings_make(w, sends);
}

void h2_traffic_make(struct h2_traffic *t, unsigned streams, uint64_t seed)
{
	struct world w = {
		.t = t, .seed = seed * 2654435761u + 88172645463325252ull, .left = streams};

	*t = (struct h2_traffic) {0};
	peer_open(&w, DIR_REQUEST);
	peer_open(&w, DIR_RESPONSE);
	for (unsigned idle = 0; idle < 200; idle++) {
		if (w.left && w.open < 24 && dice(&w, 2))
			request_make(&w);
		server_act(&w);
		for (unsigned k = 1 + dice(&w, 4); k; k--)
			if (peer_send(&w, dice(&w, 2)))
				idle = 0;
		if (idle > 20 && !w.left && !w.open)
			break;
	}
	while (peer_send(&w, DIR_REQUEST) || peer_send(&w, DIR_RESPONSE))
		;
	nghttp2_session_del(w.peer[0].session);
	nghttp2_session_del(w.peer[1].session);
	for (size_t i = 0; i < t->truth.n; i++)
		for (int d = 0; d < 2; d++)
			buf_fini(&t->truth.list[i].body[d]);
}

void h2_traffic_fini(struct h2_traffic *t)
{
	buf_fini(&t->bytes);
	free(t->segments);
	h2_calls_fini(&t->truth);
	*t = (struct h2_traffic) {0};
}
