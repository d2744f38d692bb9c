/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/remains.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "record.pb-c.h"
#include "sink/record_block.h"

#define PREFIX "sidetap-"
#define SUFFIX ".run"
enum {
	INSTANCE = 16,
	/* More record numbers than can be on their way: 32 MiB of queue hold fewer. Older ones are settled. */
	NUMBERS = 1 << 20,
	LEDGER_MAX = 1 << 18,
	EXITS = 32,
	RANGES_MAX = 4096
};
enum fate { FATE_UNMADE, FATE_MADE, FATE_STORED, FATE_SETTLED };

/* In the byte order and layout of the machine: the file does not travel, nor outlive the next start. */
struct page {
	char magic[8];
	uint64_t made; /* last number */
	uint64_t alive_unix_ns; /* of the last interval */
	uint64_t delivered;
	struct {
		char name[40];
		uint64_t n;
	} exits[EXITS];
	uint32_t ledger; /* which of the two is whole */
	uint32_t ledger_n[2];
	uint8_t ledgers[2][LEDGER_MAX];
	uint8_t fate[NUMBERS]; /* by number modulo */
};

static const char magic[8] = "sdtprun1";

struct remains {
	struct page *page;
	char path[512];
};

struct remains *remains_open(const char *dir, const char *instance, char *err, size_t err_n)
{
	struct remains *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	snprintf(m->path, sizeof(m->path), "%.400s/" PREFIX "%.16s" SUFFIX, dir, instance);
	int fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int e = fd < 0 ? errno : posix_fallocate(fd, 0, sizeof(struct page));
	void *p = e ? MAP_FAILED
		    : mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!e && p == MAP_FAILED)
		e = errno;
	if (fd >= 0)
		close(fd);
	if (e) {
		snprintf(err, err_n, "%.200s: %s: a kill would cost the ledger", m->path,
			 strerror(e));
		if (fd >= 0)
			unlink(m->path);
		free(m);
		return NULL;
	}
	m->page = p;
	memcpy(m->page->magic, magic, sizeof(magic));
	return m;
}

static uint8_t *fate_of(struct page *p, uint64_t number)
{
	return &p->fate[number % NUMBERS];
}

void remains_made(struct remains *m, uint64_t number)
{
	if (!m)
		return;
	*fate_of(m->page, number) = FATE_MADE;
	__atomic_store_n(&m->page->made, number, __ATOMIC_RELEASE);
}

void remains_stored(struct remains *m, uint64_t number)
{
	if (m && number)
		*fate_of(m->page, number) = FATE_STORED;
}

static void exit_count(struct page *p, const char *exit)
{
	int i = 0;
	while (i < EXITS - 1 && p->exits[i].name[0] &&
	       strncmp(p->exits[i].name, exit, sizeof(p->exits[i].name) - 1) != 0)
		i++;
	if (!p->exits[i].name[0])
		strncpy(p->exits[i].name, exit, sizeof(p->exits[i].name) - 1);
	p->exits[i].n++;
}

void remains_settled(struct remains *m, uint64_t number, const char *exit)
{
	if (!m || !number)
		return;
	*fate_of(m->page, number) = FATE_SETTLED;
	if (exit)
		exit_count(m->page, exit);
	else
		m->page->delivered++;
}

void remains_ledger(struct remains *m, struct bytes encoded)
{
	if (!m || encoded.n > LEDGER_MAX)
		return;
	uint32_t to = !m->page->ledger;
	memcpy(m->page->ledgers[to], encoded.p, encoded.n);
	m->page->ledger_n[to] = (uint32_t)encoded.n;
	__atomic_store_n(&m->page->ledger, to, __ATOMIC_RELEASE);
	m->page->alive_unix_ns = clock_ns(CLOCK_REALTIME);
}

void remains_close(struct remains *m, bool told)
{
	if (!m)
		return;
	if (told)
		unlink(m->path);
	munmap(m->page, sizeof(*m->page));
	free(m);
}

/* ---- the next process ---- */

struct remains_found {
	DIR *dir;
	char paths[64][300];
	size_t n;
};

static struct page *page_load(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	void *p = MAP_FAILED;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == sizeof(struct page))
		p = mmap(NULL, sizeof(struct page), PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return NULL;
	struct page *page = p;
	if (memcmp(page->magic, magic, sizeof(magic)) == 0 && page->ledger < 2 &&
	    page->ledger_n[0] <= LEDGER_MAX && page->ledger_n[1] <= LEDGER_MAX)
		return page;
	munmap(p, sizeof(struct page));
	return NULL;
}

struct ranges {
	struct record_range r[RANGES_MAX];
	size_t n;
	uint64_t count[2]; /* killed, spooled */
};

static void range_add(struct ranges *to, uint64_t number, const char *exit)
{
	struct record_range *last = to->n ? &to->r[to->n - 1] : NULL;
	if (last && last->exit == exit && last->last + 1 == number)
		last->last = number;
	else if (to->n < RANGES_MAX)
		to->r[to->n++] = (struct record_range) {number, number, exit};
	else
		last->last = number; /* names delivered ones too, in between */
}

static void ranges_of(const struct page *p, struct ranges *out)
{
	uint64_t first = p->made >= NUMBERS ? p->made - NUMBERS + 1 : 1;
	for (uint64_t i = first; i <= p->made; i++) {
		uint8_t f = p->fate[i % NUMBERS];
		if (f == FATE_SETTLED)
			continue;
		out->count[f == FATE_STORED]++;
		range_add(out, i, f == FATE_STORED ? "spooled" : "killed");
	}
}

