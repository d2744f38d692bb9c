/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole table through the prober: both directions, gaps, ends, random cuts. Input: records of one control byte
 * (bit 0 direction, bits 1-2 what: 0, 1 bytes, 2 gap, 3 end; bits 3-4 how it ends, bit 5 a length of two bytes), a
 * length, and so many bytes.
 */
#include <string.h>

#include "base/bytes.h"
#include "tests/fuzz/script.h"

enum { CUTS_MAX = 48, RECORDS_MAX = DRIVE_STEPS_MAX };

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

/*
 * What names a connection that nobody reads is what one side had said when the prober decided: how that was cut may matter
 * (rpc/opaque_name.h). Its bytes are counted all the same: opaque_fuzz holds that. A PROXY preamble of a connection that turns
 * out to be reversed is printed on the side where it was read: before or behind the turn.
 */
static enum fuzz_compare comparable(const struct drive_result *whole)
{
	const char *text = (const char *)whole->text.p;
	bool turned = strstr(text, "switch probe") && strstr(text, "reversed");
	return turned || strstr(text, "opaque") ? FUZZ_NONE : FUZZ_IN_STEP;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = fuzz_seed(data, size);
	size_t cuts[CUTS_MAX], n = 1 + size % CUTS_MAX;

	script_of(&s, bytes_of(data, size));
	struct drive_result whole = drive_run(&s, NULL, 0);
	if (s.bytes.n) {
		for (size_t i = 0; i < n; i++)
			cuts[i] = drive_random(&seed) % s.bytes.n;
		qsort(cuts, n, sizeof(cuts[0]), fuzz_by_value);
		fuzz_same(&whole, drive_run(&s, cuts, n), comparable(&whole));
	}
	drive_result_fini(&whole);
	drive_script_fini(&s);
	return 0;
}
