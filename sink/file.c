/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of zstd files (sink/file_name.h). The loop queues records, a thread compresses and
 * writes them, reports come back through an eventfd. A record counts as delivered when write() took
 * its frame.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strerrorname_np, pthread_timedjoin_np */
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sink/file_out.h"
#include "sink/sink.h"
#include "sink/taken.h"

enum { QUEUE_MAX_BYTES = 32 << 20, FRAME_MS = 1000, CLOSE_MS = 2000 };

struct file {
	struct sink_cfg cfg;
	char *instance;
	int dir, event;
	pthread_t thread;
	struct file_out out[2]; /* by enum record_kind; the thread's */
	char status[160];
	uint64_t held_records, held_bytes, calls, lost; /* the loop's */

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake, idle;
	struct taken queue;
	struct taken
		frame[2]; /* in the thread's frames: it alone takes them out, unless `abandoned` */
	struct taken done; /* their `exit` is set */
	bool started, stop, flush, busy, abandoned;
	uint64_t written, suspect; /* bytes in files; files whose fsync failed */
};

static struct file *file_of(struct sink *s)
{
	return (struct file *)s;
}

/* "write_error_enospc": static for each errno */
static const char *exit_name(int err)
{
	static char names[134][40]; /* written by the writer thread only */
	unsigned i = (unsigned)-err < 134 ? (unsigned)-err : 0;
	if (names[i][0])
		return names[i];
	const char *name = strerrorname_np((int)i);
	int n = snprintf(names[i], sizeof(names[i]), "write_error_%.24s",
			 name && i ? name : "unknown");
	for (int k = 0; k < n; k++)
		names[i][k] =
			(char)(names[i][k] | (names[i][k] >= 'A' && names[i][k] <= 'Z' ? 0x20 : 0));
	return names[i];
}

/* Under lock: these records got their fate. */
static void finish(struct file *f, struct taken *t, const char *exit)
{
	for (struct record *r = t->first; r; r = r->next)
		r->exit = exit;
	taken_move(&f->done, t);
	eventfd_write(f->event, 1);
}

/* Writes one frame; the lock is not held while it does, and drain() may take the records
 * meanwhile. */
static void flush_frame(struct file *f, enum record_kind kind)
{
	if (!f->out[kind].n)
		return;
	pthread_mutex_unlock(&f->lock);
	int e = file_out_flush(&f->out[kind]);
	pthread_mutex_lock(&f->lock);
	f->written = f->out[0].total + f->out[1].total;
	f->suspect = f->out[0].suspect + f->out[1].suspect;
	finish(f, &f->frame[kind], e ? exit_name(e) : NULL);
}

/* Under lock: the oldest record of the queue goes into its frame; or that frame is written
 * first. */
static void gather_one(struct file *f)
{
	struct record *r = f->queue.first;
	struct file_out *out = &f->out[r->kind];
	if (out->n && out->n + r->n > FILE_FRAME_BYTES) {
		flush_frame(f, r->kind);
		return;
	}
	taken_pop(&f->queue);
	int e = file_out_add(out, r);
	if (e == 0) {
		taken_push(&f->frame[r->kind], r);
		return;
	}
	struct taken one;
	taken_init(&one);
	taken_push(&one, r);
	finish(f, &one, exit_name(e));
}

