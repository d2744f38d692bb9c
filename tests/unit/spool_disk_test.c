/* SPDX-License-Identifier: Apache-2.0 */
/* The spool and a disk that is full, read-only, or lies; and its own bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/child.h"
#include "tests/unit/spool_rig.h"

/* ---- D1, D8, D10: bounds ---- */

static void d10_the_oldest_leaves_exactly(void **state)
{
	struct rig g;
	uint64_t last = 0;
	(void)state;
	struct spool_cfg cfg = config(&g, "a");
	cfg.max_bytes = 64 << 10;
	open_with(&g, cfg);
	put_all(&g, 1, 401, 1000);
	struct spool_stats st = spool_stats(g.s);
	assert_true(st.bytes <= 64 << 10);
	assert_true(st.evicted > 300 && st.evicted < 400);
	for (uint64_t i = 1; i < 401; i++) {
		assert_int_equal(g.stored[i], 1);
		assert_true(i <= st.evicted ? g.exit[i] && !strcmp(g.exit[i], "spool_evicted")
					    : !g.exit[i]);
	}
	assert_int_equal(read_all(&g, true, &last), 400 - st.evicted);
	shut(&g);
}

static bool is_failing(struct rig *g)
{
	return spool_stats(g->s).failing;
}

/* What was read is on its way and stays: then the newest is refused, and the cap holds (D10, D13). */
static void d10_what_was_read_stays_within_the_cap(void **state)
{
	struct rig g;
	struct spool_read r[256];
	unsigned n = 0;
	(void)state;
	struct spool_cfg cfg = config(&g, "a");
	cfg.max_bytes = 64 << 10;
	open_with(&g, cfg);
	for (uint64_t i = 1; !is_failing(&g) && i < 250; i++) {
		assert_int_equal(put(&g, i, 1000), 0);
		for (int ms = 0; ms < 10000 && !is_failing(&g);
		     ms++) { /* until all of it was read */
			spool_service(g.s);
			while (n < 256 && spool_next(g.s, &r[n]))
				n++;
			if (nothing_waits(&g) && spool_is_drained(g.s))
				break;
			poll(NULL, 0, 1);
		}
	}
	assert_true(is_failing(&g));
	assert_true(disk_bytes() <= cfg.max_bytes);
	for (unsigned i = 0; i < n; i++) {
		spool_release(g.s, r[i].token);
		record_free(r[i].r);
	}
	wait_until(&g, nothing_waits); /* room again: it goes on */
	for (unsigned i = 0; i < NUMBERS; i++)
		assert_null(g.exit[i]);
	shut(&g);
}

/* In a child: the spool's directory is a file system of 256 KiB. */
static void a_small_disk(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=256k,mode=700") < 0)
		_exit(CHILD_SKIPS);
}

static void fill_disk(void)
{
	a_small_disk();
	struct rig g;
	struct spool_cfg cfg = config(&g, "a");
	cfg.queue_bytes = 64 << 10;
	open_with(&g, cfg);
	int e = 0;
	uint64_t n = 1, refused = 0;
	for (; n < 2000; n++) {
		struct record *r = make(n, 1000);
		e = spool_put(g.s, &r);
		refused += e != 0;
		record_free(r);
		if (e == -ENOSPC)
			break;
		if (e)
			poll(NULL, 0, 1);
	}
	CHECK(e == -ENOSPC);
	CHECK(spool_stats(g.s).failing);
	CHECK(strstr(spool_stats(g.s).last_error, "No space"));
	/* room again: it goes on by itself, within the second between two tries */
	struct spool_read r;
	unsigned got = 0;
	for (int i = 0; i < 3000 && !spool_is_drained(g.s); i++) {
		while (spool_next(g.s, &r)) {
			spool_release(g.s, r.token);
			record_free(r.r);
			got++;
		}
		poll(NULL, 0, 2);
		spool_service(g.s);
	}
	CHECK(got == n - refused);
	CHECK(!spool_stats(g.s).failing);
	spool_close(g.s, 1000);
}

static void d1_a_full_disk_is_named_and_left_behind(void **state)
{
	(void)state;
	in_child(fill_disk);
}

static void read_only(void)
{
	a_small_disk();
	struct rig g;
	open_as(&g, "a");
	CHECK(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	struct record *r = make(1, 100);
	CHECK(spool_put(g.s, &r) == 0);
	for (int i = 0; i < 2000 && !spool_stats(g.s).failing; i++)
		poll(NULL, 0, 1);
	CHECK(strstr(spool_stats(g.s).last_error, "Read-only"));
	spool_close(g.s, 100);
	CHECK(g.exit[1] && !strcmp(g.exit[1], "spool_io_error"));
}

static void d8_a_read_only_disk_is_named(void **state)
{
	(void)state;
	in_child(read_only);
}

/* ---- D2 ---- */

static _Atomic int syncs_to_fail;

/* In place of the C library's */
int fdatasync(int fd)
{
	if (syncs_to_fail > 0) {
		syncs_to_fail--;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void d2_a_failed_fsync_is_not_believed(void **state)
{
	struct rig g;
	uint64_t last = 0;
	(void)state;
	open_as(&g, "a");
	put_all(&g, 1, 11, 100);
	syncs_to_fail = 2;
	put_all(&g, 11, 31, 100); /* written anew, to other files, a second later */
	assert_int_equal(syncs_to_fail, 0);
	assert_true(files() >= 2);
	struct spool_stats st = spool_stats(g.s);
	assert_int_equal(st.errors, 2);
	assert_false(st.failing);
	for (int i = 1; i < 31; i++)
		assert_int_equal(g.stored[i], 1);
	assert_int_equal(read_all(&g, true, &last), 30);
	wait_until(&g, no_files);
	shut(&g);
}

static void d11_many_tiny_segments(void **state)
{
	struct rig g;
	uint64_t last = 0;
	(void)state;
	struct spool_cfg cfg = config(&g, "a");
	cfg.segment_bytes = 1;
	cfg.max_bytes = 16 << 20;
	open_with(&g, cfg);
	put_all(&g, 1, 1001, 16);
	assert_int_equal(files(), 1000);
	shut(&g);
	open_as(&g, "b");
	assert_int_equal(read_all(&g, true, &last), 1000);
	wait_until(&g, no_files);
	shut(&g);
}

static void a_full_queue_says_so(void **state)
{
	struct rig g;
	(void)state;
	struct spool_cfg cfg = config(&g, "a");
	cfg.queue_bytes = 4000;
	cfg.sync_ns = 3600ull * 1000000000;
	cfg.sync_bytes = 1 << 30;
	open_with(&g, cfg);
	int e = 0, n = 0;
	for (; n < 10000 && e == 0; n++)
		e = put(&g, 1 + (uint64_t)n % 4000, 1000);
	assert_int_equal(e, -EAGAIN);
	spool_close(g.s, 5000);
	assert_int_equal(g.told, n - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(d10_the_oldest_leaves_exactly),
		TEST(d10_what_was_read_stays_within_the_cap),
		TEST(d1_a_full_disk_is_named_and_left_behind),
		TEST(d8_a_read_only_disk_is_named),
		TEST(d2_a_failed_fsync_is_not_believed),
		TEST(d11_many_tiny_segments),
		TEST(a_full_queue_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
