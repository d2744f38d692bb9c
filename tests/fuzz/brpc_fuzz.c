/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_script(&framer_brpc, data, size);
}
