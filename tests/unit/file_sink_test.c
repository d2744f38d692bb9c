/* SPDX-License-Identifier: Apache-2.0 */
/* The file sink and the source that reads it back: round trip, faults D1 D3 D4 D5 D7, reader bombs
 * S9. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#include "record.pb-c.h"
#include "sink/file_in.h"
#include "sink/file_out.h"
#include "sink/sink.h"
#include "sink/source.h"

enum { NUMBERS_MAX = 8192 };

struct reports {
	unsigned seen[NUMBERS_MAX]; /* by record number */
	unsigned calls, ledgers, lost;
	char exit[64];
};

static char base[64];
static char dir[96];

static int make_dir(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/file_sink_test_XXXXXX");
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof(dir), "%s/out", base);
	return 0;
}

static int remove_dir(void **state)
{
	char cmd[128];
	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", base);
	return system(cmd);
}

static void on_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      const char *exit)
{
	struct reports *r = ctx;
	(void)last_part;
	r->calls += kind == RECORD_CALL;
	r->ledgers += kind == RECORD_LEDGER;
	if (number < NUMBERS_MAX)
		r->seen[number]++;
	if (exit) {
		r->lost++;
		snprintf(r->exit, sizeof(r->exit), "%s", exit);
	}
}

static struct record *make_call(uint64_t number, size_t body_n)
{
	uint8_t *body = malloc(body_n + 1);
	uint64_t x = number * 0x9e3779b97f4a7c15 + 1; /* does not compress */
	for (size_t i = 0; i < body_n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		body[i] = (uint8_t)(x >> 32);
	}
	struct record_call c = {
		.connection_id = BYTES("i-1"),
		.sequence = number,
		.record_number = number,
		.last_part = true,
		.protocol = "http1",
		.request = {.present = true, .body = {body, body_n}, .body_bytes = body_n}};
	struct record *r = NULL;
	assert_int_equal(record_encode(&c, &r), 0);
	free(body);
	return r;
}

static struct record *make_ledger(void)
{
	struct record_ledger l = {.instance = "abc", .final = true, .last_record_number = 5};
	struct record *r = NULL;
	assert_int_equal(record_encode_ledger(&l, &r), 0);
	return r;
}

static struct sink *open_sink(const char *instance, struct reports *reports,
			      const struct sink_ops **ops)
{
	char uri[128], err[256] = "";
	struct sink_cfg cfg = {.instance = instance, .report = on_report, .report_ctx = reports};
	snprintf(uri, sizeof(uri), "file:%s", dir);
	struct sink *s = sink_open(uri, &cfg, ops, err, sizeof(err));
	if (!s)
		fail_msg("%s", err);
	return s;
}

static void submit(const struct sink_ops *ops, struct sink *s, struct record *r)
{
	const char *exit = NULL;
	while (ops->submit(s, &r, &exit) == -EAGAIN) {
		struct pollfd f = {.fd = ops->fd(s), .events = POLLIN};
		assert_int_equal(poll(&f, 1, 10000), 1);
		ops->service(s);
	}
	assert_null(r);
	assert_null(exit);
}

struct read_back {
	unsigned calls, ledgers, broken;
	uint64_t last;
	bool in_order;
};

/* Every call must be exactly what make_call() made for its number. */
static struct read_back read_dir(void)
{
	char uri[128], err[256] = "";
	struct source_cfg cfg = {.calls = true, .ledgers = true};
	const struct source_ops *ops;
	struct read_back got = {.in_order = true};
	struct bytes data;
	enum record_kind kind;
	int e;
	snprintf(uri, sizeof(uri), "file:%s", dir);
	struct source *s = source_open(uri, &cfg, &ops, err, sizeof(err));
	if (!s)
		fail_msg("%s", err);
	while ((e = ops->next(s, &data, &kind, err, sizeof(err))) == 1 || e == -EBADMSG) {
		got.broken += e == -EBADMSG;
		if (e == -EBADMSG)
			continue;
		got.ledgers += kind == RECORD_LEDGER;
		if (kind == RECORD_LEDGER)
			continue;
		Sidetap__V1__Call *c = record_decode(data);
		assert_non_null(c);
		struct record *want = make_call(c->record_number, c->request->body.len);
		assert_int_equal(want->n, data.n);
		assert_memory_equal(want->data, data.p, data.n);
		got.in_order = got.in_order && c->record_number > got.last;
		got.last = c->record_number;
		got.calls++;
		record_free(want);
		sidetap__v1__call__free_unpacked(c, NULL);
	}
	assert_int_equal(e, 0);
	ops->close(s);
	return got;
}

