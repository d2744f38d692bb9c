/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed process leaves of its ledger, and the Ledger that the next one makes of it (P2). */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "analyze/audit.h"
#include "capture/remains.h"
#include "capture/remains_page.h"
#include "record.pb-c.h"

static char dir[64];
static const uint64_t MIB = 1 << 20;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/remains-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static struct remains *begin(const char *instance)
{
	char err[512];
	struct remains *m = remains_open(dir, instance, MIB, err, sizeof(err));
	if (!m)
		fail_msg("%s", err);
	return m;
}

static unsigned files(void)
{
	unsigned n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));)
		n += strstr(e->d_name, REMAINS_SUFFIX) != NULL;
	closedir(d);
	return n;
}

/* The Ledgers of all that are dead, oldest instance first; at most max. */
struct told {
	Sidetap__V1__Ledger *l[8];
	size_t n;
	struct remains_found *found;
};

static int by_instance(const void *a, const void *b)
{
	Sidetap__V1__Ledger *const *x = a, *const *y = b;
	return strcmp((*x)->instance, (*y)->instance);
}

static struct told tell(bool delivered)
{
	struct told t = {.n = 0};
	struct record *r = NULL;
	while (remains_next(dir, &t.found, &r) == 1) {
		assert_true(t.n < 8);
		assert_int_equal(r->kind, RECORD_LEDGER);
		assert_int_not_equal(r->number, 0);
		t.l[t.n++] = record_decode_ledger(bytes_of(r->data, r->n));
		assert_non_null(t.l[t.n - 1]);
		if (delivered)
			remains_told(t.found, r->number, true);
		record_free(r);
		r = NULL;
	}
	qsort(t.l, t.n, sizeof(*t.l), by_instance);
	return t;
}

static void told_free(struct told *t)
{
	for (size_t i = 0; i < t->n; i++)
		sidetap__v1__ledger__free_unpacked(t->l[i], NULL);
	remains_forget(t->found);
}

static const Sidetap__V1__Ledger__Stage *stage(const Sidetap__V1__Ledger *l, const char *name)
{
	for (size_t i = 0; i < l->n_stages; i++)
		if (strcmp(l->stages[i]->name, name) == 0)
			return l->stages[i];
	fail_msg("no stage %s", name);
	return NULL;
}

static uint64_t exit_count(const Sidetap__V1__Ledger__Stage *s, const char *name)
{
	for (size_t i = 0; i < s->n_exits; i++)
		if (strcmp(s->exits[i]->name, name) == 0)
			return s->exits[i]->count;
	return 0;
}

static void balanced(const Sidetap__V1__Ledger *l)
{
	for (size_t i = 0; i < l->n_stages; i++) {
		uint64_t out = 0;
		for (size_t j = 0; j < l->stages[i]->n_exits; j++)
			out += l->stages[i]->exits[j]->count;
		assert_int_equal(l->stages[i]->in, out);
		assert_int_equal(l->stages[i]->held, 0); /* it is final */
	}
	assert_true(l->final && l->killed);
}

static void range_is(const Sidetap__V1__Ledger *l, size_t i, uint64_t first, uint64_t last,
		     const char *exit)
{
	assert_true(i < l->n_lost);
	assert_int_equal(l->lost[i]->first, first);
	assert_int_equal(l->lost[i]->last, last);
	assert_string_equal(l->lost[i]->exit, exit);
}

/* 1-10 delivered, 11-14 in the spool, 15 too large, 16 delivered, 17-20 under way; reports in another order */
static void twenty(struct remains *m)
{
	for (uint64_t i = 1; i <= 20; i++)
		remains_made(m, i);
	for (uint64_t i = 14; i >= 11; i--)
		remains_stored(m, i);
	remains_settled(m, 16, NULL);
	remains_settled(m, 15, "too_large");
	for (uint64_t i = 10; i >= 1; i--)
		remains_settled(m, i, NULL);
}

static void ranges_are_exact(void **state)
{
	(void)state;
	struct remains *m = begin("00000000000000aa");
	twenty(m);
	remains_close(m, false);
	struct told t = tell(false);
	assert_int_equal(t.n, 1);
	assert_string_equal(t.l[0]->instance, "00000000000000aa");
	balanced(t.l[0]);
	assert_int_equal(t.l[0]->last_record_number, 20);
	assert_int_equal(t.l[0]->n_lost, 3);
	range_is(t.l[0], 0, 11, 14, "spooled");
	range_is(t.l[0], 1, 15, 15, "too_large");
	range_is(t.l[0], 2, 17, 20, "killed");
	const Sidetap__V1__Ledger__Stage *s = stage(t.l[0], "records");
	assert_int_equal(s->in, 20);
	assert_int_equal(exit_count(s, "delivered"), 11);
	assert_int_equal(exit_count(s, "spooled"), 4);
	assert_int_equal(exit_count(s, "killed"), 4);
	assert_int_equal(exit_count(s, "too_large"), 1);
	told_free(&t);
	assert_int_equal(files(), 1); /* not told yet: for the next */
}

