/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations with a canary at every place where a secret may stand (fault S1), one kind a protocol, and the rules under
 * which none of them may leave.
 */
#pragma once
#include "base/buf.h"
#include "rpc/framer.h"

enum { CANARIES_MAX = 96, SEGMENTS_MAX = 24, CANARY = 16 };

struct canary {
	char text[CANARY + 1]; /* random; begins with what says how it is to be found */
	bool shown; /* without redaction it is in a record */
};

struct talk {
	uint64_t seed;
	struct canary canary[CANARIES_MAX];
	size_t n_canaries;
	struct {
		enum dir dir;
		struct buf b;
	} segment[SEGMENTS_MAX];
	size_t n_segments;
	size_t skip; /* segments that a late join does not see */
	size_t longest; /* segment */
};

struct talk_kind {
	const char *name;
	void (*make)(struct talk *t);
	bool late; /* joined in the middle */
};

extern const struct talk_kind talk_kinds[]; /* the last one has no name */
extern const char talk_rules[]; /* for rig_redactor() */

void talk_make(const struct talk_kind *k, struct talk *t, uint64_t seed);
void talk_fini(struct talk *t);
