/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open streams of one connection (TTHeader streaming), by id. As many as the limit allows; those that were
 * reset before the server said a word are remembered a while, since its words may still come and belong to nobody.
 */
#pragma once
#include "base/list.h"
#include "rpc/framer.h"

enum { TTHEADER_STREAMS_DEAD_MAX = 1024 };

enum ttheader_stream_state {
	TTHEADER_STREAM_IDLE, /* this direction has not begun */
	TTHEADER_STREAM_OPEN,
	TTHEADER_STREAM_DONE,
	TTHEADER_STREAM_LOST, /* it has a hole, or its beginning was not seen: not followed any more */
};

struct ttheader_stream {
	struct list in_use; /* live: least recently used first; dead: oldest first */
	struct ttheader_stream *next; /* of the bucket */
	uint32_t id;
	uint8_t state[2]; /* by enum dir */
	bool dead; /* reset */
	bool orphan; /* the client's Header was not seen */
	bool lost[2]; /* frames of that direction were lost since it began, maybe a Rst of it */
};

struct ttheader_streams {
	struct list live, dead;
	struct ttheader_stream **buckets; /* NULL before the first stream */
	uint32_t n_live, n_dead;
};

void ttheader_streams_init(struct ttheader_streams *t);
void ttheader_streams_fini(struct ttheader_streams *t);

/* Live or dead; a live one counts as used. NULL: none. */
struct ttheader_stream *ttheader_streams_find(struct ttheader_streams *t, uint32_t id);

/* A new one; there must be none of that id. NULL: no memory. */
struct ttheader_stream *ttheader_streams_add(struct ttheader_streams *t, uint32_t id);

/* It is over: freed, or remembered as dead when the server's side has not begun. */
void ttheader_streams_reset(struct ttheader_streams *t, struct ttheader_stream *s);
void ttheader_streams_del(struct ttheader_streams *t, struct ttheader_stream *s);

/* The least recently used; NULL: none is live. */
struct ttheader_stream *ttheader_streams_oldest(const struct ttheader_streams *t);

/* A stretch of `dir` was lost. */
void ttheader_streams_lose(struct ttheader_streams *t, enum dir dir);
