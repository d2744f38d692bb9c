/* SPDX-License-Identifier: Apache-2.0 */
/* A spool on a directory of the test's own, and what it says. Include after cmocka.h. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sink/record_block.h"
#include "sink/spool.h"
#include "sink/spool_segment.h"

enum { NUMBERS = 4096 };

static char dir[64];

struct rig {
	struct spool *s;
	unsigned stored[NUMBERS];
	const char *exit[NUMBERS];
	unsigned told;
	uint64_t max_bytes;
};

static inline void on_stored(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
			     uint64_t bytes, const char *exit)
{
	struct rig *g = ctx;
	(void)kind;
	assert_true(number < NUMBERS);
	assert_true(bytes > 0 && last_part);
	if (exit)
		g->exit[number] = exit;
	else
		g->stored[number]++;
	g->told++;
}

static inline void clean(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

static inline int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/spool-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	clean();
	return 0;
}

static inline struct spool_cfg config(struct rig *g, const char *instance)
{
	*g = (struct rig) {0};
	return (struct spool_cfg) {.dir = dir,
				   .max_bytes = 1 << 20,
				   .instance = instance,
				   .sync_ns = 1000000,
				   .stored = on_stored,
				   .ctx = g};
}

static inline void open_with(struct rig *g, struct spool_cfg cfg)
{
	char err[256];
	g->max_bytes = cfg.max_bytes;
	g->s = spool_open(&cfg, err, sizeof(err));
	if (!g->s)
		fail_msg("%s", err);
}

static inline void open_as(struct rig *g, const char *instance)
{
	open_with(g, config(g, instance));
}

static inline uint8_t byte_of(uint64_t number, size_t i)
{
	return (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

static inline struct record *make(uint64_t number, size_t n)
{
	struct record *r = record_block_new(RECORD_CALL, n);
	assert_non_null(r);
	for (size_t i = 0; i < n; i++)
		r->data[i] = byte_of(number, i);
	r->number = number;
	r->last_part = true;
	r->unix_ns = number * 1000;
	r->key = (struct record_span) {1, 5};
	r->maybe_there = number % 3 == 0;
	return r;
}

static inline int put(struct rig *g, uint64_t number, size_t n)
{
	struct record *r = make(number, n);
	int e = spool_put(g->s, &r);
	assert_true(e == 0 ? !r : !!r);
	record_free(r);
	return e;
}

/* Waits for the spool's thread by its descriptor, at most 10 s in all. */
static inline void wait_until(struct rig *g, bool (*done)(struct rig *g))
{
	struct pollfd p = {.fd = spool_fd(g->s), .events = POLLIN};
	for (int i = 0; i < 2000 && !done(g); i++) {
		poll(&p, 1, 5);
		spool_service(g->s);
	}
	assert_true(done(g));
}

static inline bool nothing_waits(struct rig *g)
{
	return spool_stats(g->s).waiting == 0;
}

static inline void put_all(struct rig *g, uint64_t from, uint64_t to, size_t n)
{
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(put(g, i, n), 0);
	wait_until(g, nothing_waits);
	spool_service(g->s);
}

/* The next one; false after all was read. */
static inline bool next(struct rig *g, struct spool_read *out)
{
	struct pollfd p = {.fd = spool_fd(g->s), .events = POLLIN};
	for (int i = 0; i < 2000; i++) {
		if (spool_next(g->s, out)) {
			assert_true(out->r->number < NUMBERS);
			for (size_t j = 0; j < out->r->n; j++)
				assert_int_equal(out->r->data[j], byte_of(out->r->number, j));
			assert_int_equal(out->r->unix_ns, out->r->number * 1000);
			assert_int_equal(out->r->key.n, 5);
			assert_int_equal(out->r->maybe_there, out->r->number % 3 == 0);
			return true;
		}
		if (spool_is_drained(g->s))
			return false;
		poll(&p, 1, 5);
		spool_service(g->s);
	}
	fail_msg("nothing to read, and not drained");
	return false;
}

/* As du counts: in blocks */
static inline uint64_t disk_bytes(void)
{
	uint64_t n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			n += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	return n;
}

static inline void balance(struct rig *g)
{
	struct spool_stats st = spool_stats(g->s);
	assert_int_equal(st.put, st.waiting + st.stored + st.lost);
	assert_int_equal(st.stored + st.found, st.released + st.evicted + st.resident);
	assert_true(disk_bytes() <= g->max_bytes); /* D13, F8 */
}

static inline void shut(struct rig *g)
{
	balance(g);
	spool_close(g->s, 5000);
}

/* Reads all that is left, in order; releases them when asked. The count. */
static inline unsigned read_all(struct rig *g, bool release, uint64_t *last)
{
	struct spool_read r;
	unsigned n = 0;
	while (next(g, &r)) {
		if (last) {
			assert_true(r.r->number > *last);
			*last = r.r->number;
		}
		if (release)
			spool_release(g->s, r.token);
		record_free(r.r);
		n++;
	}
	return n;
}

static inline unsigned files(void)
{
	unsigned n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));)
		n += strstr(e->d_name, ".spool") != NULL;
	closedir(d);
	return n;
}

static inline bool no_files(struct rig *g)
{
	return spool_stats(g->s).segments == 0;
}
