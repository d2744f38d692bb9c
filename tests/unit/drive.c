/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/drive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive_print.h"

enum { LEVELS_MAX = 4096, /* an h2c exchange each */ SHOWN_MAX = 48, SPINS_MAX = 1 << 20 };

/* A message whose END has not come yet */
struct open_message {
	struct open_message *next;
	uint64_t corr, total, missing;
	uint64_t hash;
	struct buf text, shown;
	unsigned messages;
	unsigned flags; /* of the pieces behind its head */
	bool count_only;
};

struct level {
	const struct framer_ops *ops;
	void *state;
};

struct side {
	unsigned level;
	bool probing, resyncing, over, closing, ended;
	enum end_how how;
	uint8_t *
		block; /* unread bytes end where it ends, so that a sanitizer sees a read beyond them */
	struct bytes unread;
	unsigned hints; /* of the first unread byte */
	struct buf text;
	struct open_message *open;
};

struct drive {
	const struct drive_script *script;
	struct level levels[LEVELS_MAX];
	unsigned n_levels;
	struct side side[2];
	bool skip_proxy, turn_known;
	bool reversed; /* the script's client is the server */
	bool last_step; /* the script is at its end */
	enum dir last;
	bool holed[2]; /* bytes of it were lost, and neither direction has spoken since */
	struct drive_result *result;
};

uint32_t drive_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (uint32_t)(*seed >> 16);
}

static struct open_message **open_find(struct side *s, uint64_t corr)
{
	struct open_message **m = &s->open;

	while (*m && (*m)->corr != corr)
		m = &(*m)->next;
	return m;
}

static void open_free(struct open_message **at)
{
	struct open_message *m = *at;

	*at = m->next;
	buf_fini(&m->text);
	buf_fini(&m->shown);
	free(m);
}

static void open_close(struct side *s, struct open_message **at, const char *how)
{
	struct open_message *m = *at;

	drive_print(&s->text, buf_bytes(&m->text));
	if (m->flags) {
		drive_print(&s->text, BYTES("  flags"));
		drive_print_flags(&s->text, m->flags);
		drive_print(&s->text, BYTES("\n"));
	}
	if (m->total || m->missing) {
		drive_printf(&s->text, "  body %llu", (unsigned long long)m->total);
		if (m->missing)
			drive_printf(&s->text, " missing %llu", (unsigned long long)m->missing);
		if (m->count_only) {
			drive_print(&s->text, BYTES(" counted"));
		} else if (m->total <= SHOWN_MAX) {
			drive_print(&s->text, BYTES(" "));
			drive_print_escaped(&s->text, buf_bytes(&m->shown));
		} else {
			drive_printf(&s->text, " hash %016llx", (unsigned long long)m->hash);
		}
		drive_print(&s->text, BYTES("\n"));
	}
	drive_printf(&s->text, "  %s\n", how);
	open_free(at);
}

static void body_add(struct open_message *m, const struct piece *p)
{
	m->missing += p->missing;
	m->total += p->body.n;
	for (size_t i = 0; i < p->body.n; i++)
		m->hash = (m->hash ^ p->body.p[i]) * 0x100000001b3;
	if (m->shown.n < SHOWN_MAX)
		drive_print(&m->shown, bytes_head(p->body, SHOWN_MAX - m->shown.n));
	if (p->what & PIECE_MESSAGE)
		drive_printf(&m->text, "  message ends at %llu%s\n", (unsigned long long)m->total,
			     p->flags & FLAG_COMPRESSED ? " compressed" : "");
}

/* Whatever is open of a call is cut; its messages may be complete, or not begun. */
static void both_end(struct drive *d, const struct piece *p)
{
	struct open_message **at;

	MUST(p->what == (PIECE_ABORT | PIECE_BOTH));
	for (int i = 0; i < 2; i++)
		if (*(at = open_find(&d->side[i], p->corr)))
			open_close(&d->side[i], at, "abort");
	drive_print_both(&d->side[p->dir].text, p);
}

