/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken for TTHeader, from the start and in the middle; and bytes changed at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/ttheader_say.h"

static void begin(void)
{
	say_begin(&framer_ttheader, false);
}

static void probes(void **state)
{
	struct bytes q = FRAME(.seq = 1, .ints = {{9, "M"}, {22, "1"}},
			       .payload = binary(1, "M", 1, VOID_RESULT));
	struct bytes r =
		FRAME(.seq = 1, .ints = {{22, "2"}}, .payload = binary(2, "M", 1, VOID_RESULT));
	struct bytes none = {NULL, 0};

	(void)state;
	for (size_t n = 0; n < q.n; n++)
		assert_int_not_equal(framer_ttheader.probe(bytes_head(q, n), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(q, none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe(q, r), PROBE_YES);
	assert_int_equal(framer_ttheader.probe(r, q), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe(r, none), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe(patched(q, 0, 4, 20), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("GET / HTTP/1.1\r\n"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("G"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("\0\0\0\x20\x0f\xff\0\0"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe_late(q, none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(none, r), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(none, q), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe_late(r, none), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe_late(join(BYTES("rest"), q), none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(bytes_from(q, 1), none), PROBE_MORE);
	say_begin(NULL, false);
	client(r);
	server(q);
	tells_part("reversed\n> ttheader ");
}

/* Joined late: a payload that nobody can read proves nothing, a second frame behind it does. */
static void late_unreadable(void **state)
{
	struct bytes f =
		FRAME(.seq = 1, .transform = 1, .ints = {{9, "M"}}, .payload = BYTES("zzz"));

	(void)state;
	say_begin(&framer_ttheader, true);
	client(join(BYTES("rest"), f));
	tells("");
	client(join(f, f));
	char *text = told();
	assert_int_equal(count(text, "corr=1 method=M compressed\n"), 3);
	free(text);
}

/* Random bytes behind a right magic are not taken for a frame. */
static void probe_random(void **state)
{
	uint64_t seed = 0x7777;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint8_t b[64];
		for (size_t k = 0; k < sizeof(b); k++)
			b[k] = (uint8_t)drive_random(&seed);
		b[0] = b[1] = b[2] = 0;
		b[4] = 0x10;
		b[5] = 0;
		assert_int_not_equal(
			framer_ttheader.probe_late(bytes_of(b, sizeof(b)), bytes_of(NULL, 0)),
			PROBE_YES);
	}
}

/* Bytes changed at random: whatever is said does not depend on the cuts, and the driver's contract holds. */
static void mutated(void **state)
{
	const char *const talk = "Talk";
	struct bytes all[2] = {{NULL, 0}, {NULL, 0}};
	uint64_t seed = 0xabcdef;

	(void)state;
	for (int d = 0; d < 2; d++)
		for (uint32_t i = 0; i < 4; i++) {
			struct bytes m = (i % 2 ? protobuf : binary)(1 + (unsigned)d, "E", i,
								     string_field(0, "x"));
			all[d] = join(all[d], FRAME(.flags = !d, .seq = i, .strings = {{"k", "v"}},
						    .ints = {{9, "E"}}, .token = "t",
						    .payload = i % 2 ? framed(m) : m));
			all[d] = join(all[d], stream_frame(i < 3 ? 2 + i : 5, 1, talk, BYTES(""),
							   STRINGS({"isn", "S"}, {"ttscp", "a"})));
		}
	for (int run = 0; run < 4000; run++) {
		begin();
		for (int d = 0; d < 2; d++) {
			struct make_out o = {0};
			out_bytes(&o, all[d]);
			for (unsigned k = drive_random(&seed) % 4; k; k--)
				o.p[drive_random(&seed) % o.n] =
					(uint8_t)drive_random(&seed) >> drive_random(&seed) % 8;
			drive_add(&say_script, d, made(&o));
		}
		say_script.late = run % 2;
		struct drive_result whole = drive_run(&say_script, NULL, 0);
		struct drive_result cut = drive_run_bytes(&say_script);
		assert_string_equal((char *)cut.text.p, (char *)whole.text.p);
		drive_result_fini(&cut);
		drive_result_fini(&whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes),
		cmocka_unit_test(late_unreadable),
		cmocka_unit_test(probe_random),
		cmocka_unit_test(mutated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
