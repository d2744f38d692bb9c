/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on disk while Kafka does not answer: append-only segments in one directory, in the order of spool_put(),
 * read back in that order, released by delivery reports. One process at a time (flock on the directory).
 *
 * The caller's thread touches the disk in spool_open() and spool_close() only: one thread of the spool writes, syncs,
 * reads back ahead and deletes. Files: "sidetap-SEGMENT.spool", SEGMENT 16 hex digits, rising (sink/spool_segment.h).
 * Whatever else lies there (other names, links, directories, a newer format) is left alone.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink/record.h"

struct spool;

struct spool_cfg {
	/* Made when absent (0700). Else ours or root's, and writable by nobody else. */
	const char *dir;
	uint64_t max_bytes; /* all files; above it the oldest sealed segment leaves */
	uint64_t segment_bytes; /* sealed above; 0: 8 MiB, at most a quarter of max_bytes */
	uint64_t queue_bytes; /* waiting for the disk; 0: 8 MiB. Then spool_put() says -EAGAIN */
	uint64_t sync_bytes, sync_ns; /* fsync after so much or so long; 0: 1 MiB, 100 ms */
	const char *instance; /* ours; records of other instances are `foreign` */
	/*
	 * A record of ours: written and synced (exit NULL), or gone for good without having been read: exit (static) is
	 * "spool_evicted" (for the cap), "spool_no_space", "spool_io_error" or "spool_corrupt". Called from
	 * spool_service() and spool_close().
	 */
	void (*stored)(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		       uint64_t bytes, const char *exit);
	void *ctx;
};

/* NULL: err says what is wrong and what to do (another process has it, no directory, not ours). What an earlier
 * process left is found by the thread, and comes first. */
struct spool *spool_open(const struct spool_cfg *cfg, char *err, size_t err_n);

int spool_fd(
	const struct spool *s); /* readable: spool_service() has news, or spool_next() a record */
void spool_service(struct spool *s);

/* 0: taken, *r is NULL. -EAGAIN: too much waits for the disk; -ENOSPC, -EIO: the disk refused what came before, it is
 * tried again every second: *r still the caller's. Never blocks. */
int spool_put(struct spool *s, struct record **r);

/* The oldest record that was not read yet; free it with record_free(). NULL: none is ready. */
struct spool_read {
	struct record *r;
	uint64_t token; /* for spool_release(); rises with the order */
	bool foreign;
	char instance[17];
};
bool spool_next(struct spool *s, struct spool_read *out);

/* It was delivered, or is lost for good: once for each that was read, in any order. A segment goes when all of its
 * records went. */
void spool_release(struct spool *s, uint64_t token);

/* Nothing is left to read, to write or on its way: what comes next may overtake nobody. */
bool spool_is_drained(const struct spool *s);

struct spool_stats {
	/* records of ours: put = waiting + stored + lost (by exit); and of all: */
	uint64_t put, waiting, stored, lost;
	uint64_t found; /* left by earlier processes */
	uint64_t broken; /* places in their files that were no entry */
	uint64_t released, evicted; /* stored + found = released + evicted + resident */
	uint64_t resident;
	uint64_t bytes, segments; /* on disk */
	uint64_t syncs, errors;
	bool scanning; /* the count of what was found is not complete yet */
	bool failing; /* the last write failed */
	char last_error[160];
};
struct spool_stats spool_stats(const struct spool *s);

/*
 * A word that the directory keeps (the id of the cluster whose records lie there), in the file "sidetap.cluster": as it was
 * found, "" when there was none; and to be written by the thread, once it can. At most 63 of [A-Za-z0-9._-].
 */
const char *spool_pinned(const struct spool *s);
void spool_pin(struct spool *s, const char *word);

/* Waits until all that was put is synced (at most timeout_ms), then tells each record of ours that is on disk and was
 * not released, once: "spooled". The spool goes on. */
void spool_tell_kept(struct spool *s, int timeout_ms);

/* Writes and syncs what waits (at most timeout_ms), stops the thread, keeps the files. */
void spool_close(struct spool *s, int timeout_ms);
