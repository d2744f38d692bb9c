/* SPDX-License-Identifier: Apache-2.0 */
/* "did you mean": the known name that a mistyped one is closest to. */
#pragma once
#include <stddef.h>

/* The index of the name at the smallest edit distance (a swap of neighbours counts one), at most
 * a third of its length; -1: none is near. names[i] may be NULL. */
int nearest_name(const char *typed, const char *const *names, size_t n);