static struct timespec after_ms(int ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

static void *writer(void *arg)
{
	struct file *f = arg;
	struct timespec due = after_ms(FRAME_MS);
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_mutex_lock(&f->lock);
	while (!f->abandoned) {
		bool open = f->out[0].n || f->out[1].n, late = false;
		if (!f->queue.first && !f->flush && !f->stop)
			late = open ? pthread_cond_timedwait(&f->wake, &f->lock, &due) == ETIMEDOUT
				    : pthread_cond_wait(&f->wake, &f->lock) != 0;
		if (!open)
			due = after_ms(FRAME_MS);
		f->busy = true;
		while (f->queue.first && !f->abandoned)
			gather_one(f);
		struct timespec now = after_ms(0);
		late = late || now.tv_sec > due.tv_sec ||
		       (now.tv_sec == due.tv_sec && now.tv_nsec >= due.tv_nsec);
		if (late || f->flush || f->stop) {
			flush_frame(f, RECORD_CALL);
			flush_frame(f, RECORD_LEDGER);
			due = after_ms(FRAME_MS);
		}
		if (f->queue.first)
			continue;
		f->busy = false;
		f->flush = false;
		pthread_cond_broadcast(&f->idle);
		if (f->stop)
			break;
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int open_dir(const char *path, char *err, size_t err_n)
{
	int fd = -1;
	if (!path[0]) {
		snprintf(err, err_n, "file: a directory is needed: file:DIR");
		return -1;
	}
	if (mkdir(path, 0750) == 0 || errno == EEXIST)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		snprintf(err, err_n, "file: cannot use directory '%.200s': %s%s", path,
			 strerror(errno), errno == ENOENT ? "; create its parent first" : "");
	return fd;
}

static void file_free(struct file *f)
{
	if (!f)
		return;
	for (int k = 0; k < 2; k++) {
		if (f->out[k].zstd)
			file_out_fini(&f->out[k]);
		taken_fini(&f->frame[k]);
	}
	taken_fini(&f->queue);
	taken_fini(&f->done);
	if (f->dir >= 0)
		close(f->dir);
	if (f->event >= 0)
		close(f->event);
	pthread_cond_destroy(&f->wake);
	pthread_cond_destroy(&f->idle);
	pthread_mutex_destroy(&f->lock);
	free(f->instance);
	free(f);
}

static struct file *file_new(const struct sink_cfg *cfg)
{
	struct file *f = calloc(1, sizeof(*f));
	pthread_condattr_t attr;
	if (!f)
		return NULL;
	f->cfg = *cfg;
	f->dir = f->event = -1;
	f->out[0].fd = f->out[1].fd = -1;
	taken_init(&f->queue);
	taken_init(&f->done);
	taken_init(&f->frame[0]);
	taken_init(&f->frame[1]);
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->wake, &attr);
	pthread_cond_init(&f->idle, &attr);
	pthread_condattr_destroy(&attr);
	return f;
}

static int file_start(struct file *f, char *err, size_t err_n)
{
	if ((f->dir = open_dir(f->cfg.spec, err, err_n)) < 0)
		return -1;
	if (!f->cfg.instance || !file_name_safe(f->cfg.instance, strlen(f->cfg.instance))) {
		snprintf(err, err_n, "file: the instance's name does not do for a file name");
		return -1;
	}
	f->instance = strdup(f->cfg.instance);
	f->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int e = f->event < 0 ? -errno : f->instance ? 0 : -ENOMEM;
	for (int k = 0; k < 2 && e == 0; k++)
		e = file_out_init(&f->out[k], (enum record_kind)k, f->dir, f->instance);
	if (e == 0)
		e = -pthread_create(&f->thread, NULL, writer, f);
	if (e)
		snprintf(err, err_n, "file: cannot write in '%.200s': %s", f->cfg.spec,
			 strerror(-e));
	f->started = e == 0;
	return e;
}

static struct sink *file_open(const struct sink_cfg *cfg, char *err, size_t err_n)
{
	struct file *f = file_new(cfg);
	if (!f) {
		snprintf(err, err_n, "file: no memory");
		return NULL;
	}
	if (file_start(f, err, err_n) != 0) {
		file_free(f);
		return NULL;
	}
	return (struct sink *)f;
}

static int file_submit(struct sink *s, struct record **r, const char **exit)
{
	struct file *f = file_of(s);
	if (f->held_records && f->held_bytes + (*r)->n > QUEUE_MAX_BYTES)
		return -EAGAIN;
	if (f->abandoned) { /* by this thread, in drain() */
		*exit = "drain_timeout";
		return -EIO;
	}
	f->held_records++;
	f->held_bytes += (*r)->n;
	pthread_mutex_lock(&f->lock);
	bool wake = !f->queue.first;
	taken_push(&f->queue, *r);
	if (wake)
		pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	*r = NULL;
	return 0;
}

static int file_fd(struct sink *s)
{
	return file_of(s)->event;
}

/* Tells of each record what its `exit` says. */
static void report(struct file *f, struct taken *t)
{
	struct record *r;
	while ((r = taken_pop(t))) {
		f->held_records--;
		f->held_bytes -= r->n;
		f->calls += !r->exit && r->kind == RECORD_CALL && r->last_part;
		f->lost += r->exit != NULL;
		if (f->cfg.report)
			f->cfg.report(f->cfg.report_ctx, r->kind, r->number, r->last_part, r->exit);
		record_free(r);
	}
}

static void file_service(struct sink *s)
{
	struct file *f = file_of(s);
	struct taken done;
	eventfd_t v;
	eventfd_read(f->event, &v);
	taken_init(&done);
	pthread_mutex_lock(&f->lock);
	taken_move(&done, &f->done);
	pthread_mutex_unlock(&f->lock);
	report(f, &done);
}

/* Under lock. False: not idle by then. */
static bool wait_idle(struct file *f, int timeout_ms)
{
	struct timespec due = after_ms(timeout_ms);
	f->flush = true;
	pthread_cond_signal(&f->wake);
	while (f->queue.first || f->busy || f->flush)
		if (pthread_cond_timedwait(&f->idle, &f->lock, &due) == ETIMEDOUT)
			return !f->queue.first && !f->busy && !f->flush;
	return true;
}

static int file_drain(struct sink *s, int timeout_ms)
{
	struct file *f = file_of(s);
	pthread_mutex_lock(&f->lock);
	bool idle = f->abandoned || wait_idle(f, timeout_ms);
	if (!idle) { /* the thread hangs in a write: its copy of these records is its own */
		f->abandoned = true;
		finish(f, &f->frame[0], "drain_timeout");
		finish(f, &f->frame[1], "drain_timeout");
		finish(f, &f->queue, "drain_timeout");
	}
	pthread_mutex_unlock(&f->lock);
	file_service(s);
	return idle ? 0 : -ETIMEDOUT;
}

static bool file_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	*records = file_of(s)->held_records;
	*bytes = file_of(s)->held_bytes;
	return *records != 0;
}

static const char *file_status(struct sink *s)
{
	struct file *f = file_of(s);
	pthread_mutex_lock(&f->lock);
	unsigned long long written = f->written, suspect = f->suspect;
	pthread_mutex_unlock(&f->lock);
	snprintf(f->status, sizeof(f->status), "wrote %llu calls, %llu bytes; lost %llu records",
		 (unsigned long long)f->calls, written, (unsigned long long)f->lost);
	if (suspect)
		snprintf(f->status + strlen(f->status), sizeof(f->status) - strlen(f->status),
			 "; fsync failed on %llu files", suspect);
	return f->status;
}

static void file_close(struct sink *s)
{
	struct file *f = file_of(s);
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	struct timespec due;
	clock_gettime(CLOCK_REALTIME, &due);
	due.tv_sec += CLOSE_MS / 1000;
	if (f->abandoned && pthread_timedjoin_np(f->thread, NULL, &due) != 0)
		return; /* it hangs in a write for ever: what it uses must stay */
	if (!f->abandoned)
		pthread_join(f->thread, NULL);
	file_free(f);
}

const struct sink_ops sink_file = {
	.scheme = "file",
	.open = file_open,
	.submit = file_submit,
	.fd = file_fd,
	.service = file_service,
	.drain = file_drain,
	.held = file_held,
	.status = file_status,
	.close = file_close,
};