/* Touches what a piece lends, so that a sanitizer sees a stale borrow. */
static void piece_take(struct drive *d, const struct piece *p, const struct framer_ops *ops)
{
	struct side *s = &d->side[p->dir];
	struct open_message **at = open_find(s, p->corr);
	char side = p->dir == DIR_REQUEST ? '>' : '<';

	if (p->what & PIECE_INTERIM)
		drive_printf(&s->text, "%c interim %d\n", side, p->head.status);
	if (p->what & (PIECE_INTERIM | PIECE_CONTROL))
		return;
	if (p->what & PIECE_BOTH) {
		both_end(d, p);
		return;
	}
	if (p->what & PIECE_HEAD) {
		MUST(!*at);
		MUST(*at = calloc(1, sizeof(**at)));
		(*at)->corr = p->corr;
		(*at)->hash = 0xcbf29ce484222325;
		(*at)->count_only = p->head.count_only;
		drive_print_head(&(*at)->text, p, ops->name);
		d->result->heads++;
	}
	MUST(*at);
	if (!(p->what & PIECE_HEAD))
		(*at)->flags |= p->flags & ~(p->what & PIECE_MESSAGE ? FLAG_COMPRESSED : 0u);
	if ((p->what & PIECE_BODY) || p->missing)
		body_add(*at, p);
	if ((p->what & PIECE_END) && !(p->what & PIECE_HEAD))
		drive_print_end(&(*at)->text, p);
	if (p->what & (PIECE_END | PIECE_ABORT))
		open_close(s, at, p->what & PIECE_END ? "end" : "abort");
}

static void side_lost(struct drive *d, enum dir dir, const char *why)
{
	struct side *s = &d->side[dir];

	while (s->open)
		open_close(s, &s->open, "lost");
	if (why)
		drive_printf(&s->text, "%c %s\n", dir == DIR_REQUEST ? '>' : '<', why);
}

static void level_add(struct drive *d, const struct framer_ops *ops, bool late)
{
	MUST(d->n_levels < LEVELS_MAX);
	struct level *l = &d->levels[d->n_levels++];
	l->ops = ops;
	l->state = calloc(1, ops->state_size);
	MUST(l->state && (!ops->init || ops->init(l->state, &d->script->limits, late) == 0));
}

/* The direction goes to the next framer, which the first of the two makes. */
static void side_switch(struct drive *d, enum dir dir, const struct piece *p)
{
	struct side *s = &d->side[dir];
	const struct framer_ops *to = p->to;

	MUST(!s->open);
	if (++s->level == d->n_levels && to) {
		level_add(d, to, false);
		if (p->corr && to->adopt)
			MUST(to->adopt(d->levels[s->level].state, p) == 0);
	}
	s->probing = s->level == d->n_levels;
}

static void side_error(struct drive *d, enum dir dir, const struct piece *p)
{
	struct side *s = &d->side[dir];
	bool idle = !s->open && !s->unread.n;

	if (p->flags == 0) {
		side_lost(d, dir, d->script->late ? NULL : "out of step");
		s->resyncing = true;
		return;
	}
	side_lost(d, dir, NULL);
	s->over = true;
	if (idle) /* the other direction's fault, and nothing here that it could hit */
		return;
	drive_printf(&s->text, "%c error", dir == DIR_REQUEST ? '>' : '<');
	drive_print_flags(&s->text, p->flags);
	drive_print(&s->text, BYTES("\n"));
}

static void unread_add(struct side *s, struct bytes b)
{
	uint8_t *block = malloc(s->unread.n + b.n);

	MUST(block);
	if (s->unread.n)
		memcpy(block, s->unread.p, s->unread.n);
	memcpy(block + s->unread.n, b.p, b.n);
	free(s->block);
	s->block = block;
	s->unread = bytes_of(block, s->unread.n + b.n);
}

static void unread_drop(struct side *s)
{
	free(s->block);
	s->block = NULL;
	s->unread = bytes_of(NULL, 0);
}