static void round_trip(void **state)
{
	(void)state;
	static struct reports reports;
	const struct sink_ops *ops;
	uint64_t held, bytes;
	memset(&reports, 0, sizeof(reports));
	struct sink *s = open_sink("abc", &reports, &ops);
	for (uint64_t i = 1; i <= 3000; i++)
		submit(ops, s, make_call(i, i % 3000));
	submit(ops, s, make_ledger());
	assert_int_equal(ops->drain(s, 10000), 0);
	assert_false(ops->held(s, &held, &bytes));
	assert_int_equal(reports.calls, 3000);
	assert_int_equal(reports.ledgers, 1);
	assert_int_equal(reports.lost, 0);
	for (uint64_t i = 1; i <= 3000; i++)
		assert_int_equal(reports.seen[i], 1);
	struct read_back open = read_dir(); /* while it is open */
	assert_int_equal(open.calls, 3000);
	ops->close(s);
	struct read_back got = read_dir();
	assert_int_equal(got.calls, 3000);
	assert_int_equal(got.ledgers, 1);
	assert_int_equal(got.broken, 0);
	assert_true(got.in_order);
}

/* A frame is written within a second even when nobody asks for it. */
static void a_lone_record_is_written_soon(void **state)
{
	(void)state;
	struct reports reports = {.calls = 0};
	const struct sink_ops *ops;
	struct sink *s = open_sink("abc", &reports, &ops);
	submit(ops, s, make_call(1, 10));
	struct pollfd f = {.fd = ops->fd(s), .events = POLLIN};
	assert_int_equal(poll(&f, 1, 10000), 1);
	ops->service(s);
	assert_int_equal(reports.seen[1], 1);
	assert_int_equal(read_dir().calls, 1);
	ops->close(s);
}

static void full_says_eagain(void **state)
{
	(void)state;
	struct reports reports = {.calls = 0};
	const struct sink_ops *ops;
	struct sink *s = open_sink("abc", &reports, &ops);
	struct record *r = NULL;
	const char *exit = NULL;
	uint64_t number = 0;
	int e = 0;
	while (e == 0 && number < 60) {
		r = make_call(++number, 1 << 20);
		e = ops->submit(s, &r, &exit);
	}
	assert_int_equal(e, -EAGAIN); /* service() was not called: 32 MiB are held */
	assert_non_null(r);
	assert_int_equal(number, 32);
	submit(ops, s, r);
	assert_int_equal(ops->drain(s, 20000), 0);
	assert_int_equal(reports.calls, 32);
	ops->close(s);
}

static void another_runs_files_stay(void **state)
{
	(void)state;
	struct reports reports = {.calls = 0};
	const struct sink_ops *ops;
	for (uint64_t i = 1; i <= 3; i++) {
		struct sink *s = open_sink("abc", &reports, &ops);
		submit(ops, s, make_call(i, 100));
		ops->close(s);
	}
	struct read_back got = read_dir();
	assert_int_equal(got.calls, 3);
	assert_true(got.in_order);
}

static int open_dir(void)
{
	assert_int_equal(mkdir(dir, 0700), 0);
	return open(dir, O_RDONLY | O_DIRECTORY);
}

static void file_path(char *out, size_t n, unsigned number)
{
	char name[FILE_NAME_MAX];
	file_name_make(name, RECORD_CALL, "abc", number);
	snprintf(out, n, "%s/%s", dir, name);
}

