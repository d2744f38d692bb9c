/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole table through the prober: both directions, gaps, ends, random cuts. Input: records of one control byte
 * (bit 0 direction, bits 1-2 what: 0, 1 bytes, 2 gap, 3 end; bits 3-4 how it ends, bit 5 a length of two bytes), a
 * length, and so many bytes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/unit/drive.h"

enum { CUTS_MAX = 48, RECORDS_MAX = DRIVE_STEPS_MAX };

static int by_value(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static void script_of(struct drive_script *s, struct bytes data)
{
	struct cursor c = cursor_of(data);

	drive_script_init(s);
	while (cursor_left(&c) > 2 && s->n < RECORDS_MAX) {
		uint8_t control = cursor_u8(&c);
		enum dir dir = control & 1;
		size_t n = control & 32 ? cursor_be16(&c) : cursor_u8(&c);
		unsigned what = control >> 1 & 3;
		if (what == 2)
			drive_add_gap(s, dir, n + 1);
		else if (what == 3)
			drive_add_end(s, dir, (enum end_how)(control >> 3 & 3));
		else
			drive_add(s, dir,
				  cursor_take(&c, n < cursor_left(&c) ? n : cursor_left(&c)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;
	size_t cuts[CUTS_MAX], n = 1 + size % CUTS_MAX;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	seed |= 1;
	script_of(&s, bytes_of(data, size));
	struct drive_result whole = drive_run(&s, NULL, 0);
	if (s.bytes.n) {
		for (size_t i = 0; i < n; i++)
			cuts[i] = drive_random(&seed) % s.bytes.n;
		qsort(cuts, n, sizeof(cuts[0]), by_value);
		struct drive_result cut = drive_run(&s, cuts, n);
		if (cut.text.n != whole.text.n ||
		    memcmp(cut.text.p, whole.text.p, whole.text.n) != 0) {
			fprintf(stderr, "whole:\n%s\ncut:\n%s\n", whole.text.p, cut.text.p);
			abort();
		}
		drive_result_fini(&cut);
	}
	drive_result_fini(&whole);
	drive_script_fini(&s);
	return 0;
}
