/* SPDX-License-Identifier: Apache-2.0 */
/* The final Ledgers of processes that were killed, from the files they left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/remains.h"
#include "capture/remains_page.h"
#include "record.pb-c.h"
#include "sink/record_block.h"

enum { RANGES_MAX = 4096, STAGES_MAX = 40 };
#define FIRST_NUMBER UINT64_MAX /* of the Ledgers given out; they fall */

struct remains_found {
	DIR *dir;
	struct {
		char name[64];
		struct remains_page *page; /* NULL: unmapped */
	} dead[REMAINS_DEAD_MAX];
	size_t n;
};

static void page_free(struct remains_page *p)
{
	if (p)
		munmap(p, remains_size(p->numbers));
}

static bool is_page(const struct remains_page *p, uint64_t size)
{
	return memcmp(p->magic, remains_magic, sizeof(remains_magic)) == 0 &&
	       p->numbers >= REMAINS_NUMBERS_MIN && p->numbers <= REMAINS_NUMBERS_MAX &&
	       !(p->numbers & (p->numbers - 1)) && remains_size(p->numbers) == size &&
	       p->ledger < 2 && p->ledger_n[0] <= REMAINS_LEDGER_MAX &&
	       p->ledger_n[1] <= REMAINS_LEDGER_MAX;
}

/* *useless: it was killed before it could make a record, or was told. NULL otherwise: not ours to touch. */
static struct remains_page *page_load(int dir, const char *name, bool *useless)
{
	static const char none[8];
	struct stat st;
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	*useless = false;
	if (fd < 0)
		return NULL;
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	uint64_t size = (uint64_t)st.st_size;
	void *p = MAP_FAILED;
	if (regular && size >= sizeof(struct remains_page) &&
	    size <= remains_size(REMAINS_NUMBERS_MAX))
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		*useless = regular && size == 0;
		return NULL;
	}
	struct remains_page *page = p;
	if (is_page(page, size)) {
		*useless = page->told != 0;
		return page;
	}
	*useless = memcmp(page->magic, none, sizeof(none)) == 0;
	munmap(p, size);
	return NULL;
}

struct ranges {
	struct record_range r[RANGES_MAX];
	size_t n;
	uint64_t killed, spooled;
};

/* Numbers fall, so that the newest are exact when there are too many ranges. */
static void range_add(struct ranges *to, uint64_t number, const char *exit)
{
	struct record_range *last = to->n ? &to->r[to->n - 1] : NULL;
	if (last && last->exit == exit && last->first - 1 == number)
		last->first = number;
	else if (to->n < RANGES_MAX)
		to->r[to->n++] = (struct record_range) {number, number, exit};
	else
		last->first = number; /* names delivered ones too, in between */
}

static uint64_t first_known(const struct remains_page *p)
{
	return p->made >= p->numbers ? p->made - p->numbers + 1 : 1;
}

/* NULL: it was delivered. */
static const char *exit_of_fate(const struct remains_page *p, uint8_t fate)
{
	if (fate == REMAINS_DELIVERED)
		return NULL;
	if (fate == REMAINS_STORED)
		return "spooled";
	return fate >= REMAINS_LOST && fate < REMAINS_LOST + REMAINS_EXITS
		       ? p->exits[fate - REMAINS_LOST].name
		       : "killed";
}

static void ranges_of(const struct remains_page *p, struct ranges *out)
{
	for (uint64_t i = p->made, first = first_known(p); i >= first; i--) {
		uint8_t fate = p->fate[i & (p->numbers - 1)];
		const char *exit = exit_of_fate(p, fate);
		if (!exit)
			continue;
		out->spooled += fate == REMAINS_STORED;
		out->killed += fate == REMAINS_MADE || fate == REMAINS_UNMADE;
		range_add(out, i, exit);
	}
}

/* What the last interval named of numbers that are older than the fates, then these. Rising, none overlaps. */
static size_t ranges_join(const Sidetap__V1__Ledger *old, const struct ranges *now, uint64_t first,
			  struct record_range *out)
{
	size_t n = 0;
	for (size_t i = 0; old && i < old->n_lost && n < RANGES_MAX; i++) {
		const Sidetap__V1__Ledger__Range *o = old->lost[i];
		if (o->first < first)
			out[n++] = (struct record_range) {
				o->first, o->last < first ? o->last : first - 1, o->exit};
	}
	for (size_t i = now->n; i-- > 0;)
		out[n++] = now->r[i];
	return n;
}

static void records_stage(const struct remains_page *p, const struct ranges *ranges,
			  struct ledger_stage *out)
{
	uint64_t named = ranges->killed + ranges->spooled;
	*out = (struct ledger_stage) {.name = "records", .unit = "records", .in = p->made};
	for (int i = 0; i < REMAINS_EXITS; i++)
		named += p->exits[i].n;
	/* what is settled and no exit: a kill between two stores must not unbalance it */
	ledger_exit_add(out, "delivered", p->made > named ? p->made - named : 0, false);
	ledger_exit_add(out, "spooled", ranges->spooled, false);
	ledger_exit_add(out, "killed", ranges->killed, true);
	for (int i = 0; i < REMAINS_EXITS; i++)
		if (p->exits[i].n)
			ledger_exit_add(out, p->exits[i].name, p->exits[i].n, true);
}

