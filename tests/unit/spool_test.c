/* SPDX-License-Identifier: Apache-2.0 */
/* The spool on a real directory; its files torn, flipped, removed and planted between two processes' lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool_rig.h"

/* ---- what it is for ---- */

static void comes_back_in_order_and_goes_when_released(void **state)
{
	struct rig g;
	uint64_t last = 0;
	(void)state;
	open_as(&g, "a");
	put_all(&g, 1, 300, 1000);
	assert_int_equal(g.told, 299);
	for (int i = 1; i < 300; i++)
		assert_int_equal(g.stored[i], 1);
	assert_int_equal(read_all(&g, true, &last), 299);
	wait_until(&g, no_files);
	assert_int_equal(files(), 0);
	assert_true(spool_is_drained(g.s));
	put_all(&g, 300, 310, 1000); /* and again */
	assert_int_equal(read_all(&g, true, &last), 10);
	shut(&g);
}

static void another_process_finds_what_was_not_released(void **state)
{
	struct rig g;
	struct spool_read r;
	uint64_t last = 0;
	(void)state;
	open_as(&g, "first");
	put_all(&g, 1, 101, 500);
	for (int i = 0; i < 40; i++) {
		assert_true(next(&g, &r));
		assert_false(r.foreign);
		if (i < 20)
			spool_release(g.s, r.token);
		record_free(r.r);
	}
	shut(&g);
	open_as(&g, "second");
	put_all(&g, 101, 111, 500);
	assert_true(next(&g, &r));
	assert_true(r.foreign);
	assert_string_equal(r.instance, "first");
	last = r.r->number;
	assert_true(last >= 1 &&
		    last <= 21); /* what was released may come again, what was not does come */
	spool_release(g.s, r.token);
	record_free(r.r);
	read_all(&g, true, &last);
	assert_int_equal(last, 110);
	assert_int_equal(spool_stats(g.s).found, 100);
	wait_until(&g, no_files);
	shut(&g);
}

static void close_writes_what_waits(void **state)
{
	struct rig g;
	uint64_t last = 0;
	(void)state;
	struct spool_cfg cfg = config(&g, "a");
	cfg.sync_ns = 3600ull * 1000000000;
	open_with(&g, cfg);
	for (int i = 1; i < 50; i++)
		assert_int_equal(put(&g, (uint64_t)i, 100), 0);
	spool_close(g.s, 5000);
	assert_int_equal(g.told, 49);
	open_as(&g, "b");
	assert_int_equal(read_all(&g, false, &last), 49);
	shut(&g);
}

/* ---- D3, D4, D5: damage ---- */

struct image {
	char name[64];
	uint8_t bytes[8192];
	size_t n;
};

static void image_load(struct image *m)
{
	char path[160];
	DIR *d = opendir(dir);
	m->n = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (strstr(e->d_name, ".spool"))
			snprintf(m->name, sizeof(m->name), "%.40s", e->d_name);
	closedir(d);
	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	int fd = open(path, O_RDONLY);
	m->n = (size_t)read(fd, m->bytes, sizeof(m->bytes));
	close(fd);
}

static void image_store(const struct image *m, size_t n)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, m->bytes, n), n);
	close(fd);
}

enum { SMALL = 3, SMALL_BYTES = 100, ENTRY = SPOOL_ENTRY_BYTES + 104 };

static void small_spool(struct image *m)
{
	struct rig g;
	open_as(&g, "a");
	put_all(&g, 1, 1 + SMALL, SMALL_BYTES);
	shut(&g);
	image_load(m);
	assert_int_equal(m->n, SPOOL_HEADER_BYTES + SMALL * ENTRY);
}

/* The records that a new process finds, as bits */
static unsigned found(void)
{
	struct rig g;
	struct spool_read r;
	unsigned bits = 0;
	open_as(&g, "b");
	while (next(&g, &r)) {
		bits |= 1u << r.r->number;
		record_free(r.r);
	}
	shut(&g);
	return bits;
}

static void d3_torn_at_every_byte(void **state)
{
	struct image m;
	(void)state;
	small_spool(&m);
	for (size_t n = 0; n <= m.n; n++) {
		unsigned want = 0;
		for (unsigned i = 0; i < SMALL; i++)
			if (n >= SPOOL_HEADER_BYTES + i * ENTRY + SPOOL_ENTRY_BYTES + SMALL_BYTES)
				want |= 2u << i;
		image_store(&m, n);
		assert_int_equal(found(), want);
	}
}

static void d4_every_bit_flipped(void **state)
{
	struct image m;
	(void)state;
	small_spool(&m);
	for (size_t i = 0; i < m.n * 8; i++) {
		size_t at = i / 8, entry = (at - SPOOL_HEADER_BYTES) / ENTRY;
		bool padding = at >= SPOOL_HEADER_BYTES &&
			       (at - SPOOL_HEADER_BYTES) % ENTRY >= SPOOL_ENTRY_BYTES + SMALL_BYTES;
		unsigned want = 14;
		if (at >= SPOOL_HEADER_BYTES && !padding)
			want &= ~(2u << entry);
		m.bytes[at] ^= (uint8_t)(1 << i % 8);
		image_store(&m, m.n);
		assert_int_equal(found(), want);
		m.bytes[at] ^= (uint8_t)(1 << i % 8);
	}
}

static void d5_zeros_are_an_end(void **state)
{
	struct image m;
	struct rig g;
	(void)state;
	small_spool(&m);
	memset(m.bytes + SPOOL_HEADER_BYTES + 2 * ENTRY, 0, 2000);
	image_store(&m, m.n + 1000);
	open_as(&g, "b");
	assert_int_equal(read_all(&g, false, NULL), 2);
	assert_int_equal(spool_stats(g.s).broken, 0);
	shut(&g);
	memset(m.bytes, 0, sizeof(m.bytes));
	image_store(&m, sizeof(m.bytes));
	assert_int_equal(found(), 0);
}