static void files_are_sealed_by_size(void **state)
{
	(void)state;
	struct file_out o;
	char path[256];
	int fd = open_dir();
	assert_int_equal(file_out_init(&o, RECORD_CALL, fd, "abc"), 0);
	o.seal_bytes = 1;
	for (uint64_t i = 1; i <= 4; i++) {
		struct record *r = make_call(i, 50);
		assert_int_equal(file_out_add(&o, r), 0);
		assert_int_equal(file_out_flush(&o), 0);
		record_free(r);
		file_path(path, sizeof(path), (unsigned)i);
		assert_int_equal(access(path, R_OK), 0);
	}
	file_out_fini(&o);
	close(fd);
	assert_int_equal(read_dir().calls, 4);
}

/* One file of `frames` frames with 2 records each; its bytes. end[i]: where frame i ends. */
static uint8_t *make_file(unsigned frames, size_t *n, size_t *end)
{
	struct file_out o;
	char path[256];
	int fd = open_dir();
	assert_int_equal(file_out_init(&o, RECORD_CALL, fd, "abc"), 0);
	for (uint64_t i = 1; i <= 2 * frames; i++) {
		struct record *r = make_call(i, 60);
		assert_int_equal(file_out_add(&o, r), 0);
		record_free(r);
		if (i % 2 == 0) {
			assert_int_equal(file_out_flush(&o), 0);
			end[i / 2 - 1] = o.size;
		}
	}
	*n = o.size;
	file_out_fini(&o);
	close(fd);
	file_path(path, sizeof(path), 1);
	uint8_t *p = malloc(*n);
	FILE *f = fopen(path, "r");
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

static void put_file(const uint8_t *p, size_t n)
{
	char path[256];
	file_path(path, sizeof(path), 1);
	FILE *f = fopen(path, "w");
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static void d3_torn_at_every_byte(void **state)
{
	(void)state;
	size_t n, end[3];
	uint8_t *p = make_file(3, &n, end);
	for (size_t cut = 0; cut <= n; cut++) {
		unsigned whole = 0;
		put_file(p, cut);
		while (whole < 3 && end[whole] <= cut)
			whole++;
		struct read_back got = read_dir();
		assert_int_equal(got.broken, 0);
		assert_true(got.in_order);
		assert_true(got.calls >= 2 * whole && got.calls <= 2 * whole + 2);
	}
	free(p);
}

static void d4_bit_flips_lose_one_frame(void **state)
{
	(void)state;
	size_t n, end[3];
	unsigned told = 0;
	uint8_t *p = make_file(3, &n, end);
	for (size_t bit = 0; bit < n * 8; bit++) {
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		put_file(p, n);
		struct read_back got = read_dir(); /* each record it gives is exact */
		assert_true(got.calls >= 4);
		told += got.broken > 0;
		bool last_frame = bit / 8 >= end[1];
		assert_true(got.calls == 6 || got.broken || last_frame);
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(told > n * 4);
	free(p);
}

static void d5_zeros_are_the_end(void **state)
{
	(void)state;
	size_t n, end[2];
	uint8_t *p = make_file(2, &n, end);
	uint8_t *padded = calloc(1, n + 5000);
	memcpy(padded, p, n);
	for (size_t pad = 1; pad <= 5000; pad += 833) {
		put_file(padded, n + pad);
		struct read_back got = read_dir();
		assert_int_equal(got.calls, 4);
		assert_int_equal(got.broken, 0);
	}
	memset(padded, 0, n);
	put_file(padded, n);
	assert_int_equal(read_dir().calls, 0);
	free(padded);
	free(p);
}

static void d7_foreign_entries_are_left_alone(void **state)
{
	(void)state;
	size_t n, end[1];
	char path[256];
	free(make_file(1, &n, end));
	const char *names[] = {"calls-abc-000000.pb.zst", "calls-zzz-000001.pb.zst",
			       "calls-yyy-000001.pb.zst"};
	snprintf(path, sizeof(path), "%s/%s", dir, names[0]);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/%s", dir, names[1]);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/%s", dir, names[2]);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/notes.txt", dir);
	fclose(fopen(path, "w"));
	struct read_back got = read_dir();
	assert_int_equal(got.calls, 2);
	assert_int_equal(got.broken, 0);
}

/* A file with one zstd frame of the given content, then a good frame. */
static void bomb(const void *content, size_t content_n, int window_log)
{
	size_t n, end[1];
	uint8_t *good = make_file(1, &n, end);
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t bound = ZSTD_compressBound(content_n);
	uint8_t *out = malloc(bound + n);
	if (window_log)
		ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0);
	size_t packed = ZSTD_compress2(z, out, bound, content, content_n);
	assert_false(ZSTD_isError(packed));
	memcpy(out + packed, good, n);
	put_file(out, packed + n);
	ZSTD_freeCCtx(z);
	free(out);
	free(good);
	struct read_back got = read_dir();
	assert_int_equal(got.calls, 2);
	assert_true(got.broken >= 1);
}

static void s9_large_frames_are_refused(void **state)
{
	(void)state;
	size_t n = 64 << 20;
	uint8_t *zeros = calloc(1, n);
	memset(zeros, 1, n); /* records of one byte, would be 32 Mi of them */
	bomb(zeros, n, 0);
	free(zeros);
}

static void s9_lying_lengths_are_refused(void **state)
{
	(void)state;
	static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0xff, 0xff, 0x7f, 'x'};
	bomb(endless, sizeof(endless), 0);
}

