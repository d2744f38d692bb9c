/* SPDX-License-Identifier: Apache-2.0 */
/* TTHeader, and Kitex Protobuf, with a script as input, seeded by tests/corpus/ttheader; from the start, and late. */
#include "tests/fuzz/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;
	uint64_t seed = fuzz_seed(data, size);

	if (fuzz_parse(&s, data, size)) {
		if (s.first != &framer_kitex_protobuf)
			s.first = &framer_ttheader;
		s.limits.streams = 1 + (uint32_t)(size % 5);
		for (int i = 0; i < 2; i++) {
			fuzz_cuts(&s, seed, 1 + size % FUZZ_CUTS_MAX, FUZZ_ALL);
			s.late = !s.late;
		}
	}
	drive_script_fini(&s);
	return 0;
}
