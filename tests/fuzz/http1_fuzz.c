/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 with a script as input, seeded by tests/corpus/http1. */
#include "tests/fuzz/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_script(&framer_http1, data, size);
}
