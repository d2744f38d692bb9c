/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 with a script as input, seeded by tests/corpus/http2. The messages must not depend on the cuts, as long as no
 * place was looked for: there, each part is a sender's segment, and those are what resync() goes by.
 */
#include "tests/fuzz/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drive_script s;

	if (fuzz_parse(&s, data, size)) {
		if (!s.first)
			s.first = &framer_http2;
		fuzz_cuts(&s, fuzz_seed(data, size), 1 + size % FUZZ_CUTS_MAX,
			  s.late ? FUZZ_NONE : FUZZ_IN_STEP);
	}
	drive_script_fini(&s);
	return 0;
}
