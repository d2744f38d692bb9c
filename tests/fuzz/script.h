/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One framer with a script (tests/unit/drive.h) as input: tests/corpus/PROTOCOL seeds it as it is. The driver aborts
 * when the framer breaks its contract; the messages must not depend on the cuts.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "rpc/protocols.h"
#include "tests/unit/drive.h"

enum { FUZZ_BYTES_MAX = 1 << 15, FUZZ_CUTS_MAX = 64 };

/* Of the whole input; never 0. */
static inline uint64_t fuzz_seed(const uint8_t *data, size_t size)
{
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	return seed | 1;
}

static inline int fuzz_by_value(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

/* Do cuts matter? Where a framer was out of step they may, for those that go on where a sender's segment begins. */
enum fuzz_compare { FUZZ_ALL, FUZZ_IN_STEP, FUZZ_NONE };

static inline void fuzz_same(const struct drive_result *a, struct drive_result b,
			     enum fuzz_compare how)
{
	bool in_step = !a->resyncs && !b.resyncs;

	if ((how == FUZZ_ALL || (how == FUZZ_IN_STEP && in_step)) &&
	    (a->text.n != b.text.n || memcmp(a->text.p, b.text.p, a->text.n) != 0)) {
		fprintf(stderr, "whole:\n%s\ncut:\n%s\n", a->text.p, b.text.p);
		abort();
	}
	drive_result_fini(&b);
}

/* A script that is not empty, whole, with n random cuts, and cut at every byte when it is short. */
static inline void fuzz_cuts(const struct drive_script *s, uint64_t seed, size_t n,
			     enum fuzz_compare how)
{
	size_t cuts[FUZZ_CUTS_MAX];

	for (size_t i = 0; i < n; i++)
		cuts[i] = drive_random(&seed) % s->bytes.n;
	qsort(cuts, n, sizeof(cuts[0]), fuzz_by_value);
	struct drive_result whole = drive_run(s, NULL, 0);
	fuzz_same(&whole, drive_run(s, cuts, n), how);
	if (s->bytes.n < 600)
		fuzz_same(&whole, drive_run_bytes(s), how);
	drive_result_fini(&whole);
}

/* False: no script, or an empty one. Free it in any case. */
static inline bool fuzz_parse(struct drive_script *s, const uint8_t *data, size_t size)
{
	if (!drive_parse(s, bytes_of(data, size), FUZZ_BYTES_MAX) || !s->bytes.n)
		return false;
	if (s->limits.header_bytes > 65536)
		s->limits.header_bytes = 65536;
	return true;
}

static inline int fuzz_script(const struct framer_ops *ops, const uint8_t *data, size_t size)
{
	struct drive_script s;

	if (fuzz_parse(&s, data, size)) {
		if (!s.first)
			s.first = ops;
		fuzz_cuts(&s, fuzz_seed(data, size), 1 + size % FUZZ_CUTS_MAX, FUZZ_ALL);
	}
	drive_script_fini(&s);
	return 0;
}