/* A real kill, at a moment of its own choosing, by a process that only writes to memory. There are far too many ranges
 * to name each: the newest are. */
static void a_kill_at_any_moment_balances(void **state)
{
	(void)state;
	for (int round = 0; round < 30; round++) {
		pid_t child = fork();
		if (child == 0) {
			struct remains *m = begin("00000000000000ab");
			for (uint64_t i = 1;; i++) {
				remains_made(m, i);
				if (i > 3)
					remains_settled(m, i - 3, i % 5 ? NULL : "queue_full");
			}
		}
		usleep((useconds_t)(2000 + round * 700));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		struct told t = tell(true);
		if (t.n == 1) {
			balanced(t.l[0]);
			uint64_t named = 0;
			for (size_t i = 0; i < t.l[0]->n_lost; i++) {
				named += !strcmp(t.l[0]->lost[i]->exit, "killed");
				assert_true(t.l[0]->lost[i]->last <= t.l[0]->last_record_number);
			}
			assert_true(t.l[0]->last_record_number < 4 || named > 0);
		}
		told_free(&t);
		assert_int_equal(files(), 0);
	}
}

static struct record *interval(struct record_range *lost, size_t n)
{
	static struct ledger_stage stages[2];
	struct record *r = NULL;
	stages[0] = (struct ledger_stage) {.name = "pairing", .unit = "calls", .in = 9, .held = 2};
	stages[0].n_exits = 0;
	ledger_exit_add(&stages[0], "paired", 7, false);
	stages[1] = (struct ledger_stage) {.name = "records", .unit = "records", .in = 7};
	ledger_exit_add(&stages[1], "delivered", 7, false);
	struct record_rule rule = {"all", 9, 7, 7};
	struct record_ledger l = {.instance = "00000000000000ac",
				  .attach = "cgroup",
				  .exact = true,
				  .end_unix_ns = 77,
				  .stages = stages,
				  .n_stages = 2,
				  .lost = lost,
				  .n_lost = n,
				  .rules = &rule,
				  .n_rules = 1};
	assert_int_equal(record_encode_ledger(&l, &r), 0);
	return r;
}

/* Stages before the records are as they were; what they held is named; numbers too old for the page stay named. */
static void the_last_interval_is_told(void **state)
{
	(void)state;
	const uint64_t made = REMAINS_NUMBERS_MIN + 50;
	struct record_range lost[] = {{3, 5, "queue_full"}, {40, 60, "queue_full"}};
	struct remains *m = begin("00000000000000ac");
	for (uint64_t i = 1; i <= made; i++) {
		remains_made(m, i);
		remains_settled(m, i, i >= 40 && i <= 60 ? "queue_full" : NULL);
	}
	remains_settled(m, 5, "late"); /* too old: must not touch the number in its place */
	struct record *r = interval(lost, 2);
	remains_ledger(m, bytes_of(r->data, r->n));
	record_free(r);
	uint8_t *large = calloc(1, REMAINS_LEDGER_MAX + 1);
	remains_ledger(m, bytes_of(large, REMAINS_LEDGER_MAX + 1)); /* left out */
	free(large);
	remains_close(m, false);
	struct told t = tell(true);
	assert_int_equal(t.n, 1);
	balanced(t.l[0]);
	assert_int_equal(t.l[0]->start_unix_ns, 77);
	assert_true(t.l[0]->exact);
	assert_string_equal(t.l[0]->attach, "cgroup");
	assert_int_equal(exit_count(stage(t.l[0], "pairing"), "killed"), 2);
	assert_int_equal(stage(t.l[0], "records")->in, made);
	assert_int_equal(t.l[0]->n_rules, 1);
	assert_int_equal(t.l[0]->n_lost, 3);
	range_is(t.l[0], 0, 3, 5, "queue_full");
	range_is(t.l[0], 1, 40, 50,
		 "queue_full"); /* of the interval: up to where the fates begin */
	range_is(t.l[0], 2, 51, 60, "queue_full");
	told_free(&t);
}

/* Two were killed; what was not told by the one in between is told by the third. */
static void two_kills(void **state)
{
	(void)state;
	struct remains *m = begin("00000000000000a1");
	twenty(m);
	remains_close(m, false);
	struct told t = tell(false);
	m = begin("00000000000000a2");
	remains_made(m, 1);
	remains_close(m, false);
	assert_int_equal(t.n, 1);
	told_free(&t);
	t = tell(true);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.l[0]->last_record_number, 20);
	assert_int_equal(t.l[1]->last_record_number, 1);
	range_is(t.l[1], 0, 1, 1, "killed");
	/* killed in its turn before it could delete them: the next start does, and tells nobody twice */
	for (size_t i = 0; i < t.n; i++)
		sidetap__v1__ledger__free_unpacked(t.l[i], NULL);
	struct remains_found *killed = t.found;
	t = tell(true);
	assert_int_equal(t.n, 0);
	assert_int_equal(files(), 0);
	told_free(&t);
	remains_forget(killed);
}