/* One call of next() on what is unread. True: progress. */
static bool side_next(struct drive *d, enum dir dir)
{
	struct side *s = &d->side[dir];
	struct level *l = &d->levels[s->level];
	struct piece p = {.dir = dir};
	struct bytes in = s->unread;
	size_t need = 0;

	int64_t r = l->ops->next(l->state, dir, in, &p, &need);
	MUST(r <= (int64_t)in.n && (r >= 0 || r == -EPROTO));
	MUST(r != 0 || p.what || need == 0 || need > in.n);
	bool moved = r != 0 || p.what != 0;
	if (r < 0) {
		MUST(p.what == 0);
		side_error(d, dir, &p);
	} else {
		if (r > 0)
			d->result->taken[dir] += (size_t)r;
		if (p.what & PIECE_SWITCH) {
			MUST(p.what == PIECE_SWITCH);
			drive_printf(&s->text, "%c switch %s\n", dir == DIR_REQUEST ? '>' : '<',
				     p.to ? p.to->name : "probe");
			for (size_t i = 0; i < p.head.n_attributes; i++) {
				drive_printf(&s->text, "  a %s=", p.head.attributes[i].name);
				drive_print_escaped(&s->text, p.head.attributes[i].value);
				drive_print(&s->text, BYTES("\n"));
			}
			if (l->ops == &framer_proxy)
				d->skip_proxy = true;
			side_switch(d, dir, &p);
		} else if (p.what) {
			piece_take(d, &p, l->ops);
		}
		s->unread = bytes_from(in, (size_t)r);
		if (r > 0)
			s->hints = 0;
	}
	return moved;
}

static bool side_resync(struct drive *d, enum dir dir)
{
	struct side *s = &d->side[dir];
	struct level *l = &d->levels[s->level];
	size_t skip = 0;
	struct bytes in = s->unread;
	int r = l->ops->resync(l->state, dir, in, s->hints, &skip);

	MUST((r == 0 || r == 1) && skip <= in.n);
	s->unread = bytes_from(in, skip);
	if (skip)
		s->hints = 0;
	if (r == 1) {
		s->resyncing = false;
		d->result->resyncs++;
	}
	return r == 1;
}

static bool probe(struct drive *d)
{
	struct bytes heads[2];

	for (int i = 0; i < 2; i++)
		heads[i] = d->side[i].probing ? d->side[i].unread : bytes_of(NULL, 0);
	bool final = (d->side[0].closing && d->side[1].closing) ||
		     (heads[0].n >= PROBER_HEAD_MAX && heads[1].n >= PROBER_HEAD_MAX);
	if (heads[0].n + heads[1].n == 0)
		return false;
	struct prober_verdict v = prober_ask(heads[0], heads[1], final, d->skip_proxy);
	MUST(v.ops || !final);
	if (!v.ops)
		return false;
	if (v.reversed) {
		struct side t = d->side[0];
		d->side[0] = d->side[1];
		d->side[1] = t;
		d->reversed = !d->reversed;
		d->last = !d->last;
		drive_print(&d->side[0].text, BYTES("reversed\n"));
	}
	level_add(d, v.ops, false);
	for (int i = 0; i < 2; i++)
		if (d->side[i].level < d->n_levels)
			d->side[i].probing = false;
	return true;
}

static bool side_pull(struct drive *d, enum dir dir)
{
	struct side *s = &d->side[dir];

	if (s->over) {
		unread_drop(s);
		return false;
	}
	if (s->probing)
		return probe(d);
	if (s->resyncing)
		return side_resync(d, dir);
	return !s->ended && side_next(d, dir);
}

/*
 * What a close completes, once nothing is left to read. It waits for the other direction's close or for the end of the
 * script, so that it does not matter how far that one was read.
 */
static bool side_close(struct drive *d, enum dir dir)
{
	struct side *s = &d->side[dir];

	if (!s->closing || s->ended || s->probing || !(d->side[!dir].closing || d->last_step))
		return false;
	s->ended = true;
	if (s->over || s->resyncing)
		return false;
	struct level *l = &d->levels[s->level];
	for (int i = 0;; i++) {
		struct piece p = {.dir = dir};
		l->ops->end(l->state, dir, s->how, &p);
		if (!p.what)
			break;
		MUST(i < 4096);
		piece_take(d, &p, l->ops);
	}
	if (s->unread.n)
		drive_printf(&s->text, "%c unread %zu\n", dir == DIR_REQUEST ? '>' : '<',
			     s->unread.n);
	return true;
}

static void pump(struct drive *d)
{
	unsigned spins = 0;

	for (bool moved = true; moved;) {
		moved = false;
		/* a request goes before its reply, also where it had to wait */
		while (side_pull(d, DIR_REQUEST) || side_pull(d, DIR_RESPONSE)) {
			moved = true;
			MUST(++spins < SPINS_MAX);
		}
		for (int i = 0; !moved && i < 2; i++)
			moved = side_close(d, i);
	}
}

