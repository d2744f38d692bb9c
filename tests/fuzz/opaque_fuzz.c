/* SPDX-License-Identifier: Apache-2.0 */
/* opaque with a script as input, seeded by tests/corpus/opaque. */
#include "tests/fuzz/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_script(&framer_opaque, data, size);
}
