/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 with a script (tests/unit/drive.h) as input: tests/corpus/http2 seeds it as it is. The driver aborts when
 * the framer breaks its contract; the messages must not depend on the cuts, as long as no place was looked for: there, each
 * part is a sender's segment, and those are what resync() goes by.
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

static void same(const struct drive_result *a, struct drive_result b, bool late)
{
	if (!a->resyncs && !b.resyncs && !late &&
	    (a->text.n != b.text.n || memcmp(a->text.p, b.text.p, a->text.n) != 0)) {
		fprintf(stderr, "whole:\n%s\ncut:\n%s\n", a->text.p, b.text.p);
		abort();
	}
	drive_result_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;
	size_t cuts[CUTS_MAX], n = 1 + size % CUTS_MAX;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	seed |= 1;
	if (drive_parse(&s, bytes_of(data, size), BYTES_MAX) && s.bytes.n) {
		if (s.limits.header_bytes > 65536)
			s.limits.header_bytes = 65536;
		if (!s.first)
			s.first = &framer_http2;
		for (size_t i = 0; i < n; i++)
			cuts[i] = drive_random(&seed) % s.bytes.n;
		qsort(cuts, n, sizeof(cuts[0]), by_value);
		struct drive_result whole = drive_run(&s, NULL, 0);
		same(&whole, drive_run(&s, cuts, n), s.late);
		if (s.bytes.n < 600)
			same(&whole, drive_run_bytes(&s), s.late);
		drive_result_fini(&whole);
	}
	drive_script_fini(&s);
	return 0;
}