/* Ranges that the last interval named come first and stay; both lists rise. */
static size_t ranges_merge(const Sidetap__V1__Ledger *old, const struct ranges *now,
			   struct record_range *out, size_t max)
{
	size_t n = 0, i = 0, j = 0;
	size_t n_old = old ? old->n_lost : 0;
	while (n < max && (i < n_old || j < now->n)) {
		bool take_old =
			i < n_old && (j == now->n || old->lost[i]->first <= now->r[j].first);
		if (take_old) {
			out[n++] = (struct record_range) {old->lost[i]->first, old->lost[i]->last,
							  old->lost[i]->exit};
			i++;
		} else {
			out[n++] = now->r[j++];
		}
	}
	return n;
}

static void records_stage(const struct page *p, const struct ranges *ranges,
			  struct ledger_stage *out)
{
	uint64_t named = ranges->count[0] + ranges->count[1];
	*out = (struct ledger_stage) {.name = "records", .unit = "records", .in = p->made};
	for (int i = 0; i < EXITS && p->exits[i].name[0]; i++)
		named += p->exits[i].n;
	/* what is settled and no exit: a kill between two stores must not unbalance it */
	ledger_exit_add(out, "delivered", p->made > named ? p->made - named : 0, false);
	for (int i = 0; i < EXITS && p->exits[i].name[0] && p->exits[i].n; i++)
		ledger_exit_add(out, p->exits[i].name, p->exits[i].n, true);
	ledger_exit_add(out, "spooled", ranges->count[1], false);
	ledger_exit_add(out, "killed", ranges->count[0], true);
}

/* Stages of the last interval, but for the records. */
static size_t stages_of(const Sidetap__V1__Ledger *l, struct ledger_stage *out, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; l && i < l->n_stages && n < max; i++) {
		const Sidetap__V1__Ledger__Stage *s = l->stages[i];
		if (strcmp(s->name, "records") == 0)
			continue;
		out[n] = (struct ledger_stage) {.name = s->name,
						.unit = s->unit,
						.in = s->in,
						.held = s->held,
						.made = s->made,
						.approximate = s->approximate};
		for (size_t j = 0; j < s->n_exits; j++)
			ledger_exit_add(&out[n], s->exits[j]->name, s->exits[j]->count,
					s->exits[j]->lost);
		n++;
	}
	return n;
}

static int testament(const struct page *p, const char *instance, struct record **out)
{
	enum { STAGES = 40 };
	struct bytes last = bytes_of(p->ledgers[p->ledger], p->ledger_n[p->ledger]);
	Sidetap__V1__Ledger *l = last.n ? record_decode_ledger(last) : NULL;
	struct ranges *ranges = calloc(1, sizeof(*ranges));
	struct ledger_stage *stages = calloc(STAGES + 1, sizeof(*stages));
	struct record_range *lost = calloc(2 * RANGES_MAX, sizeof(*lost));
	int e = -ENOMEM;
	if (ranges && stages && lost) {
		ranges_of(p, ranges);
		struct record_ledger w = {.instance = instance,
					  .version = l ? l->version : "",
					  .attach = l ? l->attach : "",
					  .start_unix_ns = l ? l->end_unix_ns : 0,
					  .end_unix_ns = p->alive_unix_ns,
					  .final = true,
					  .killed = true,
					  .exact = l && l->exact,
					  .last_record_number = p->made,
					  .lost = lost,
					  .stages = stages};
		w.n_stages = stages_of(l, stages, STAGES);
		records_stage(p, ranges, &stages[w.n_stages++]);
		w.n_lost = ranges_merge(l, ranges, lost, 2 * RANGES_MAX);
		e = record_encode_ledger(&w, out);
	}
	free(ranges);
	free(stages);
	free(lost);
	if (l)
		sidetap__v1__ledger__free_unpacked(l, NULL);
	return e;
}

static bool name_is_ours(const char *name)
{
	size_t n = sizeof(PREFIX) - 1 + INSTANCE + sizeof(SUFFIX) - 1;
	return strlen(name) == n && strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0 &&
	       strcmp(name + n - (sizeof(SUFFIX) - 1), SUFFIX) == 0 &&
	       strspn(name + sizeof(PREFIX) - 1, "0123456789abcdef") == INSTANCE;
}

int remains_next(const char *dir, struct remains_found **cookie, struct record **out)
{
	if (!*cookie) {
		*cookie = calloc(1, sizeof(**cookie));
		if (!*cookie)
			return 0;
		(*cookie)->dir = opendir(dir);
	}
	struct remains_found *f = *cookie;
	struct dirent *e = NULL;
	while (f->dir && f->n < sizeof(f->paths) / sizeof(*f->paths) && (e = readdir(f->dir))) {
		if (!name_is_ours(e->d_name))
			continue;
		struct page *p = page_load(dirfd(f->dir), e->d_name);
		if (!p)
			continue;
		char instance[INSTANCE + 1];
		snprintf(instance, sizeof(instance), "%.16s", e->d_name + sizeof(PREFIX) - 1);
		int err = testament(p, instance, out);
		munmap(p, sizeof(*p));
		if (err < 0)
			continue;
		snprintf(f->paths[f->n++], sizeof(f->paths[0]), "%s", e->d_name);
		return 1;
	}
	return 0;
}

void remains_forget(struct remains_found *f, bool told)
{
	if (!f)
		return;
	for (size_t i = 0; told && f->dir && i < f->n; i++)
		unlinkat(dirfd(f->dir), f->paths[i], 0);
	if (f->dir)
		closedir(f->dir);
	free(f);
}
