/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skip against Apache Thrift's own Python library (tests/unit/thrift_oracle.py): 20,000 random structs, in binary
 * and compact, end where the library ended them, at once and in parts; a prefix does not end; a flipped bit is never
 * read beyond its bytes. Skips when the library cannot be had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

enum { STRUCTS = 20000, LENGTH_MAX = 8 << 20, ABSENT = 77 };

static uint64_t seed = 0x0c1e;

struct end {
	size_t used;
	bool done;
};

/* In a block of its own, so that a sanitizer sees a read beyond it. */
static struct end skip_block(enum thrift_form form, struct bytes in, bool parts)
{
	struct thrift_skip s = {.form = form};
	struct end e = {0};
	uint8_t *block = malloc(in.n + 1);
	int64_t n;

	assert_non_null(block);
	memcpy(block + 1, in.p, in.n);
	do {
		struct bytes rest = bytes_of(block + 1 + e.used, in.n - e.used);
		if (parts)
			rest = bytes_head(rest, 1 + drive_random(&seed) % 40);
		n = thrift_skip_next(&s, rest, &e.done);
		assert_true(n <= (int64_t)rest.n);
		e.used += n > 0 ? (size_t)n : 0;
	} while (n > 0 && !e.done);
	free(block);
	return e;
}

static void judge(enum thrift_form form, struct buf *b, size_t n)
{
	struct bytes whole = bytes_of(b->p, n);

	for (int parts = 0; parts < 2; parts++) {
		struct end e = skip_block(form, buf_bytes(b), parts); /* with bytes behind it */
		assert_true(e.done);
		assert_int_equal(e.used, n);
	}
	struct bytes prefix = bytes_head(whole, drive_random(&seed) % n);
	struct end e = skip_block(form, prefix, false);
	assert_false(e.done);
	assert_int_equal(e.used, prefix.n);
	b->p[drive_random(&seed) % n] ^= (uint8_t)(1u << (drive_random(&seed) & 7));
	struct end flipped = skip_block(form, whole, false), cut = skip_block(form, whole, true);
	assert_int_equal(flipped.used, cut.used);
	assert_int_equal(flipped.done, cut.done);
}

static void ends_where_the_library_does(void **state)
{
	const char *tests = getenv("SIDETAP_TESTS");
	char command[512];
	uint8_t head[5];
	int structs = 0, forms[3] = {0};

	(void)state;
	snprintf(command, sizeof(command), "python3 -B %s/unit/thrift_oracle.py %d 1",
		 tests ? tests : "tests", STRUCTS);
	FILE *in = popen(command, "r");
	assert_non_null(in);
	for (; fread(head, 1, sizeof(head), in) == sizeof(head); structs++) {
		struct cursor c = cursor_of(bytes_from(bytes_of(head, sizeof(head)), 1));
		size_t n = cursor_be32(&c);
		struct buf b = {0};
		assert_true(head[0] <= THRIFT_COMPACT && n > 0 && n < LENGTH_MAX);
		b.p = malloc(b.cap = n + 8);
		assert_non_null(b.p);
		assert_int_equal(fread(b.p, 1, n, in), n);
		b.n = n;
		tw_bytes(&b, BYTES("\x0b\0\1ab"));
		judge((enum thrift_form)head[0], &b, n);
		forms[head[0]]++;
		buf_fini(&b);
	}
	int status = pclose(in);
	if (WIFEXITED(status) && WEXITSTATUS(status) == ABSENT) {
		print_message("SKIP: no thrift library for Python on this machine\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_int_equal(structs, STRUCTS);
	assert_int_equal(forms[THRIFT_BINARY], forms[THRIFT_COMPACT]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_where_the_library_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
