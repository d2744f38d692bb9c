/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "rpc/protocols.h"
#include "tests/unit/drive_print.h"
#include "tests/unit/http2_traffic.h"

static void block_take(struct h2_calls *c, struct h2_block *b, const struct head *h)
{
	b->seen = true;
	for (size_t i = 0; i < h->n_headers && b->n < H2_FIELDS_MAX; i++)
		b->f[b->n++] = (struct header) {arena_copy(&c->arena, h->headers[i].name),
						arena_copy(&c->arena, h->headers[i].value),
						h->headers[i].provenance};
}

static void set(struct h2_calls *c, struct bytes *to, struct bytes v)
{
	if (v.n && !to->n)
		*to = arena_copy(&c->arena, v);
}

static void unknown_add(struct h2_calls *c, struct h2_call *call, const struct head *h)
{
	for (size_t i = 0; i < h->n_attributes; i++) {
		struct bytes v = h->attributes[i].value, old = call->unknown;
		if (strcmp(h->attributes[i].name, "rst_code") == 0)
			call->rst_code = (uint32_t)strtoul((const char *)v.p, NULL, 10);
		if (strcmp(h->attributes[i].name, "unknown") != 0)
			continue;
		uint8_t *p = arena_alloc(&c->arena, old.n + 1 + v.n);
		MUST(p);
		if (old.n)
			memcpy(p, old.p, old.n);
		p[old.n] = ',';
		memcpy(p + old.n + 1, v.p, v.n);
		call->unknown = bytes_of(p, old.n + 1 + v.n);
	}
}

static void head_take(struct h2_calls *c, struct h2_call *call, const struct head *h)
{
	set(c, &call->service, h->service);
	set(c, &call->method, h->method);
	set(c, &call->path, h->path);
	set(c, &call->text, h->status_text);
	if (h->protocol)
		call->protocol = h->protocol;
	if (h->has_status) {
		call->status = h->status;
		call->has_status = true;
	}
	if (h->outcome)
		call->outcome = h->outcome;
	unknown_add(c, call, h);
}

static void piece_take(struct h2_reader *r, const struct piece *p)
{
	struct h2_calls *c = &r->got;

	r->caps += p->cap != NULL;
	if (!p->what || p->what & PIECE_CONTROL)
		return;
	struct h2_call *call = h2_calls_at(c, (uint32_t)p->corr);
	struct h2_message *m = &call->msg[p->dir];
	if (p->what & PIECE_INTERIM) {
		call->interims++;
		return;
	}
	call->flags |= p->flags;
	if (!(p->what & PIECE_INTERIM))
		head_take(c, call, &p->head);
	if (p->what & PIECE_HEAD)
		block_take(c, &m->head, &p->head);
	else if (p->what & PIECE_END && p->head.n_headers)
		block_take(c, &m->trailers, &p->head);
	h2_hash(&m->hash, p->body);
	m->bytes += p->body.n;
	m->missing += p->missing;
	m->messages += (p->what & PIECE_MESSAGE) != 0;
	m->ended |= (p->what & PIECE_END) != 0;
	if (p->what & PIECE_BOTH)
		call->reset = call->msg[0].cut = call->msg[1].cut = true;
	else
		m->cut |= (p->what & PIECE_ABORT) != 0;
}

/* As capture/call.c: what was open in this direction is given up. */
static void side_lost(struct h2_reader *r, enum dir dir)
{
	r->lost[dir] = true;
	for (size_t i = 0; i < r->got.n; i++) {
		struct h2_message *m = &r->got.list[i].msg[dir];
		m->cut |= m->head.seen && !m->ended;
	}
}

static bool side_next(struct h2_reader *r, enum dir dir)
{
	struct bytes in = buf_bytes(&r->pending[dir]);
	struct piece p = {.dir = dir};
	size_t need = 0;
	int64_t n = framer_http2.next(r->state, dir, in, &p, &need);

	MUST(n <= (int64_t)in.n && (n >= 0 || n == -EPROTO));
	if (n < 0) {
		r->caps += p.cap != NULL;
		r->dead[dir] = p.flags != 0;
		if (!p.flags)
			side_lost(r, dir);
		return !p.flags;
	}
	if (!n && !p.what) {
		MUST(need == 0 || need > in.n);
		return false;
	}
	piece_take(r, &p);
	buf_drop(&r->pending[dir], (size_t)n);
	if (n)
		r->hints[dir] = 0;
	return true;
}

static bool side_resync(struct h2_reader *r, enum dir dir)
{
	size_t skip = 0;
	struct bytes in = buf_bytes(&r->pending[dir]);

	if (!in.n)
		return false;
	int found = framer_http2.resync(r->state, dir, in, r->hints[dir], &skip);
	MUST(skip <= in.n && (found == 0 || found == 1));
	buf_drop(&r->pending[dir], skip);
	r->skipped += skip;
	if (skip)
		r->hints[dir] = 0;
	r->lost[dir] = !found;
	r->resyncs += (uint64_t)found;
	return found;
}

static bool side_pull(struct h2_reader *r, enum dir dir)
{
	if (r->dead[dir])
		return false;
	return r->lost[dir] ? side_resync(r, dir) : side_next(r, dir);
}

static void pump(struct h2_reader *r)
{
	while (side_pull(r, DIR_REQUEST) || side_pull(r, DIR_RESPONSE))
		;
}

void h2_reader_open(struct h2_reader *r, bool late)
{
	const struct framer_limits limits = {64 * 1024, 256, 1024, 64 << 20};

	*r = (struct h2_reader) {0};
	MUST(r->state = calloc(1, framer_http2.state_size));
	MUST(framer_http2.init(r->state, &limits, late) == 0);
	r->lost[0] = r->lost[1] = late;
}

void h2_reader_feed(struct h2_reader *r, enum dir dir, struct bytes b, bool starts)
{
	if (r->pending[dir].n == 0 && starts)
		r->hints[dir] =
			RESYNC_SEGMENT_START | (r->last_known && r->last != dir ? RESYNC_TURN : 0);
	r->last_known = true;
	r->last = dir;
	MUST(buf_append(&r->pending[dir], b) == 0);
	pump(r);
}

void h2_reader_gap(struct h2_reader *r, enum dir dir, uint64_t n)
{
	n += r->pending[dir].n;
	r->pending[dir].n = 0;
	r->hints[dir] = 0;
	if (r->dead[dir])
		return;
	int g = framer_http2.gap(r->state, dir, n);
	MUST(g == 0 || g == -EPROTO);
	if (g < 0)
		side_lost(r, dir);
	else
		pump(r);
}

void h2_reader_close(struct h2_reader *r)
{
	framer_http2.fini(r->state);
	free(r->state);
	buf_fini(&r->pending[0]);
	buf_fini(&r->pending[1]);
	h2_calls_fini(&r->got);
}
