/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/spool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "sink/spool_dir.h"
#include "sink/spool_segment.h"
#include "sink/spool_state.h"

enum {
	SEGMENT_BYTES = 8 << 20,
	QUEUE_BYTES = 8 << 20,
	SYNC_BYTES = 1 << 20,
	SYNC_NS = 100000000,
	RETRY_NS = 1000000000,
	RETRY_SOON_NS = 20000000,
	IDLE_MS = 1000,
	TELL_NS = 2000000, /* of news in one go: the loop has other things to do */
	NEWS_SOME = 64, /* between two looks at the clock */
	STUCK_S = 5
};

void spool_segment_free(struct spool_segment *g)
{
	free(g->items);
	free(g);
}

/* ---- what the thread has to say ---- */

static void ring(struct spool *s)
{
	eventfd_write(s->event, 1);
}

int spool_reserve(struct spool *s, size_t n)
{
	size_t need = s->n_news + s->unsynced.records + n;
	size_t cap = s->cap_news ? s->cap_news : 4 * NEWS_SOME;
	if (s->first_news + need <= s->cap_news)
		return 0;
	if (s->n_news)
		memmove(s->news, s->news + s->first_news, s->n_news * sizeof(*s->news));
	s->first_news = 0;
	if (need <= s->cap_news)
		return 0;
	while (cap < need)
		cap *= 2;
	void *p = realloc(s->news, cap * sizeof(*s->news));
	if (!p)
		return -ENOMEM;
	s->news = p;
	s->cap_news = cap;
	return 0;
}

static struct spool_news news_of(const struct spool_item *it, const char *exit)
{
	return (struct spool_news) {it->number, it->bytes, exit, it->kind, it->last_part};
}

void spool_news_add(struct spool *s, const struct spool_news *news, size_t n)
{
	if (n)
		memcpy(s->news + s->first_news + s->n_news, news, n * sizeof(*news));
	if (!s->n_news && n)
		ring(s);
	s->n_news += n;
}

void spool_tell(struct spool *s, const struct spool_item *it, const char *exit)
{
	const struct spool_news news = news_of(it, exit);
	spool_news_add(s, &news, 1);
}

int spool_give_up(struct spool *s, struct spool_segment *g, const char *exit)
{
	int e = g->items ? spool_reserve(s, g->n) : 0;
	if (e < 0)
		return e;
	g->loaded = true;
	for (uint32_t i = 0; i < g->n && g->items; i++)
		if (!g->items[i].released && !g->items[i].told)
			spool_tell(s, &g->items[i], exit);
	uint32_t left = g->n - g->released;
	s->stats.evicted += left;
	s->stats.resident -= left;
	g->released = g->n;
	return 0;
}

void spool_failed(struct spool *s, int err, const char *what)
{
	s->error = err;
	s->retry_ns =
		clock_ns(CLOCK_MONOTONIC) + (spool_is_momentary(err) ? RETRY_SOON_NS : RETRY_NS);
	s->stats.errors++;
	s->stats.failing = true;
	snprintf(s->stats.last_error, sizeof(s->stats.last_error), "%s: %s", what, strerror(-err));
}

/* ---- the thread ---- */

static void wait_for_work(struct spool *s)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t ns = (uint64_t)t.tv_nsec +
		      (s->unsynced.first ? s->cfg.sync_ns / 2 : IDLE_MS * 1000000ull);
	t.tv_sec += (time_t)(ns / 1000000000);
	t.tv_nsec = (long)(ns % 1000000000);
	s->busy = false;
	pthread_cond_timedwait(&s->wake, &s->lock, &t);
	s->busy = true;
}

static void *work(void *arg)
{
	struct spool *s = arg;
	pthread_mutex_lock(&s->lock);
	s->busy = true;
	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		bool done = spool_write_some(s, now);
		done |= spool_sync_due(s, now, s->stop && !s->queue.first);
		if (spool_load_some(s)) {
			done = true;
			ring(s);
		}
		done |= spool_remove_some(s);
		done |= spool_pin_some(s, now);
		if (s->stop && (!done || now > s->deadline_ns))
			break;
		if (done)
			continue;
		if (!spool_count_some(s))
			wait_for_work(s);
	}
	s->busy = false;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- open ---- */

static int find_segments(struct spool *s)
{
	struct spool_file *files;
	size_t n;
	int e = spool_dir_list(s->dir, &files, &n);
	if (e < 0)
		return e;
	for (size_t i = 0; i < n && e == 0; i++) {
		struct spool_segment *g = calloc(1, sizeof(*g));
		if (!g) {
			e = -ENOMEM;
			break;
		}
		g->id = files[i].segment;
		g->bytes = files[i].bytes;
		g->sealed = true;
		list_add_tail(&s->segments, &g->in);
		s->stats.segments++;
		s->stats.bytes += g->bytes;
		if (g->id >= s->next_id)
			s->next_id = g->id + 1;
	}
	s->stats.scanning = n > 0;
	free(files);
	return e;
}