static void feed(struct drive *d, enum dir dir, struct bytes b)
{
	struct side *s = &d->side[dir];

	if (s->closing || b.n == 0)
		return;
	if (s->unread.n == 0) {
		s->hints = RESYNC_SEGMENT_START;
		if (!d->holed[dir] && (!d->turn_known || d->last != dir))
			s->hints |= RESYNC_TURN;
	}
	d->holed[0] = d->holed[1] = false;
	d->turn_known = true;
	d->last = dir;
	unread_add(s, b);
	pump(d);
}

static void lose(struct drive *d, enum dir dir, size_t n)
{
	struct side *s = &d->side[dir];

	d->holed[dir] = true;
	if (s->closing || s->over || s->probing)
		return;
	struct level *l = &d->levels[s->level];
	int r = l->ops->gap(l->state, dir, n);
	MUST(r == 0 || r == -EPROTO);
	unread_drop(s);
	if (r == 0) {
		pump(d);
		return;
	}
	side_lost(d, dir, s->resyncing ? NULL : "lost to a gap");
	s->resyncing = true;
}

static void finish(struct drive *d, enum dir dir, enum end_how how)
{
	struct side *s = &d->side[dir];

	if (s->closing)
		return;
	s->closing = true;
	s->how = how;
	pump(d);
}

static void drive_fini(struct drive *d, struct drive_result *r)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = &d->side[i];
		while (s->open)
			open_close(s, &s->open, "open");
		drive_print(&r->text, buf_bytes(&s->text));
		buf_fini(&s->text);
		unread_drop(s);
	}
	drive_print(&r->text, bytes_of("", 1));
	for (unsigned i = 0; i < d->n_levels; i++) {
		if (d->levels[i].ops->fini)
			d->levels[i].ops->fini(d->levels[i].state);
		free(d->levels[i].state);
	}
}

static void run_step(struct drive *d, const struct drive_step *step, const size_t **cuts,
		     const size_t *last)
{
	size_t off = step->off, end = step->off + step->n;

	if (step->what == DRIVE_BYTES && step->n == 0)
		return;
	if (step->what == DRIVE_GAP) {
		lose(d, step->dir ^ d->reversed, step->n);
	} else if (step->what == DRIVE_END) {
		finish(d, step->dir ^ d->reversed, step->how);
	} else {
		const uint8_t *p = d->script->bytes.p;
		for (; *cuts < last && **cuts < end; ++*cuts)
			if (**cuts > off) {
				feed(d, step->dir ^ d->reversed, bytes_of(p + off, **cuts - off));
				off = **cuts;
			}
		feed(d, step->dir ^ d->reversed, bytes_of(p + off, end - off));
	}
}

struct drive_result drive_run(const struct drive_script *s, const size_t *cuts, size_t n_cuts)
{
	static const size_t none;
	struct drive_result r = {0};
	struct drive d = {.script = s, .result = &r};
	const size_t *last = (cuts = n_cuts ? cuts : &none) + n_cuts;

	if (s->first)
		level_add(&d, s->first, s->late);
	for (int i = 0; i < 2; i++) {
		d.side[i].probing = !s->first;
		d.side[i].resyncing = s->late;
	}
	for (size_t i = 0; i < s->n; i++)
		run_step(&d, &s->steps[i], &cuts, last);
	d.last_step = true;
	pump(&d);
	drive_fini(&d, &r);
	return r;
}

struct drive_result drive_run_bytes(const struct drive_script *s)
{
	size_t *cuts = malloc((s->bytes.n + 1) * sizeof(*cuts));

	MUST(cuts);
	for (size_t i = 0; i < s->bytes.n; i++)
		cuts[i] = i;
	struct drive_result r = drive_run(s, cuts, s->bytes.n);
	free(cuts);
	return r;
}

void drive_result_fini(struct drive_result *r)
{
	buf_fini(&r->text);
}

char *drive_text(const char *script)
{
	struct drive_script s;

	MUST(drive_parse(&s, bytes_str(script), 8 << 20));
	struct drive_result r = drive_run(&s, NULL, 0);
	drive_script_fini(&s);
	return (char *)r.text.p;
}