/* In the spool is not yet told, but in a crash loop without a broker their number is bounded. */
static void stored_ledgers_are_kept_to_a_number(void **state)
{
	(void)state;
	char instance[17];
	unsigned most = 0;
	for (int i = 0; i < 20; i++) {
		struct remains_found *found = NULL;
		struct record *r = NULL;
		while (remains_next(dir, &found, &r) == 1) {
			remains_told(found, r->number, false);
			record_free(r);
		}
		snprintf(instance, sizeof(instance), "%016x", i);
		remains_close(begin(instance), false);
		most = files() > most ? files() : most;
		remains_forget(found);
		if (i == 1)
			assert_int_equal(files(), 2);
	}
	assert_int_equal(most, REMAINS_KEPT + 2);
	assert_true(most * (MIB / 4 + 2 * REMAINS_LEDGER_MAX) <= remains_bytes(MIB));
}

static void a_clean_end_leaves_nothing(void **state)
{
	(void)state;
	struct remains *m = begin("00000000000000aa");
	twenty(m);
	assert_int_equal(files(), 1);
	remains_close(m, true);
	assert_int_equal(files(), 0);
	struct told t = tell(true);
	assert_int_equal(t.n, 0);
	told_free(&t);
}

static void plant(const char *name, const void *p, size_t n, off_t size)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

/* D7: whatever else has such a name is left alone; what was killed before it made a record is deleted. */
static void foreign_and_torn_files(void **state)
{
	(void)state;
	char path[200];
	struct remains_page p = {.numbers = REMAINS_NUMBERS_MIN};
	memcpy(p.magic, remains_magic, sizeof(p.magic));
	const off_t size = (off_t)remains_size(REMAINS_NUMBERS_MIN);
	plant("sidetap-0000000000000001.run", "", 0, 0);
	plant("sidetap-0000000000000002.run", "", 0, size); /* killed before it had a magic */
	plant("sidetap-0000000000000003.run", "sdtprun9", 8, size); /* another version's */
	plant("sidetap-0000000000000004.run", &p, sizeof(p), size / 2); /* torn */
	p.ledger = 7;
	plant("sidetap-0000000000000005.run", &p, sizeof(p), size); /* a flipped bit */
	p.ledger = 0;
	p.numbers = UINT64_MAX;
	plant("sidetap-0000000000000006.run", &p, sizeof(p), size);
	plant("sidetap-000000000000000X.run", "x", 1, 1);
	snprintf(path, sizeof(path), "%s/sidetap-0000000000000007.run", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/sidetap-0000000000000008.run", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(files(), 9);
	struct told t = tell(true);
	assert_int_equal(t.n, 0);
	told_free(&t);
	assert_int_equal(files(), 7); /* 1 and 2 are gone */
}

/* The auditor believes it: named ones need not be there, all others must; what arrived later is no loss. */
static void the_auditor_judges(void **state)
{
	(void)state;
	for (int missing = 0; missing <= 12; missing++) {
		struct remains *m = begin("00000000000000aa");
		twenty(m);
		remains_close(m, false);
		struct told t = tell(true);
		struct audit *a = audit_new();
		for (uint64_t i = 1; i <= 16; i++) {
			struct record_capture capture = {.instance = "00000000000000aa"};
			struct record_call in = {.connection_id = bytes_str("00000000000000aa-1"),
						 .record_number = i,
						 .last_part = true,
						 .capture = &capture};
			struct record *r = NULL;
			if (i == (uint64_t)missing || i == 15)
				continue;
			assert_int_equal(record_encode(&in, &r), 0);
			Sidetap__V1__Call *c = record_decode(bytes_of(r->data, r->n));
			audit_call(a, c);
			sidetap__v1__call__free_unpacked(c, NULL);
			record_free(r);
		}
		assert_int_equal(audit_ledger(a, &t.l[0]), 0);
		t.n = 0;
		assert_int_equal(audit_faults(a), missing && missing <= 10 ? AUDIT_MISSING : 0);
		assert_true(audit_killed(a));
		/* 4 killed and 1 too large; and a spooled one only while it is not there */
		assert_int_equal(audit_lost(a), 5 + (missing > 10));
		audit_free(a);
		told_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(ranges_are_exact),
		TEST(a_kill_at_any_moment_balances),
		TEST(the_last_interval_is_told),
		TEST(two_kills),
		TEST(stored_ledgers_are_kept_to_a_number),
		TEST(a_clean_end_leaves_nothing),
		TEST(foreign_and_torn_files),
		TEST(the_auditor_judges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
