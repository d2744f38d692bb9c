/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages whose head tells their whole length: what theader, dubbo2 and brpc share. The state of both
 * directions behind a head, losses, ends, and the search for a verified start.
 */
#pragma once
#include "rpc/framer.h"

/* Reply ids are looked up among the last so many ids asked; the frame behind one is waited for if
 * that is no longer than so much. */
enum { SIZED_ASKED_MAX = 16, SIZED_WAIT_MAX = 64 * 1024 };

enum sized_phase {
	SIZED_HEAD, /* before a message: the protocol's own code reads on */
	SIZED_BODY,
	SIZED_CONTROL, /* inside a frame that belongs to no call */
	SIZED_OWED_END, /* the body's end was lost, the END is due */
	SIZED_BAD,
	SIZED_LOST,
	SIZED_ENDED,
};

struct sized_side {
	uint64_t left; /* of the open message or control frame */
	uint64_t missing; /* body bytes lost and not yet told */
	uint64_t corr; /* of the open message */
	uint16_t flags; /* SIZED_BAD */
	uint8_t phase; /* enum sized_phase */
	uint8_t dir; /* what the open message's pieces say */
};

struct sized {
	struct sized_side side[2];
	/* From the limits; compared by the protocol's own next() and check() */
	uint64_t frame_max; /* a longer claim is no frame */
	uint32_t head_max; /* nor is one with a longer head */
	uint64_t asked[SIZED_ASKED_MAX]; /* ids of the requests that came last */
	uint8_t n_asked, asked_at;
	/* A request that waits in resync() for what follows it, and that a reply to it has come */
	bool candidate_waits, candidate_answered;
	uint64_t candidate; /* its id */
	bool uncertain; /* joined late, or lost something: from here on */
};

void sized_init(struct sized *s, const struct framer_limits *limits, bool late);

/* Notes the id of a request that awaits a reply: for each as its head is given out, or a reply behind a loss is not
 * found by it. Its place among the SIZED_ASKED_MAX. */
unsigned sized_ask(struct sized *s, uint64_t id);
/* The place of the newest request with this id; -1: none of the last ones. */
int sized_asked(const struct sized *s, uint64_t id);

/*
 * Before the head of a reply to `id` is given out. True: a request with this id waits in resync(); the reply proves it,
 * and waits until it was given out: return 0 with *out as it is, then.
 */
bool sized_reply_waits(struct sized *s, uint64_t id, struct piece *out);

/*
 * next() for every phase but SIZED_HEAD, *out being preset. false: the direction stands before a head and `in` is
 * not empty; the protocol reads it.
 */
bool sized_next(struct sized *s, enum dir dir, struct bytes in, struct piece *out, int64_t *r);

/*
 * The head of a message is the first `head` bytes of `in` and stands in out->head, out->corr, out->dir; `body`
 * bytes follow it. Gives it out with as much of the body as is here; the bytes done.
 */
int64_t sized_open(struct sized *s, enum dir dir, struct bytes in, size_t head, uint64_t body,
		   struct piece *out);

/* A frame of `total` bytes that belongs to no call. */
int64_t sized_control(struct sized *s, enum dir dir, struct bytes in, uint64_t total,
		      struct piece *out);

/* What stands here is no frame: out of step, resync() comes next. */
int64_t sized_lost(struct sized *s, enum dir dir, struct piece *out);
/* The same, but for good when no loss and no late join can explain it. */
int64_t sized_bad(struct sized *s, enum dir dir, struct piece *out);

/* gap(), end() and fini() of the framer, whose state begins with a struct sized */
int sized_gap(void *state, enum dir dir, uint64_t n);
void sized_end(void *state, enum dir dir, enum end_how how, struct piece *out);
void sized_fini(void *state);

/* What a place in the bytes says of itself. */
struct sized_frame {
	uint64_t total; /* bytes of the whole frame */
	uint64_t id;
	bool request, reply; /* `id` names the request; neither: it proves nothing */
};

struct sized_format {
	uint8_t mark; /* a byte that each frame has */
	uint8_t mark_at; /* at this offset */
	/*
	 * Could a frame begin at in.p[0]? As strict as a look at its head and the first bytes of its body allows. 1:
	 * *f is filled; 0: needs more than in.n bytes to tell (never more than a head that may be gathered);
	 * negative: no. What it says 1 to, next() must take.
	 */
	int (*check)(const struct sized *s, enum dir dir, struct bytes in, struct sized_frame *f);
};

/*
 * resync() of the framer. A place that the check believes is a start when it lies at a turn, when it answers an id that
 * was asked, or is answered, or when the next frame agrees. A frame alone in the middle of bytes may be the body of another (a
 * forwarded message), so that it is waited for what follows, as long as that is not too far away.
 */
int sized_resync(struct sized *s, const struct sized_format *f, enum dir dir, struct bytes in,
		 unsigned hints, size_t *skip);

/* A name that may become a service or a method: 1 to SIZED_NAME_MAX bytes, visible ASCII (R7). */
enum { SIZED_NAME_MAX = 256 };
bool sized_is_name(struct bytes b);

/* v in decimal, written behind *text, which has room for SIZED_DECIMAL_MAX bytes and is moved on. */
enum { SIZED_DECIMAL_MAX = 20 };
struct bytes sized_decimal(char **text, uint64_t v);
