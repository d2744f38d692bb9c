/* SPDX-License-Identifier: Apache-2.0 */
/* C1, C2: which changes of a file are told, and what a running capture takes of a new configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/reload.h"
#include "capture/settings.h"

static char dir[64], path[128];

static const char *in_dir(const char *name)
{
	static char out[4][160];
	static unsigned at;
	char *p = out[at++ % 4];
	snprintf(p, sizeof(out[0]), "%s/%s", dir, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(in_dir(name), "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int begin(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/reload-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/c.yaml", dir);
	return 0;
}

static int end(void **state)
{
	(void)state;
	char command[100];
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* What inotify tells is there when the call that changed it returns. */
static bool told(struct reload *r)
{
	struct pollfd p = {.fd = reload_fd(r), .events = POLLIN};
	return poll(&p, 1, 0) == 1 && reload_changed(r, false);
}

static void rewritten_and_renamed(void **state)
{
	(void)state;
	put("c.yaml", "sample: 1\n");
	struct reload *r = reload_open(path);
	assert_non_null(r);
	assert_false(told(r));
	put("c.yaml", "sample: 0.5\n");
	assert_true(told(r));
	assert_false(told(r));
	put("other.yaml", "sample: 0.25\n"); /* the file of somebody else */
	assert_false(told(r));
	assert_int_equal(rename(in_dir("other.yaml"), path), 0);
	assert_true(told(r));
	assert_int_equal(unlink(path), 0);
	assert_false(told(r)); /* gone is no change: it may come back */
	put("c.yaml", "sample: 1\n");
	assert_true(told(r));
	reload_close(r);
}

/* In the middle of being written: only its end is told. */
static void half_written(void **state)
{
	(void)state;
	put("c.yaml", "sample: 1\n");
	struct reload *r = reload_open(path);
	FILE *f = fopen(path, "w");
	fputs("sample: 0.5\n", f);
	fflush(f);
	assert_false(told(r));
	assert_false(reload_changed(r, true)); /* the tick sees it, and waits until it stays */
	fputs("body-limit: 1KiB\n", f);
	fflush(f);
	assert_false(reload_changed(r, true));
	fclose(f);
	assert_true(told(r));
	reload_close(r);
}

