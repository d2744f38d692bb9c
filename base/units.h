/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people write them, and as they read them. Every parse: 0 and *out set, or -EINVAL (not
 * that kind of number, negative, NaN) or -ERANGE (more than *out can hold), and *out untouched.
 */
#pragma once
#include <stdint.h>

enum { UNITS_TEXT_MAX = 32 };
struct units_text {
	char s[UNITS_TEXT_MAX]; /* terminated */
};

/* "10%", "0.1", "0", "1": 0 .. 1 exactly; over 1 is -ERANGE. */
int units_parse_share(const char *text, double *out);

/* "100", "10k" (thousands), "2M": a whole number. */
int units_parse_count(const char *text, uint64_t *out);

/* "65536", "64k", "64KiB", "1MiB", "1.5G" are powers of 1024, "64kB" of 1000; "none":
 * UINT64_MAX. */
int units_parse_bytes(const char *text, uint64_t *out);

/* "60s", "200ms", "1m30s", "2h", "500us", "10ns", "1d"; a bare number is seconds; "none":
 * UINT64_MAX. */
int units_parse_ns(const char *text, uint64_t *out);

struct units_text units_count(uint64_t n); /* "4,012" */
struct units_text units_bytes(uint64_t n); /* "900 B", "1.4 MiB"; UINT64_MAX: "none" */
struct units_text
units_duration(uint64_t ns); /* "1.42 ms", "60 s", "2 h 5 min"; UINT64_MAX: "none" */
