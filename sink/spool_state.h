/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of spool: what its two threads share, under one lock; and what the writer owns. */
#pragma once
#include <errno.h>
#include <pthread.h>

#include "base/list.h"
#include "sink/spool.h"
#include "sink/taken.h"

enum { SPOOL_INDEX_BITS = 24 };

/* A record of ours in a segment: enough to report it */
struct spool_item {
	uint64_t number;
	uint32_t bytes;
	uint8_t kind;
	bool last_part, released;
	bool told; /* that it stays on disk */
};

struct spool_segment {
	struct list in; /* spool.segments, oldest first */
	uint64_t id, bytes;
	struct spool_item *items; /* NULL: of an earlier process, or empty */
	uint32_t n, cap;
	uint32_t released;
	uint32_t looked; /* items that spool_tell_kept() is done with */
	bool counted; /* n is known */
	bool sealed; /* nothing is written any more */
	bool loaded; /* its records were read ahead */
	bool kept; /* not ours to touch: another version, unreadable */
};

struct spool_ahead {
	struct list in;
	struct spool_read read;
};

struct spool_news {
	uint64_t number, bytes;
	const char *exit;
	uint8_t kind;
	bool last_part;
};

struct spool {
	struct spool_cfg cfg;
	char instance[17];
	int dir, event;
	char pinned[64]; /* as found */
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under the lock */
	struct taken queue; /* to be written */
	struct taken unsynced; /* written, not synced; changed by the thread only */
	struct list segments, ahead; /* struct spool_segment, struct spool_ahead */
	uint64_t ahead_bytes;
	struct spool_news *news;
	size_t first_news, n_news, cap_news;
	uint64_t deadline_ns; /* of stop */
	char pin[64]; /* to be written when pin_due */
	bool pin_due;
	bool stop, want,
		busy; /* want: the reader found nothing ready; busy: the thread is at the disk */
	struct spool_stats stats;
	int error; /* of the last write: -errno */
	uint64_t retry_ns; /* not before, after an error */

	/* the thread's */
	struct spool_segment *active;
	int fd; /* of active */
	uint64_t next_id;
	uint64_t unsynced_since_ns;
	uint32_t synced; /* items of active that were synced */
};

/* sink/spool_write.c, on the thread, under the lock, which they give up while at the disk. True: something was done. */
bool spool_write_some(struct spool *s, uint64_t now_ns);
bool spool_sync_due(struct spool *s, uint64_t now_ns, bool now);
void spool_seal(struct spool *s);
/* -ENOSPC: the cap is reached by what cannot leave now; -ENOMEM */
int spool_make_room(struct spool *s, uint64_t bytes);

/* sink/spool_load.c, likewise */
bool spool_load_some(struct spool *s);
bool spool_count_some(struct spool *s);
bool spool_remove_some(struct spool *s);
bool spool_pin_some(struct spool *s, uint64_t now_ns);

static inline struct spool_news spool_news_of(const struct record *r, const char *exit)
{
	return (struct spool_news) {r->number, r->n, exit, (uint8_t)r->kind, r->last_part};
}

/* Says nothing of the disk. */
static inline bool spool_is_momentary(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* Room to tell of so many records besides those that are written and not synced. -ENOMEM: not now. */
int spool_reserve(struct spool *s, size_t n);
/* These two need room: their caller reserved it, so that a record without a fate cannot be. */
void spool_news_add(struct spool *s, const struct spool_news *news, size_t n);
void spool_tell(struct spool *s, const struct spool_item *it, const char *exit);
/* Nothing of the segment will be read again: what is ours in it and has no fate yet is lost by `exit`. -ENOMEM: nothing
 * was done. */
int spool_give_up(struct spool *s, struct spool_segment *g, const char *exit);
void spool_failed(struct spool *s, int err, const char *what);
void spool_segment_free(struct spool_segment *g);