/* Without a word of inotify: the same for a whole tick */
static void ticks_alone(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(mkdir(in_dir("a"), 0700), 0);
	assert_int_equal(mkdir(in_dir("b"), 0700), 0);
	put("a/c.yaml", "sample: 1\n");
	put("b/c.yaml", "sample: 0.5\n");
	assert_int_equal(symlink("a", in_dir("dir")), 0);
	snprintf(path, sizeof(path), "%s/dir/c.yaml", dir);
	struct reload *r = reload_open(path);
	/* a symlink in the middle of the path: no watched directory changes */
	assert_int_equal(unlink(in_dir("dir")), 0);
	assert_int_equal(symlink("b", in_dir("dir")), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_false(told(r));
	assert_false(reload_changed(r, true));
	assert_true(reload_changed(r, true));
	assert_false(reload_changed(r, true));
	reload_close(r);
}

/* FILE -> ..data/FILE, ..data -> ..1; then ..data is renamed over */
static void c2_kubernetes_swap(void **state)
{
	(void)state;
	char name[40];
	assert_int_equal(mkdir(in_dir("..0"), 0700), 0);
	put("..0/c.yaml", "sample: 1\n");
	assert_int_equal(symlink("..0", in_dir("..data")), 0);
	assert_int_equal(symlink("..data/c.yaml", path), 0);
	struct reload *r = reload_open(path);
	for (int i = 1; i <= 50; i++) {
		snprintf(name, sizeof(name), "..%d", i);
		assert_int_equal(mkdir(in_dir(name), 0700), 0);
		assert_int_equal(symlink(name, in_dir("..data_tmp")), 0);
		snprintf(name, sizeof(name), "..%d/c.yaml", i);
		put(name, "sample: 0.5\n");
		reload_changed(r, false); /* whatever it says now, nothing is swapped */
		assert_int_equal(rename(in_dir("..data_tmp"), in_dir("..data")), 0);
		assert_true(told(r));
		assert_false(told(r));
	}
	reload_close(r);
}

/* ---- what is taken ---- */

struct kept {
	char names[400];
};

static void on_kept(void *ctx, const char *name, const char *value)
{
	struct kept *k = ctx;
	size_t n = strlen(k->names);
	snprintf(k->names + n, sizeof(k->names) - n, "%s=%s ", name, value);
}

static struct settings s, next;

static void settings_begin(const char *const *flags)
{
	char *argv[16] = {(char[]) {"capture"}};
	int argc = 1;
	for (; flags && *flags; flags++)
		argv[argc++] = (char *)*flags;
	settings_init(&s);
	assert_int_equal(settings_parse(&s, argc, argv), 0);
	assert_int_equal(settings_copy(&next, &s), 0);
}

static bool adopt(const char *text, struct kept *k)
{
	FILE *err = fopen("/dev/null", "w");
	*k = (struct kept) {""};
	put("c.yaml", text);
	assert_int_equal(settings_load(&next, path, err), 0);
	fclose(err);
	bool changed = settings_adopt(&s, &next, on_kept, k);
	settings_fini(&next);
	assert_int_equal(settings_copy(&next, &s), 0);
	return changed;
}

static void live_values_are_taken(void **state)
{
	(void)state;
	struct kept k;
	char hash[17];
	settings_begin(NULL);
	strcpy(hash, s.config_hash);
	assert_true(adopt("sample: 10%\nbody-limit: 1KiB\ncall-timeout: 5s\nlimit: {calls: 7}\n"
			  "log-format: json\nledger-interval: 3s\npart-messages: 5\n"
			  "rules: [{name: r, drop: true}]\n",
			  &k));
	assert_string_equal(k.names, "");
	assert_true(s.sample == 0.1 && s.body_limit == 1024 && s.limit_calls == 7);
	assert_true(s.call_timeout_ns == 5000000000 && s.log_format == 2 && s.n_rules == 1);
	assert_true(s.part_messages == 5 && s.ledger_interval_ns == 3000000000);
	assert_string_not_equal(s.config_hash, hash);
	strcpy(hash, s.config_hash);
	assert_false(adopt("sample: 10%\nbody-limit: 1KiB\ncall-timeout: 5s\nlimit: {calls: 7}\n"
			   "log-format: json\nledger-interval: 3s\npart-messages: 5\n"
			   "rules: [{name: r, drop: true}]\n",
			   &k));
	assert_string_equal(s.config_hash, hash);
	assert_true(adopt("sample: 100%\n", &k)); /* what is not named is at its default again */
	assert_true(s.body_limit == 1 << 20 && s.limit_calls == 0 && s.n_rules == 0);
	settings_fini(&s);
	settings_fini(&next);
}

static void what_cannot_change_is_told_and_stays(void **state)
{
	(void)state;
	struct kept k;
	char hash[17];
	settings_begin((const char *const[]) {"-p", "80", NULL});
	strcpy(hash, s.config_hash);
	char *attach = s.attach;
	assert_false(adopt("attach: socket\nsink: 'kafka://h:1/t?sasl.password=secret'\n"
			   "ring-size: 8MiB,64MiB\nmax-connections: 5\nport: 81\nidle: true\n",
			   &k));
	assert_string_equal(k.names,
			    "attach='auto' sink='print:' "
			    "idle=false ring-size=4194304,33554432 max-connections=65536 ");
	assert_ptr_equal(s.attach, attach); /* others hold it */
	assert_string_equal(s.sink, "print:");
	assert_true(s.n_ports == 1 && s.ports[0] == 80 && !s.idle);
	assert_true(s.hot_ring_bytes == 4 << 20 && s.overflow_ring_bytes == 32 << 20);
	assert_string_equal(s.config_hash, hash);
	settings_fini(&s);
	settings_fini(&next);
}

static void secret_of_a_sink_is_compared(void **state)
{
	(void)state;
	struct kept k;
	settings_begin((const char *const[]) {"-o", "kafka://h:1/t?sasl.password=old", NULL});
	s.flag_set = next.flag_set = 0;
	adopt("sink: 'kafka://h:1/t?sasl.password=new'\n", &k);
	assert_non_null(strstr(k.names, "sink="));
	assert_null(strstr(k.names, "old"));
	assert_null(strstr(k.names, "new"));
	settings_fini(&s);
	settings_fini(&next);
}

static int overlay(const char *text, char *said, size_t n)
{
	static const char *const keys[] = {"sample", "rules", NULL};
	FILE *err = fmemopen(said, n, "w");
	int rc = settings_overlay(&s, "stdin", bytes_str(text), keys, err);
	fclose(err);
	return rc;
}

static void overlay_changes_what_it_names(void **state)
{
	(void)state;
	char said[300] = "";
	settings_begin((const char *const[]) {"-s", "10%", "--body-limit", "1KiB", NULL});
	assert_int_equal(overlay("rules: [{name: a, drop: true}]\n", said, sizeof(said)), 0);
	assert_true(s.sample == 0.1 && s.body_limit == 1024 && s.n_rules == 1);
	assert_int_equal(overlay("sample: 20%\n", said, sizeof(said)), 0); /* over a flag as well */
	assert_true(s.sample == 0.2 && s.n_rules == 1);
	assert_int_equal(overlay("rules: [{name: b, drop: true}]\n", said, sizeof(said)), 0);
	assert_true(s.n_rules == 1); /* the list begins anew */
	assert_int_equal(overlay("body-limit: 5\n", said, sizeof(said)), -EINVAL);
	assert_string_equal(
		said,
		"stdin:1:1: body-limit: not for here: allowed are sample, connections and rules\n");
	assert_int_equal(overlay("sample: 20%\nsample: 3\n", said, sizeof(said)), -EINVAL);
	assert_non_null(strstr(said, "stdin:2:1: sample: given twice"));
	assert_true(s.sample == 0.2);
	settings_fini(&s);
	settings_fini(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rewritten_and_renamed, begin, end),
		cmocka_unit_test_setup_teardown(half_written, begin, end),
		cmocka_unit_test_setup_teardown(ticks_alone, begin, end),
		cmocka_unit_test_setup_teardown(c2_kubernetes_swap, begin, end),
		cmocka_unit_test_setup_teardown(live_values_are_taken, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_change_is_told_and_stays, begin, end),
		cmocka_unit_test_setup_teardown(secret_of_a_sink_is_compared, begin, end),
		cmocka_unit_test_setup_teardown(overlay_changes_what_it_names, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
