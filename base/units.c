/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	double factor;
};

/* k is 1024 as with curl and tcpdump's sizes; only "kB" is the SI unit */
static const struct unit bytes_units[] = {
	{"", 1},        {"B", 1},        {"k", 0x1p10},   {"Ki", 0x1p10},  {"KiB", 0x1p10},
	{"kB", 1e3},    {"M", 0x1p20},   {"Mi", 0x1p20},  {"MiB", 0x1p20}, {"MB", 1e6},
	{"G", 0x1p30},  {"Gi", 0x1p30},  {"GiB", 0x1p30}, {"GB", 1e9},     {"T", 0x1p40},
	{"Ti", 0x1p40}, {"TiB", 0x1p40}, {"TB", 1e12},    {NULL, 0},
};
static const struct unit count_units[] = {{"", 1},    {"k", 1e3}, {"K", 1e3},
					  {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
static const struct unit time_units[] = {
	{"ns", 1},     {"us", 1e3},   {"ms", 1e6},    {"s", 1e9}, {"m", 60e9},
	{"min", 60e9}, {"h", 3600e9}, {"d", 86400e9}, {NULL, 0},
};

/* An unsigned decimal number at *at, which is moved behind it. strtod alone would take "inf",
 * "0x", "1e9". */
static int number(const char **at, double *out)
{
	size_t whole = strspn(*at, "0123456789"), n = whole;
	if (whole == 0)
		return -EINVAL;
	if ((*at)[n] == '.') {
		size_t part = strspn(*at + n + 1, "0123456789");
		if (part == 0)
			return -EINVAL;
		n += 1 + part;
	}
	char digits[64];
	if (n >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, *at, n);
	digits[n] = 0;
	*out = strtod(digits, NULL);
	*at += n;
	return 0;
}

/* The unit whose name is exactly the n bytes at s. Only sizes leave case aside: "m" is no
 * million, "M" no minute. */
static const struct unit *unit_find(const struct unit *units, const char *s, size_t n)
{
	bool fold = units == bytes_units;
	for (; units->name; units++)
		if (strlen(units->name) == n &&
		    (fold ? strncasecmp(units->name, s, n) : strncmp(units->name, s, n)) == 0)
			return units;
	return NULL;
}

/* Whole numbers exactly up to 2^64 - 1; with a fraction or a unit through a double, rounded to
 * nearest. */
static int scaled(const char *text, const struct unit *units, uint64_t *out)
{
	const char *at = text;
	double value;
	int rc = number(&at, &value);
	if (rc < 0)
		return rc;
	while (*at == ' ')
		at++;
	const struct unit *u = unit_find(units, at, strlen(at));
	if (!u)
		return -EINVAL;
	if (u->factor == 1 && !strchr(text, '.')) {
		errno = 0;
		uint64_t n = strtoull(text, NULL, 10);
		if (errno == ERANGE)
			return -ERANGE;
		*out = n;
		return 0;
	}
	value *= u->factor;
	if (value >= 0x1p64)
		return -ERANGE;
	if (u->factor == 1 && value != floor(value))
		return -EINVAL;
	*out = (uint64_t)(value + 0.5);
	return 0;
}

int units_parse_share(const char *text, double *out)
{
	const char *at = text;
	double value;
	int rc = number(&at, &value);
	if (rc < 0)
		return rc;
	if (at[0] == '%') {
		value /= 100;
		at++;
	}
	if (*at)
		return -EINVAL;
	if (value > 1)
		return -ERANGE;
	*out = value;
	return 0;
}

int units_parse_count(const char *text, uint64_t *out)
{
	return scaled(text, count_units, out);
}

int units_parse_bytes(const char *text, uint64_t *out)
{
	if (strcmp(text, "none") != 0)
		return scaled(text, bytes_units, out);
	*out = UINT64_MAX;
	return 0;
}

int units_parse_ns(const char *text, uint64_t *out)
{
	double sum = 0, value;

	if (strcmp(text, "none") == 0) {
		*out = UINT64_MAX;
		return 0;
	}
	const char *at = text;
	do {
		bool first = at == text;
		int rc = number(&at, &value);
		if (rc < 0)
			return rc;
		size_t n = strcspn(at, "0123456789. ");
		const struct unit *u = unit_find(time_units, at, n);
		if (!u && !(first && *at == 0))
			return -EINVAL;
		sum += value * (u ? u->factor : 1e9);
		at += n;
	} while (*at);
	if (sum >= 0x1p63)
		return -ERANGE;
	*out = (uint64_t)(sum + 0.5);
	return 0;
}

struct units_text units_count(uint64_t n)
{
	struct units_text t;
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n), at = 0;
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			t.s[at++] = ',';
		t.s[at++] = digits[i];
	}
	t.s[at] = 0;
	return t;
}

/* Three digits that tell something, no trailing ".0" */
static void figure(char *out, size_t n, double value, const char *unit)
{
	int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	char digits[24];
	snprintf(digits, sizeof(digits), "%.*f", decimals, value);
	if (strchr(digits, '.')) {
		size_t end = strlen(digits);
		while (digits[end - 1] == '0')
			digits[--end] = 0;
		if (digits[end - 1] == '.')
			digits[end - 1] = 0;
	}
	snprintf(out, n, "%s %s", digits, unit);
}

struct units_text units_bytes(uint64_t n)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct units_text t = {"none"};
	double value = (double)n;
	unsigned i = 0;

	if (n == UINT64_MAX)
		return t;
	for (; value >= 1023.5 && i < 6; i++)
		value /= 1024;
	figure(t.s, sizeof(t.s), value, names[i]);
	return t;
}

struct units_text units_duration(uint64_t ns)
{
	struct units_text t = {"none"};
	unsigned long long s = ns / 1000000000;

	if (ns == UINT64_MAX)
		return t;
	if (ns < 1000)
		snprintf(t.s, sizeof(t.s), "%llu ns", (unsigned long long)ns);
	else if (ns < 999500)
		figure(t.s, sizeof(t.s), (double)ns / 1e3, "us");
	else if (ns < 999500000)
		figure(t.s, sizeof(t.s), (double)ns / 1e6, "ms");
	else if (s < 120)
		figure(t.s, sizeof(t.s), (double)ns / 1e9, "s");
	else if (s < 7200)
		snprintf(t.s, sizeof(t.s), s % 60 ? "%llu min %llu s" : "%llu min", s / 60, s % 60);
	else
		snprintf(t.s, sizeof(t.s), s / 60 % 60 ? "%llu h %llu min" : "%llu h", s / 3600,
			 s / 60 % 60);
	return t;
}