/* What a peer sent is not searched for entries, even when the record around it is broken. */
static void an_entry_inside_a_record_is_none(void **state)
{
	struct image m;
	uint8_t inner[SPOOL_ENTRY_BYTES + 104];
	size_t pad;
	(void)state;
	small_spool(&m);
	struct record *evil = make(3, SMALL_BYTES);
	evil->number = 77;
	spool_segment_entry(inner, evil, "evil", &pad);
	memcpy(inner + SPOOL_ENTRY_BYTES, evil->data, SMALL_BYTES);
	record_free(evil);
	struct rig g;
	clean();
	open_as(&g, "a");
	struct record *r = record_block_new(RECORD_CALL, 1000);
	memset(r->data, 0, 1000);
	memcpy(r->data + 8, inner, sizeof(inner));
	r->number = 1;
	r->last_part = true;
	assert_int_equal(spool_put(g.s, &r), 0);
	wait_until(&g, nothing_waits);
	shut(&g);
	image_load(&m);
	m.bytes[SPOOL_HEADER_BYTES + SPOOL_ENTRY_BYTES + 500] ^= 1;
	image_store(&m, m.n);
	assert_int_equal(found(), 0);
}

/* ---- D6, D7, D9, D12: other files ---- */

/* Ten were stored, and then lost by name. */
static bool all_told(struct rig *g)
{
	return g->told == 20;
}

static void d6_missing_files_cost_themselves(void **state)
{
	struct rig g;
	(void)state;
	for (int gone = 0; gone < 4; gone++) {
		clean();
		struct spool_cfg cfg = config(&g, "a");
		cfg.segment_bytes = 3000;
		open_with(&g, cfg);
		put_all(&g, 1, 41, 200);
		shut(&g);
		unsigned all = files();
		assert_true(all >= 4);
		char path[160];
		snprintf(path, sizeof(path), "%s/sidetap-%016x.spool", dir, gone + 1);
		assert_int_equal(unlink(path), 0);
		open_as(&g, "b");
		uint64_t last = 0;
		unsigned n = read_all(&g, true, &last);
		assert_in_range(n, 25, 39);
		wait_until(&g, no_files);
		shut(&g);
	}
	/* while it runs */
	clean();
	open_as(&g, "a");
	put_all(&g, 1, 11, 200);
	char command[128];
	snprintf(command, sizeof(command), "rm -f '%s'/*.spool", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(read_all(&g, true, NULL), 0);
	wait_until(&g, all_told);
	for (int i = 1; i < 11; i++)
		assert_string_equal(g.exit[i], "spool_io_error");
	shut(&g);
}

static void d7_foreign_files_are_left_alone(void **state)
{
	struct rig g;
	char path[160];
	(void)state;
	static const char *const names[] = {"sidetap-1.spool", "sidetap-000000000000000g.spool",
					    "notes.txt", "sidetap-0000000000000001.spool.tmp"};
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	}
	snprintf(path, sizeof(path), "%s/sidetap-0000000000000002.spool", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/sidetap-0000000000000003.spool", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/sidetap-0000000000000004.spool", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	open_as(&g, "a");
	put_all(&g, 1, 11, 200); /* its first name is taken by none of them but in part: O_EXCL */
	assert_int_equal(read_all(&g, true, NULL), 10);
	shut(&g);
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
}

static void d9_one_process_at_a_time(void **state)
{
	struct rig g, other;
	char err[256];
	(void)state;
	open_as(&g, "a");
	struct spool_cfg cfg = config(&other, "b");
	assert_null(spool_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "another sidetap uses it"));
	shut(&g);
	open_as(&g, "a");
	shut(&g);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_null(spool_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "others may write there"));
	assert_int_equal(chmod(dir, 0700), 0);
}

static void d12_another_version_is_kept(void **state)
{
	struct image m;
	struct rig g;
	(void)state;
	small_spool(&m);
	uint8_t header[SPOOL_HEADER_BYTES];
	memcpy(header, m.bytes, sizeof(header));
	/* a whole header of version 2: made by hand, its checksum is found by trying */
	struct bytes file = bytes_of(m.bytes, m.n);
	assert_int_equal(spool_segment_check(file), 0);
	m.bytes[8] = 2;
	assert_int_equal(spool_segment_check(file), 0); /* broken, not another version */
	extern unsigned int crc32_iscsi(unsigned char *, int, unsigned int);
	uint32_t crc = crc32_iscsi(m.bytes, SPOOL_HEADER_BYTES - 4, 0);
	memcpy(m.bytes + SPOOL_HEADER_BYTES - 4, &crc, 4);
	assert_int_equal(spool_segment_check(file), -ENOTSUP);
	image_store(&m, m.n);
	open_as(&g, "b");
	put_all(&g, 10, 12, 100);
	assert_int_equal(read_all(&g, true, NULL), 2);
	shut(&g);
	assert_int_equal(files(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(comes_back_in_order_and_goes_when_released),
		TEST(another_process_finds_what_was_not_released),
		TEST(close_writes_what_waits),
		TEST(d3_torn_at_every_byte),
		TEST(d4_every_bit_flipped),
		TEST(d5_zeros_are_an_end),
		TEST(an_entry_inside_a_record_is_none),
		TEST(d6_missing_files_cost_themselves),
		TEST(d7_foreign_files_are_left_alone),
		TEST(d9_one_process_at_a_time),
		TEST(d12_another_version_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