static int start_thread(struct spool *s)
{
	pthread_condattr_t a;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &a);
	pthread_condattr_destroy(&a);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&s->thread, NULL, work, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = e == 0;
	return -e;
}

static void defaults(struct spool_cfg *c)
{
	if (!c->segment_bytes)
		c->segment_bytes = SEGMENT_BYTES;
	if (c->segment_bytes > c->max_bytes / 4)
		c->segment_bytes = c->max_bytes / 4;
	if (!c->queue_bytes)
		c->queue_bytes = QUEUE_BYTES;
	if (!c->sync_bytes)
		c->sync_bytes = SYNC_BYTES;
	if (!c->sync_ns)
		c->sync_ns = SYNC_NS;
}

struct spool *spool_open(const struct spool_cfg *cfg, char *err, size_t err_n)
{
	struct spool *s = calloc(1, sizeof(*s));
	snprintf(err, err_n, "spool: no memory or file descriptor left");
	if (!s)
		return NULL;
	s->cfg = *cfg;
	defaults(&s->cfg);
	snprintf(s->instance, sizeof(s->instance), "%s", cfg->instance);
	s->fd = -1;
	s->next_id = 1;
	taken_init(&s->queue);
	taken_init(&s->unsynced);
	list_init(&s->segments);
	list_init(&s->ahead);
	pthread_mutex_init(&s->lock, NULL);
	s->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->dir = s->event < 0 ? -EMFILE : spool_dir_open(cfg->dir, err, err_n);
	int e = s->dir < 0 ? s->dir : find_segments(s);
	if (e == 0)
		spool_dir_word(s->dir, s->pinned);
	if (e == 0 && (e = start_thread(s)) < 0)
		snprintf(err, err_n, "spool: its thread cannot be started: %s", strerror(-e));
	if (e == 0)
		return s;
	spool_close(s, 0);
	return NULL;
}

/* ---- the caller's side ---- */

int spool_fd(const struct spool *s)
{
	return s->event;
}

static void stored(struct spool *s, const struct spool_news *some, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->cfg.stored(s->cfg.ctx, some[i].kind, some[i].number, some[i].last_part,
			      some[i].bytes, some[i].exit);
}

