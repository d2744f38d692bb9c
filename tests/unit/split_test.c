/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The property of every protocol of the table: its messages do not depend on how the bytes were cut. Over all
 * scripts of tests/corpus/PROTOCOL/ (SIDETAP_TESTS names another place than ./tests).
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/prober.h"
#include "tests/unit/drive.h"

enum { TWO_CUTS_MAX = 90, ONE_CUT_MAX = 1200, RANDOM_RUNS = 40, RANDOM_CUTS = 24, CASES_MAX = 512 };

static char *case_paths[CASES_MAX];
static size_t n_cases;

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void cases_find(const char *folder)
{
	DIR *d = opendir(folder);

	for (struct dirent *e; d && (e = readdir(d));) {
		char path[1024];
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		size_t n = strlen(e->d_name);
		if (n > 5 && !strcmp(e->d_name + n - 5, ".case")) {
			assert_true(n_cases < CASES_MAX);
			case_paths[n_cases++] = strdup(path);
		} else if (e->d_type == DT_DIR && e->d_name[0] != '.') {
			cases_find(path);
		}
	}
	if (d)
		closedir(d);
}

static int setup(void **state)
{
	const char *tests = getenv("SIDETAP_TESTS");
	char folder[512];

	(void)state;
	snprintf(folder, sizeof(folder), "%s/corpus", tests ? tests : "tests");
	cases_find(folder);
	qsort(case_paths, n_cases, sizeof(case_paths[0]), by_name);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (n_cases)
		free(case_paths[--n_cases]);
	return 0;
}

static void load(struct drive_script *s, const char *path)
{
	if (!drive_load(s, path))
		fail_msg("%s: no script", path);
}

static void same(const char *path, const struct drive_script *s, const size_t *cuts, size_t n,
		 const char *want)
{
	struct drive_result r = drive_run(s, cuts, n);

	if (strcmp((char *)r.text.p, want) != 0)
		fail_msg("%s, %zu cuts at %zu %zu ...: got\n%s\nwant\n%s", path, n, n ? cuts[0] : 0,
			 n > 1 ? cuts[1] : 0, (char *)r.text.p, want);
	drive_result_fini(&r);
}

/* Each script of the corpus gives the text written in it; each protocol of the table has scripts. */
static void expected_text(void **state)
{
	(void)state;
	assert_true(n_cases > 0);
	for (size_t i = 0; i < n_cases; i++) {
		struct drive_script s;
		load(&s, case_paths[i]);
		assert_int_equal(buf_append(&s.expect, bytes_of("", 1)), 0);
		assert_true(s.expect.n > 1);
		same(case_paths[i], &s, NULL, 0, (char *)s.expect.p);
		drive_script_fini(&s);
	}
	for (size_t k = 0; prober_table[k]; k++) {
		bool found = false;
		for (size_t i = 0; i < n_cases && !found; i++) {
			struct drive_script s;
			load(&s, case_paths[i]);
			struct drive_result r = drive_run(&s, NULL, 0);
			char mark[64];
			snprintf(mark, sizeof(mark), " %s", prober_table[k]->name);
			found = strstr((char *)r.text.p, mark) || strstr(case_paths[i], mark + 1);
			drive_result_fini(&r);
			drive_script_fini(&s);
		}
		if (!found)
			fail_msg("no script for %s", prober_table[k]->name);
	}
}

static void every_cut(const char *path, const struct drive_script *s, const char *want)
{
	size_t n = s->bytes.n, one = n / ONE_CUT_MAX + 1, two = n / TWO_CUTS_MAX + 1;

	for (size_t i = 1; i < n; i += one)
		same(path, s, (size_t[]) {i}, 1, want);
	for (size_t i = 1; i < n; i += two)
		for (size_t j = i + 1; j < n; j += two)
			same(path, s, (size_t[]) {i, j}, 2, want);
}

static int by_value(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static void random_cuts(const char *path, const struct drive_script *s, const char *want,
			uint64_t *seed)
{
	size_t cuts[RANDOM_CUTS];

	for (int run = 0; s->bytes.n && run < RANDOM_RUNS; run++) {
		for (size_t i = 0; i < RANDOM_CUTS; i++)
			cuts[i] = drive_random(seed) % s->bytes.n;
		qsort(cuts, RANDOM_CUTS, sizeof(cuts[0]), by_value);
		same(path, s, cuts, RANDOM_CUTS, want);
	}
}

static void cuts_do_not_matter(void **state)
{
	uint64_t seed = 0x5eed;

	(void)state;
	for (size_t i = 0; i < n_cases; i++) {
		struct drive_script s;
		load(&s, case_paths[i]);
		struct drive_result whole = drive_run(&s, NULL, 0);
		struct drive_result bytes = drive_run_bytes(&s);
		assert_string_equal((char *)bytes.text.p, (char *)whole.text.p);
		every_cut(case_paths[i], &s, (char *)whole.text.p);
		random_cuts(case_paths[i], &s, (char *)whole.text.p, &seed);
		drive_result_fini(&bytes);
		drive_result_fini(&whole);
		drive_script_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expected_text),
		cmocka_unit_test(cuts_do_not_matter),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
