/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TTHeader, and Kitex Protobuf, with a script (tests/unit/drive.h) as input: tests/corpus/ttheader seeds it as it is.
 * The driver aborts when a framer breaks its contract; the messages must not depend on the cuts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/protocols.h"
#include "tests/unit/drive.h"

enum { BYTES_MAX = 1 << 14, CUTS_MAX = 64 };

static int by_value(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static void same(const struct drive_result *a, struct drive_result b)
{
	if (a->text.n != b.text.n || memcmp(a->text.p, b.text.p, a->text.n) != 0) {
		fprintf(stderr, "whole:\n%s\ncut:\n%s\n", a->text.p, b.text.p);
		abort();
	}
	drive_result_fini(&b);
}

static void run(struct drive_script *s, uint64_t seed, size_t n_cuts)
{
	size_t cuts[CUTS_MAX];

	for (size_t i = 0; i < n_cuts; i++)
		cuts[i] = drive_random(&seed) % s->bytes.n;
	qsort(cuts, n_cuts, sizeof(cuts[0]), by_value);
	struct drive_result whole = drive_run(s, NULL, 0);
	same(&whole, drive_run(s, cuts, n_cuts));
	if (s->bytes.n < 600)
		same(&whole, drive_run_bytes(s));
	drive_result_fini(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	seed |= 1;
	if (drive_parse(&s, bytes_of(data, size), BYTES_MAX) && s.bytes.n) {
		if (s.limits.header_bytes > 65536)
			s.limits.header_bytes = 65536;
		if (s.first != &framer_kitex_protobuf)
			s.first = &framer_ttheader;
		s.limits.streams = 1 + (uint32_t)(size % 5);
		run(&s, seed, 1 + size % CUTS_MAX);
		s.late = !s.late;
		run(&s, seed, 1 + size % CUTS_MAX);
	}
	drive_script_fini(&s);
	return 0;
}