/* The oldest, at most NEWS_SOME. Their room stays, for what the thread reserved. */
static size_t news_take(struct spool *s, struct spool_news *out)
{
	pthread_mutex_lock(&s->lock);
	size_t n = s->n_news < NEWS_SOME ? s->n_news : NEWS_SOME;
	if (n)
		memcpy(out, s->news + s->first_news, n * sizeof(*out));
	s->n_news -= n;
	s->first_news = s->n_news ? s->first_news + n : 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* False: it is time, and there may be more. */
static bool tell_until(struct spool *s, uint64_t end_ns)
{
	struct spool_news some[NEWS_SOME];
	size_t n;
	do {
		n = news_take(s, some);
		stored(s, some, n);
		if (n == NEWS_SOME && clock_ns(CLOCK_MONOTONIC) >= end_ns)
			return false;
	} while (n == NEWS_SOME);
	return true;
}

void spool_service(struct spool *s)
{
	eventfd_t v;
	eventfd_read(s->event, &v);
	if (!tell_until(s, clock_ns(CLOCK_MONOTONIC) + TELL_NS))
		ring(s);
}

int spool_put(struct spool *s, struct record **r)
{
	int e = 0;
	pthread_mutex_lock(&s->lock);
	if (s->queue.bytes + s->unsynced.bytes + (*r)->n > s->cfg.queue_bytes && s->queue.first)
		e = s->error == -ENOSPC || s->error == -EDQUOT  ? -ENOSPC
		    : s->error && !spool_is_momentary(s->error) ? -EIO
								: -EAGAIN;
	if (e == 0) {
		taken_push(&s->queue, *r);
		s->stats.put++;
		*r = NULL;
		if (!s->busy)
			pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

bool spool_next(struct spool *s, struct spool_read *out)
{
	bool got = false;
	pthread_mutex_lock(&s->lock);
	if (!list_empty(&s->ahead)) {
		struct spool_ahead *a = list_entry(s->ahead.next, struct spool_ahead, in);
		*out = a->read;
		list_del(&a->in);
		s->ahead_bytes -= out->r->n;
		free(a);
		got = true;
	}
	if (list_empty(&s->ahead) && !s->want) {
		s->want = true;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return got;
}

void spool_release(struct spool *s, uint64_t token)
{
	uint64_t id = token >> SPOOL_INDEX_BITS;
	uint32_t i = token & ((1u << SPOOL_INDEX_BITS) - 1);
	pthread_mutex_lock(&s->lock);
	list_for_each (it, &s->segments) {
		struct spool_segment *g = list_entry(it, struct spool_segment, in);
		if (g->id != id)
			continue;
		if (g->items)
			g->items[i].released = true;
		g->released++;
		s->stats.released++;
		s->stats.resident--;
		if (g->released >= g->n)
			pthread_cond_signal(&s->wake);
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

bool spool_is_drained(const struct spool *cs)
{
	struct spool *s = (struct spool *)cs;
	pthread_mutex_lock(&s->lock);
	bool left = s->queue.first || s->unsynced.first || !list_empty(&s->ahead);
	list_for_each (it, &s->segments) {
		const struct spool_segment *g = list_entry(it, struct spool_segment, in);
		left |= !g->loaded && (!g->counted || g->n);
	}
	pthread_mutex_unlock(&s->lock);
	return !left;
}

struct spool_stats spool_stats(const struct spool *cs)
{
	struct spool *s = (struct spool *)cs;
	pthread_mutex_lock(&s->lock);
	struct spool_stats out = s->stats;
	out.waiting = s->queue.records + s->unsynced.records;
	pthread_mutex_unlock(&s->lock);
	return out;
}

const char *spool_pinned(const struct spool *s)
{
	return s->pinned;
}

void spool_pin(struct spool *s, const char *word)
{
	pthread_mutex_lock(&s->lock);
	snprintf(s->pin, sizeof(s->pin), "%s", word);
	s->pin_due = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* ---- close ---- */

static bool is_idle(struct spool *s)
{
	pthread_mutex_lock(&s->lock);
	bool idle = !s->queue.first && !s->unsynced.first;
	pthread_mutex_unlock(&s->lock);
	return idle;
}

/* Under the lock: at most NEWS_SOME of ours that are on disk and were not told yet, told now. */
static size_t kept_take(struct spool *s, struct spool_news *out)
{
	size_t k = 0;
	list_for_each (it, &s->segments) {
		struct spool_segment *g = list_entry(it, struct spool_segment, in);
		uint32_t n = g == s->active ? s->synced : g->n;
		for (; g->items && g->looked < n && k < NEWS_SOME; g->looked++) {
			struct spool_item *item = &g->items[g->looked];
			if (item->released || item->told)
				continue;
			item->told = true;
			out[k++] = news_of(item, "spooled");
		}
	}
	return k;
}

void spool_tell_kept(struct spool *s, int timeout_ms)
{
	static const struct timespec ms = {0, 1000000};
	struct spool_news some[NEWS_SOME];
	size_t n = NEWS_SOME;
	while (timeout_ms-- > 0 && !is_idle(s))
		nanosleep(&ms, NULL);
	while (n == NEWS_SOME) {
		pthread_mutex_lock(&s->lock);
		n = kept_take(s, some);
		pthread_mutex_unlock(&s->lock);
		tell_until(s, UINT64_MAX); /* that they were stored comes first */
		stored(s, some, n);
	}
}

/* False: the disk holds the thread. */
static bool stop_thread(struct spool *s, int timeout_ms)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += timeout_ms / 1000 + STUCK_S;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	s->deadline_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	return pthread_timedjoin_np(s->thread, NULL, &t) == 0;
}

/* What the disk did not take; the thread has ended */
static void tell_rest(struct spool *s)
{
	bool full = s->error == -ENOSPC || s->error == -EDQUOT;
	taken_move(&s->unsynced, &s->queue);
	for (struct record *r; (r = taken_pop(&s->unsynced));) {
		const struct spool_news lost =
			spool_news_of(r, full ? "spool_no_space" : "spool_io_error");
		s->stats.lost++;
		stored(s, &lost, 1);
		record_free(r);
	}
}

void spool_close(struct spool *s, int timeout_ms)
{
	if (!s)
		return;
	if (s->started) {
		if (!stop_thread(s, timeout_ms))
			return; /* it may still touch all of it */
		tell_until(s, UINT64_MAX);
		tell_rest(s);
	}
	list_for_each_safe (it, next, &s->ahead) {
		struct spool_ahead *a = list_entry(it, struct spool_ahead, in);
		record_free(a->read.r);
		free(a);
	}
	list_for_each_safe (it, next, &s->segments)
		spool_segment_free(list_entry(it, struct spool_segment, in));
	taken_fini(&s->queue);
	taken_fini(&s->unsynced);
	if (s->fd >= 0)
		close(s->fd);
	if (s->dir >= 0)
		close(s->dir);
	if (s->event >= 0)
		close(s->event);
	pthread_mutex_destroy(&s->lock);
	free(s->news);
	free(s);
}