/* A stage of the last interval: what it held then never left by an exit that was counted. */
static struct ledger_stage stage_of(const Sidetap__V1__Ledger__Stage *s)
{
	struct ledger_stage out = {.name = s->name,
				   .unit = s->unit,
				   .in = s->in,
				   .made = s->made,
				   .approximate = s->approximate};
	size_t max = LEDGER_EXITS_MAX - 1;
	for (size_t i = 0; i < s->n_exits && i < max; i++)
		ledger_exit_add(&out, s->exits[i]->name, s->exits[i]->count, s->exits[i]->lost);
	if (s->held)
		ledger_exit_add(&out, "killed", s->held, true);
	return out;
}

static size_t stages_of(const Sidetap__V1__Ledger *l, struct ledger_stage *out, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; l && i < l->n_stages && n < max; i++)
		if (strcmp(l->stages[i]->name, "records") != 0)
			out[n++] = stage_of(l->stages[i]);
	return n;
}

static size_t rules_of(const Sidetap__V1__Ledger *l, struct record_rule *out, size_t max)
{
	size_t n = 0;
	for (; l && n < l->n_rules && n < max; n++)
		out[n] = (struct record_rule) {l->rules[n]->name, l->rules[n]->seen,
					       l->rules[n]->kept, l->rules[n]->weight_sum};
	return n;
}

struct testament {
	struct ranges ranges;
	struct ledger_stage stages[STAGES_MAX + 1];
	struct record_range lost[2 * RANGES_MAX];
	struct record_rule rules[STAGES_MAX];
};

static int testament_encode(const struct remains_page *p, const char *instance,
			    const Sidetap__V1__Ledger *l, struct testament *t, struct record **out)
{
	ranges_of(p, &t->ranges);
	struct record_ledger w = {.instance = instance,
				  .version = l ? l->version : "",
				  .attach = l ? l->attach : "",
				  .start_unix_ns = l ? l->end_unix_ns : p->alive_unix_ns,
				  .end_unix_ns = p->alive_unix_ns,
				  .final = true,
				  .killed = true,
				  .exact = l && l->exact,
				  .last_record_number = p->made,
				  .lost = t->lost,
				  .stages = t->stages,
				  .rules = t->rules};
	w.n_stages = stages_of(l, t->stages, STAGES_MAX);
	records_stage(p, &t->ranges, &t->stages[w.n_stages++]);
	w.n_lost = ranges_join(l, &t->ranges, first_known(p), t->lost);
	w.n_rules = rules_of(l, t->rules, STAGES_MAX);
	return record_encode_ledger(&w, out);
}

static int testament(const struct remains_page *p, const char *instance, struct record **out)
{
	struct bytes last = bytes_of(p->ledgers[p->ledger], p->ledger_n[p->ledger]);
	Sidetap__V1__Ledger *l = last.n ? record_decode_ledger(last) : NULL;
	struct testament *t = calloc(1, sizeof(*t));
	int e = t ? testament_encode(p, instance, l, t, out) : -ENOMEM;
	free(t);
	if (l)
		sidetap__v1__ledger__free_unpacked(l, NULL);
	return e;
}

static bool name_is_ours(const char *name)
{
	size_t n = sizeof(REMAINS_PREFIX) - 1 + REMAINS_INSTANCE + sizeof(REMAINS_SUFFIX) - 1;
	return strlen(name) == n &&
	       strncmp(name, REMAINS_PREFIX, sizeof(REMAINS_PREFIX) - 1) == 0 &&
	       strcmp(name + n - (sizeof(REMAINS_SUFFIX) - 1), REMAINS_SUFFIX) == 0 &&
	       strspn(name + sizeof(REMAINS_PREFIX) - 1, "0123456789abcdef") == REMAINS_INSTANCE;
}

/* One file. True: *out is its Ledger, and the file is remembered. */
static bool found_add(struct remains_found *f, const char *name, struct record **out)
{
	char instance[REMAINS_INSTANCE + 1];
	bool useless;
	struct remains_page *p = page_load(dirfd(f->dir), name, &useless);
	if (useless)
		unlinkat(dirfd(f->dir), name, 0);
	snprintf(instance, sizeof(instance), "%.16s", name + sizeof(REMAINS_PREFIX) - 1);
	if (!p || useless || testament(p, instance, out) < 0) {
		page_free(p);
		return false;
	}
	(*out)->number = FIRST_NUMBER - f->n;
	snprintf(f->dead[f->n].name, sizeof(f->dead[0].name), "%.63s", name);
	f->dead[f->n++].page = p;
	return true;
}

int remains_next(const char *dir, struct remains_found **found, struct record **out)
{
	if (!*found) {
		*found = calloc(1, sizeof(**found));
		if (!*found)
			return 0;
		(*found)->dir = opendir(dir);
	}
	struct remains_found *f = *found;
	struct dirent *e = NULL;
	while (f->dir && f->n < REMAINS_DEAD_MAX && (e = readdir(f->dir)))
		if (name_is_ours(e->d_name) && found_add(f, e->d_name, out))
			return 1;
	return 0;
}

void remains_told(struct remains_found *f, uint64_t number, bool delivered)
{
	uint64_t i = FIRST_NUMBER - number;
	if (f && i < f->n && (delivered || f->n > REMAINS_KEPT))
		f->dead[i].page->told = 1;
}

void remains_forget(struct remains_found *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++) {
		if (f->dead[i].page->told)
			unlinkat(dirfd(f->dir), f->dead[i].name, 0);
		page_free(f->dead[i].page);
	}
	if (f->dir)
		closedir(f->dir);
	free(f);
}
