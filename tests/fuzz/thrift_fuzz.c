/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thrift. The input as a script (tests/unit/drive.h; tests/corpus/thrift seeds it as it is): the driver aborts when the
 * framer breaks its contract, and the messages must not depend on the cuts; where it is out of step they may, since
 * it goes on where a sender's segment begins. Then the input as a struct, an envelope, a result: no cut changes
 * what the skip says, no longer prefix what is known.
 */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/protocols.h"
#include "rpc/thrift_message.h"
#include "tests/unit/drive.h"

enum { BYTES_MAX = 1 << 14, CUTS_MAX = 64 };

static void must(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static int by_value(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static void same(const struct drive_result *a, struct drive_result b, bool compare)
{
	bool equal = a->text.n == b.text.n && memcmp(a->text.p, b.text.p, a->text.n) == 0;

	if (compare && !equal)
		fprintf(stderr, "whole:\n%s\ncut:\n%s\n", a->text.p, b.text.p);
	must(equal || !compare, "cuts matter");
	drive_result_fini(&b);
}

static void scripts(struct bytes data, uint64_t seed)
{
	struct drive_script s;
	size_t cuts[CUTS_MAX], n = 1 + data.n % CUTS_MAX;

	if (drive_parse(&s, data, BYTES_MAX) && s.bytes.n) {
		bool in_step = !s.late;
		for (size_t i = 0; i < s.n; i++)
			in_step &= s.steps[i].what != DRIVE_GAP;
		if (!s.first)
			s.first = &framer_thrift;
		for (size_t i = 0; i < n; i++)
			cuts[i] = drive_random(&seed) % s.bytes.n;
		qsort(cuts, n, sizeof(cuts[0]), by_value);
		struct drive_result whole = drive_run(&s, NULL, 0);
		same(&whole, drive_run(&s, cuts, n), in_step);
		if (s.bytes.n < 600)
			same(&whole, drive_run_bytes(&s), in_step);
		drive_result_fini(&whole);
	}
	drive_script_fini(&s);
}

struct end {
	int64_t used, error;
	bool done;
};

static struct end skip(enum thrift_form form, struct bytes in, uint64_t *seed)
{
	struct thrift_skip s;
	struct end e = {0};
	int64_t n;

	thrift_skip_start(&s, form);
	do {
		struct bytes rest = bytes_from(in, (size_t)e.used);
		n = thrift_skip_next(&s, seed ? bytes_head(rest, 1 + drive_random(seed) % 7) : rest,
				     &e.done);
		must(n <= (int64_t)rest.n, "reads beyond");
		e.used += n > 0 ? n : 0;
	} while (n > 0 && !e.done);
	e.error = n < 0 ? n : 0;
	return e;
}

static void structs(struct bytes in, uint64_t seed)
{
	for (int f = THRIFT_BINARY; f <= THRIFT_COMPACT; f += THRIFT_COMPACT) {
		struct end whole = skip((enum thrift_form)f, in, NULL);
		struct end cut = skip((enum thrift_form)f, in, &seed);
		must(whole.used == cut.used && whole.error == cut.error && whole.done == cut.done,
		     "cuts matter to the skip");
		for (unsigned type = THRIFT_REPLY; type <= THRIFT_EXCEPTION; type++) {
			struct thrift_result r =
				thrift_result_read((enum thrift_form)f, (uint8_t)type, in);
			size_t n = in.n ? drive_random(&seed) % in.n : 0;
			struct thrift_result p = thrift_result_read(
				(enum thrift_form)f, (uint8_t)type, bytes_head(in, n));
			must(!p.known || (r.known && r.outcome == p.outcome && r.code == p.code &&
					  bytes_eq(r.text, p.text)),
			     "more bytes change a result");
			must(!p.broken || r.broken, "more bytes mend a struct");
		}
	}
}

static void envelopes(struct bytes in, uint64_t seed)
{
	struct thrift_message m, p;
	size_t need, n = in.n ? drive_random(&seed) % in.n : 0;
	int r = thrift_message_parse(in, true, &m, &need);

	must(r != 0 || need > in.n, "asks for what is there");
	must(r != 1 || (m.name.n && m.struct_off <= in.n), "an envelope beyond its bytes");
	int k = thrift_message_parse(bytes_head(in, n), true, &p, &need);
	must(k == 0 || k == r, "a prefix says otherwise");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	uint64_t seed = 0x9e3779b97f4a7c15 ^ size;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ data[i]) * 0x100000001b3;
	seed |= 1;
	scripts(in, seed);
	structs(in, seed);
	envelopes(in, seed);
	return 0;
}
