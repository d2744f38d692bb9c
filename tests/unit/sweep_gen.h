/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures made for the sweep, one a protocol: several connections, many calls, every field of a call and of its
 * reply carries the call's own token, so that a field or a reply of another call is seen as such.
 */
#pragma once
#include "tests/unit/gen.h"

struct sweep_gen {
	const char *name;
	void (*make)(struct gen *g, uint64_t seed);
};
extern const struct sweep_gen sweep_gens[]; /* the last one has no name */
