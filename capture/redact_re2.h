/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RE2 (in C++) as seen from C. Time of one search: linear in the text; memory: bounded. Why RE2: docs/design.md, section 9.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct redact_re2;

/* n bytes of a pattern; matching is of bytes, '.' is any of them. NULL: err says why, in English, cut to err_n. */
struct redact_re2 *redact_re2_new(const char *pattern, size_t n, char *err, size_t err_n);
void redact_re2_free(struct redact_re2 *re);
/* Does it match the empty text? */
int redact_re2_empty(const struct redact_re2 *re);
/* Is there a match at all? 1, 0. */
int redact_re2_any(const struct redact_re2 *re, const uint8_t *p, size_t n);
/* The leftmost match from *at on; *at moves behind it. [from, to) is its first group when it has one, else all of it. 1; 0: none;
 * -1: no answer. */
int redact_re2_next(const struct redact_re2 *re, const uint8_t *p, size_t n, size_t *at,
		    size_t *from, size_t *to);

#ifdef __cplusplus
}
#endif
