/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/units.h"

static const char *const nonsense[] = {"",      " ",   "-1", "+1",   "nan",  "NaN", "inf",
				       "0x10",  "1e3", "1.", ".5",   "1 2",  "1,5", "ten",
				       "1KiBB", "--",  "%",  "10%%", "1.2.3"};

/* C3: exact semantics of a share */
static void c3_shares(void **state)
{
	(void)state;
	double v = 7;
	const struct {
		const char *text;
		double value;
	} good[] = {{"0", 0},     {"1", 1},    {"0.0", 0}, {"1.0", 1},      {"10%", 0.1},
		    {"0.1", 0.1}, {"100%", 1}, {"0%", 0},  {"0.5%", 0.005}, {"0.000001", 0.000001}};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(units_parse_share(good[i].text, &v), 0);
		assert_true(v == good[i].value);
	}
	v = 7;
	assert_int_equal(units_parse_share("1.000001", &v), -ERANGE);
	assert_int_equal(units_parse_share("101%", &v), -ERANGE);
	assert_int_equal(units_parse_share("none", &v), -EINVAL);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++)
		assert_int_equal(units_parse_share(nonsense[i], &v), -EINVAL);
	assert_true(v == 7);
}

static void sizes(void **state)
{
	(void)state;
	const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{"0", 0},
		{"900", 900},
		{"1B", 1},
		{"64k", 65536},
		{"64K", 65536},
		{"64Ki", 65536},
		{"64KiB", 65536},
		{"64 KiB", 65536},
		{"64kB", 64000},
		{"1MiB", 1 << 20},
		{"1.5MiB", 3 << 19},
		{"1m", 1 << 20},
		{"4G", 1ull << 32},
		{"none", UINT64_MAX},
		{"18446744073709551615", UINT64_MAX},
		{"9007199254740993", 9007199254740993},
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t v = 7;
		assert_int_equal(units_parse_bytes(good[i].text, &v), 0);
		assert_int_equal(v, good[i].value);
	}
	uint64_t v = 7;
	assert_int_equal(units_parse_bytes("18446744073709551616", &v), -ERANGE);
	assert_int_equal(units_parse_bytes("16777216T", &v), -ERANGE);
	assert_int_equal(units_parse_bytes("1.5", &v), -EINVAL);
	assert_int_equal(units_parse_bytes("5s", &v), -EINVAL);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++)
		assert_int_equal(units_parse_bytes(nonsense[i], &v), -EINVAL);
	assert_int_equal(v, 7);
}

static void counts(void **state)
{
	(void)state;
	uint64_t v = 7;
	assert_int_equal(units_parse_count("10k", &v), 0);
	assert_int_equal(v, 10000);
	assert_int_equal(units_parse_count("2M", &v), 0);
	assert_int_equal(v, 2000000);
	assert_int_equal(units_parse_count("2m", &v), -EINVAL);
	assert_int_equal(units_parse_count("none", &v), -EINVAL);
	assert_int_equal(v, 2000000);
}

static void durations(void **state)
{
	(void)state;
	const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{"10ns", 10},
		{"500us", 500000},
		{"200ms", 200000000},
		{"60s", 60000000000},
		{"60", 60000000000},
		{"1.5s", 1500000000},
		{"1m30s", 90000000000},
		{"2h", 7200000000000},
		{"1d", 86400000000000},
		{"5min", 300000000000},
		{"0", 0},
		{"none", UINT64_MAX},
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t v = 7;
		assert_int_equal(units_parse_ns(good[i].text, &v), 0);
		assert_int_equal(v, good[i].value);
	}
	uint64_t v = 7;
	assert_int_equal(units_parse_ns("5M", &v), -EINVAL);
	assert_int_equal(units_parse_ns("1m30", &v), -EINVAL);
	assert_int_equal(units_parse_ns("99999999999999h", &v), -ERANGE);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++)
		assert_int_equal(units_parse_ns(nonsense[i], &v), -EINVAL);
	assert_int_equal(v, 7);
}

static void written(void **state)
{
	(void)state;
	assert_string_equal(units_count(0).s, "0");
	assert_string_equal(units_count(999).s, "999");
	assert_string_equal(units_count(4012).s, "4,012");
	assert_string_equal(units_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
	assert_string_equal(units_bytes(0).s, "0 B");
	assert_string_equal(units_bytes(900).s, "900 B");
	assert_string_equal(units_bytes(1023).s, "1023 B");
	assert_string_equal(units_bytes(1024).s, "1 KiB");
	assert_string_equal(units_bytes(1500000).s, "1.43 MiB");
	assert_string_equal(units_bytes((1 << 20) - 1).s, "1 MiB");
	assert_string_equal(units_bytes(UINT64_MAX - 1).s, "16 EiB");
	assert_string_equal(units_bytes(UINT64_MAX).s, "none");
	assert_string_equal(units_duration(0).s, "0 ns");
	assert_string_equal(units_duration(999).s, "999 ns");
	assert_string_equal(units_duration(1420000).s, "1.42 ms");
	assert_string_equal(units_duration(999999).s, "1 ms");
	assert_string_equal(units_duration(60000000000).s, "60 s");
	assert_string_equal(units_duration(150000000000).s, "2 min 30 s");
	assert_string_equal(units_duration(7500000000000).s, "2 h 5 min");
	assert_string_equal(units_duration(UINT64_MAX).s, "none");
}

/* What is written can be read again, where it is one figure. */
static void round_trips(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 60; shift++) {
		uint64_t n = 1ull << shift, v = 0;
		char text[UNITS_TEXT_MAX];
		strcpy(text, units_bytes(n).s);
		if (strstr(text, "PiB") || strstr(text, "EiB"))
			continue;
		assert_int_equal(units_parse_bytes(text, &v), 0);
		assert_int_equal(v, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c3_shares), cmocka_unit_test(sizes),
		cmocka_unit_test(counts),    cmocka_unit_test(durations),
		cmocka_unit_test(written),   cmocka_unit_test(round_trips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