static void s9_varint_without_end_is_refused(void **state)
{
	(void)state;
	uint8_t endless[64];
	memset(endless, 0xff, sizeof(endless));
	bomb(endless, sizeof(endless), 0);
}

static void errors_at_open_say_what_to_do(void **state)
{
	(void)state;
	char err[256], uri[200];
	const struct sink_ops *ops;
	struct sink_cfg cfg = {.instance = "abc"};
	snprintf(uri, sizeof(uri), "file:%s/no/such/parent", base);
	assert_null(sink_open(uri, &cfg, &ops, err, sizeof(err)));
	assert_non_null(strstr(err, "create its parent first"));
	snprintf(uri, sizeof(uri), "file:%s/plain", base);
	fclose(fopen(uri + 5, "w"));
	assert_null(sink_open(uri, &cfg, &ops, err, sizeof(err)));
	assert_non_null(strstr(err, "Not a directory"));
	snprintf(uri, sizeof(uri), "file:%s", dir);
	cfg.instance = "../../etc/x";
	assert_null(sink_open(uri, &cfg, &ops, err, sizeof(err)));
	assert_null(sink_open("file:", &cfg, &ops, err, sizeof(err)));
	assert_null(sink_open("nonsense:x", &cfg, &ops, err, sizeof(err)));
	assert_non_null(strstr(err, "allowed is"));
}

/* A file that may not grow stands for a full disk: named exit, nothing torn, and it goes on after.
 * */
static void d1_write_errors_are_named(void **state)
{
	(void)state;
	struct reports reports = {.calls = 0};
	const struct sink_ops *ops;
	struct rlimit old, tight = {.rlim_cur = 400};
	signal(SIGXFSZ, SIG_IGN);
	struct sink *s = open_sink("abc", &reports, &ops);
	submit(ops, s, make_call(1, 10));
	assert_int_equal(ops->drain(s, 5000), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	tight.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &tight);
	submit(ops, s, make_call(2, 5000));
	assert_int_equal(ops->drain(s, 5000), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(reports.lost, 1);
	assert_string_equal(reports.exit, "write_error_efbig");
	submit(ops, s, make_call(3, 10)); /* shorter than what was written of the last */
	assert_int_equal(ops->drain(s, 5000), 0);
	ops->close(s);
	struct read_back got = read_dir();
	assert_int_equal(got.calls, 2);
	assert_int_equal(got.last, 3);
	assert_int_equal(got.broken, 0);
	assert_int_equal(reports.lost, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(a_lone_record_is_written_soon),
		TEST(full_says_eagain),
		TEST(another_runs_files_stay),
		TEST(files_are_sealed_by_size),
		TEST(d3_torn_at_every_byte),
		TEST(d4_bit_flips_lose_one_frame),
		TEST(d5_zeros_are_the_end),
		TEST(d7_foreign_entries_are_left_alone),
		TEST(s9_large_frames_are_refused),
		TEST(s9_lying_lengths_are_refused),
		TEST(s9_varint_without_end_is_refused),
		TEST(errors_at_open_say_what_to_do),
		TEST(d1_write_errors_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
