/* SPDX-License-Identifier: Apache-2.0 */
/* What makers of conversations with canaries share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/canary_talk.h"
#include "tests/unit/encode.h"
#include "tests/unit/gen.h"

/* The rest of talk_kinds[] (canary_talk_rpc.c) */
void canary_thrift(struct talk *t);
void canary_thrift_compact(struct talk *t);
void canary_ttheader(struct talk *t);
void canary_kitex_protobuf(struct talk *t);
void canary_theader(struct talk *t);
void canary_dubbo2(struct talk *t);
void canary_brpc(struct talk *t);

static inline struct canary *canary_new(struct talk *t, const char *begin)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	assert_true(t->n_canaries < CANARIES_MAX);
	struct canary *c = &t->canary[t->n_canaries++];
	strcpy(c->text, begin);
	for (size_t i = strlen(begin); i < CANARY; i++)
		c->text[i] = alphabet[gen_below(&t->seed, 36)];
	c->shown = true;
	return c;
}

static inline const char *c_(struct talk *t)
{
	return canary_new(t, "c")->text;
}

static inline const char *by_pattern(struct talk *t, const char *begin)
{
	return canary_new(t, begin)->text;
}

/* One that no record tells in any case */
static inline const char *unseen(struct talk *t)
{
	struct canary *c = canary_new(t, "c");
	c->shown = false;
	return c->text;
}

static inline struct buf *segment(struct talk *t, enum dir dir)
{
	assert_true(t->n_segments < SEGMENTS_MAX);
	t->segment[t->n_segments].dir = dir;
	return &t->segment[t->n_segments++].b;
}

static inline void pb_text(struct buf *b, unsigned field, const char *s)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, strlen(s));
	put_text(b, s);
}

/* {1: canary, 2: {1: canary}, 3: a pattern's} */
static inline void pb_body(struct buf *b, struct talk *t)
{
	struct buf inner = {0};
	pb_text(b, 1, c_(t));
	pb_text(&inner, 1, c_(t));
	put_varint(b, 2 << 3 | 2);
	put_varint(b, inner.n);
	put(b, buf_bytes(&inner));
	buf_fini(&inner);
	pb_text(b, 3, by_pattern(t, "bdy"));
}
