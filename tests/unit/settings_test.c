/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/settings_text.h"

/* Runs with stderr and stdout in a buffer; words end with NULL. */
static int parse(struct settings *s, char *said, size_t n, char **words)
{
	int argc = 0, saved_err = dup(STDERR_FILENO), saved_out = dup(STDOUT_FILENO);
	FILE *f = tmpfile();
	while (words[argc])
		argc++;
	fflush(stdout);
	dup2(fileno(f), STDERR_FILENO);
	dup2(fileno(f), STDOUT_FILENO);
	settings_init(s);
	int rc = settings_parse(s, argc, words);
	fflush(stdout);
	fflush(stderr);
	dup2(saved_err, STDERR_FILENO);
	dup2(saved_out, STDOUT_FILENO);
	close(saved_err);
	close(saved_out);
	rewind(f);
	size_t got = fread(said, 1, n - 1, f);
	said[got] = 0;
	fclose(f);
	return rc;
}

#define WORDS(...) ((char *[]) {"capture", __VA_ARGS__, NULL})

static void defaults_are_the_contract(void **state)
{
	(void)state;
	struct settings s;
	settings_init(&s);
	assert_int_equal(s.n_ports, 0);
	assert_false(s.any_interface);
	assert_string_equal(s.attach, "auto");
	assert_string_equal(s.sink, "print:");
	assert_true(s.sample == 1 && s.connections == 1);
	assert_int_equal(s.body_limit, 1 << 20);
	assert_int_equal(s.call_timeout_ns, 60000000000);
	assert_true(s.redact && s.reattach && !s.idle && !s.quiet && !s.bodies && !s.check_only);
	assert_int_equal(s.ledger_interval_ns, 10000000000);
	assert_int_equal(s.hot_ring_bytes, 4 << 20);
	assert_int_equal(s.overflow_ring_bytes, 32 << 20);
	assert_int_equal(s.max_connections, 65536);
	assert_int_equal(s.pending_connection_bytes, 1 << 20);
	assert_int_equal(s.pending_bytes, 16 << 20);
	assert_int_equal(s.open_bodies_bytes, 16 << 20);
	assert_int_equal(s.header_bytes, 65536);
	assert_int_equal(s.header_count, 256);
	assert_int_equal(s.limit_calls | s.limit_bytes | s.limit_ns, 0);
	assert_null(s.read_file);
	settings_fini(&s);
}

static void flags_in_every_form(void **state)
{
	(void)state;
	struct settings s;
	char said[4096];
	assert_int_equal(
		parse(&s, said, sizeof(said),
		      WORDS("-p80,8080-8082", "--port", "90", "--port=80", "-vvx", "-s", "10%",
			    "--no-redact", "--limit", "calls=10k,time=5s", "--limit=bytes=1MiB",
			    "-a", "cgroup:/sys/fs/cgroup/x,cgroup:pid:7", "-o",
			    "kafka://a:9092,b:1/t?x=y", "-r", "-", "--body-limit", "none",
			    "--ring-size", "64k", "--connections=0")),
		0);
	const uint16_t ports[] = {80, 8080, 8081, 8082, 90};
	assert_int_equal(s.n_ports, 5);
	assert_memory_equal(s.ports, ports, sizeof(ports));
	assert_int_equal(s.verbose, 2);
	assert_true(s.bodies && !s.redact);
	assert_true(s.sample == 0.1 && s.connections == 0);
	assert_int_equal(s.limit_calls, 10000);
	assert_int_equal(s.limit_bytes, 1 << 20);
	assert_int_equal(s.limit_ns, 5000000000);
	assert_string_equal(s.attach, "cgroup:/sys/fs/cgroup/x,pid:7");
	assert_string_equal(s.sink, "kafka://a:9092,b:1/t?x=y");
	assert_string_equal(s.read_file, "-");
	assert_true(s.body_limit == UINT64_MAX);
	assert_int_equal(s.hot_ring_bytes, 65536);
	assert_int_equal(s.overflow_ring_bytes, 32 << 20);
	assert_int_equal(strlen(s.config_hash), 16);
	assert_string_equal(said, "");
	settings_fini(&s);
}

static void refused(char **words, const char *says)
{
	struct settings s;
	char said[4096];
	int rc = parse(&s, said, sizeof(said), words);
	if (rc != -EINVAL || !strstr(said, says) || strchr(said, '\n') != said + strlen(said) - 1)
		fail_msg("%s %s: rc %d, said: %s (want: %s)", words[1], words[2] ? words[2] : "",
			 rc, said, says);
	settings_fini(&s);
}

static void c1_wrong_flags_say_what_is_allowed(void **state)
{
	(void)state;
	refused(WORDS("--smaple", "1"), "did you mean --sample?");
	refused(WORDS("--sample"), "--sample needs a value");
	refused(WORDS("--idle=yes"), "takes no value");
	refused(WORDS("-Z"), "no such option: -Z");
	refused(WORDS("8080"), "ports are given by -p");
	refused(WORDS("--"), "unexpected '--'");
	refused(WORDS("-s", "1.5"), "'1.5' is more than all: allowed is 0% to 100%");
	refused(WORDS("-s", "-1"), "'-1' is no share");
	refused(WORDS("-s", "nan"), "'nan' is no share");
	refused(WORDS("-p", "0"), "'0' is no port");
	refused(WORDS("-p", "65536"), "no port");
	refused(WORDS("-p", "80,"), "no port");
	refused(WORDS("-p", "90-80"), "backwards");
	refused(WORDS("-p", "1-257"), "too many ports");
	refused(WORDS("-p", "80;90"), "no port");
	refused(WORDS("--interface", "eth0"), "allowed is lo or any");
	refused(WORDS("-a", "tc"), "no way to attach");
	refused(WORDS("-a", "cgroup:"), "names no cgroup");
	refused(WORDS("-a", "cgroup:pid:"), "no process id");
	refused(WORDS("-a", "cgroup:/a,pid:0"), "no process id");
	refused(WORDS("-a", "cgroup:/a,"), "names no cgroup");
	refused(WORDS("-a", "socket:"), "names no interface");
	refused(WORDS("-a", "pcap:an-interface-with-a-long-name"), "names no interface");
	refused(WORDS("-a", "auto:x"), "nothing after auto");
	refused(WORDS("-o", "kafka"), "allowed is kafka://");
	refused(WORDS("-o", "kafka://a:9092"), "names no topic");
	refused(WORDS("-o", "kafka://a:9092/"), "names no topic");
	refused(WORDS("-o", "kafka:///t"), "not HOST:PORT");
	refused(WORDS("-o", "kafka://a:70000/t"), "not HOST:PORT");
	refused(WORDS("-o", "kafka://a,,b/t"), "not HOST:PORT");
	refused(WORDS("-o", "kafka://a/t/u"), "has a topic");
	refused(WORDS("-o", "kafka://a/.."), "does not allow");
	refused(WORDS("-o", "kafka://a/t?x"), "not name=value");
	refused(WORDS("-o", "kafka:embeddedx"), "is no sink");
	refused(WORDS("-o", "file:"), "names no directory");
	refused(WORDS("--limit", "calls=0"), "out of range");
	refused(WORDS("--limit", "calls"), "allowed is calls=N");
	refused(WORDS("--limit", "time=none"), "out of range");
	refused(WORDS("--ring-size", "5000"), "no power of two");
	refused(WORDS("--ring-size", "2048"), "out of range");
	refused(WORDS("--ring-size", "4096,4096,4096"), "more than two");
	refused(WORDS("--pending-limit", "2MiB,1MiB"), "larger size first");
	refused(WORDS("--max-connections", "99999999999999999999"), "out of range");
	refused(WORDS("--call-timeout", "1ms"), "allowed is 10 ms to 24 h");
	refused(WORDS("-c", "/nonexistent/sidetap.yaml"),
		"/nonexistent/sidetap.yaml:1:1: No such file");
}

/* C7: what may be a password is in no message, and not in what --check shows. */
static void c7_secrets_of_a_sink(void **state)
{
	(void)state;
	struct settings s, other;
	char said[4096];
	parse(&s, said, sizeof(said), WORDS("-o", "kafka://a/t/x?sasl.password=hunter2"));
	assert_null(strstr(said, "hunter2"));
	settings_fini(&s);
	assert_int_equal(
		parse(&s, said, sizeof(said), WORDS("-o", "kafka://a/t?sasl.password=hunter2&a=b")),
		0);
	assert_int_equal(parse(&other, said, sizeof(said),
			       WORDS("-o", "kafka://a/t?sasl.password=hunter3&a=b")),
			 0);
	char *text = settings_text_shown(&s);
	assert_non_null(strstr(text, "sasl.password=[redacted]&a=b"));
	assert_string_equal(s.config_hash, other.config_hash);
	free(text);
	settings_fini(&s);
	settings_fini(&other);
}

static void hash_follows_the_values(void **state)
{
	(void)state;
	struct settings a, b, c;
	char said[256];
	parse(&a, said, sizeof(said), WORDS("-p", "80"));
	parse(&b, said, sizeof(said), WORDS("--port=80", "--sample", "100%"));
	parse(&c, said, sizeof(said), WORDS("-p", "80", "-s", "0.999"));
	assert_string_equal(a.config_hash, b.config_hash);
	assert_string_not_equal(a.config_hash, c.config_hash);
	settings_fini(&a);
	settings_fini(&b);
	settings_fini(&c);
}

static void file_gives_the_same_as_flags(void **state)
{
	(void)state;
	struct settings f, s;
	char said[1024] = "";
	parse(&f, said, sizeof(said),
	      WORDS("-p", "80,8080-8082", "-s", "10%", "--limit", "calls=100,time=5s",
		    "--no-redact", "--idle", "-o", "file:/x", "--service-name", "a b", "-v"));
	settings_init(&s);
	assert_int_equal(
		settings_text_load(
			&s,
			"# comment\nport: [80, '8080-8082']\nsample: 10%\nlimit: {calls: 100, time: 5s}\n"
			"no-redact: true\nidle: true\nsink: \"file:/x\"\nservice-name: a b\nverbose: 1\n",
			said, sizeof(said)),
		0);
	char *a = settings_text_shown(&f), *b = settings_text_shown(&s);
	assert_string_equal(a, b);
	assert_string_equal(f.config_hash, s.config_hash);
	free(a);
	free(b);
	/* what is printed is a file again */
	a = settings_text_shown(&s);
	struct settings again;
	settings_init(&again);
	assert_int_equal(settings_text_load(&again, a, said, sizeof(said)), 0);
	b = settings_text_shown(&again);
	assert_string_equal(a, b);
	free(a);
	free(b);
	settings_fini(&again);
	settings_fini(&f);
	settings_fini(&s);
}

/* C1, C2: refused with FILE:LINE:COLUMN and what is allowed; the settings in force are as
 * before. */
static void file_refused(const char *text, const char *says)
{
	struct settings s;
	char said[2048] = "";
	settings_init(&s);
	assert_int_equal(settings_text_load(&s, "port: 7\nsink: file:/keep\n", said, sizeof(said)),
			 0);
	char *before = settings_text_shown(&s);
	int rc = settings_text_load(&s, text, said, sizeof(said));
	char *after = settings_text_shown(&s);
	assert_string_equal(before, after);
	if (rc != -EINVAL || strncmp(said, says, strlen(says)) != 0 ||
	    strchr(said, '\n') != said + strlen(said) - 1)
		fail_msg("%s: rc %d, said: %s (want: %s)", text, rc, said, says);
	free(before);
	free(after);
	settings_fini(&s);
}

static void c1_table_of_bad_files(void **state)
{
	(void)state;
	file_refused("", "f.yaml:1:1: nothing in it: allowed");
	file_refused("# only a comment\n", "f.yaml:2:1: nothing in it");
	file_refused("---\n...\n", "f.yaml:2:1: nothing in it");
	file_refused("80\n", "f.yaml:1:1: not a mapping");
	file_refused("- port\n", "f.yaml:1:1: not a mapping");
	file_refused("port: 80\nsmaple: 1\n",
		     "f.yaml:2:1: smaple: no such key: did you mean sample?");
	file_refused("body_limit: 1\n",
		     "f.yaml:1:1: body_limit: no such key: did you mean body-limit?");
	file_refused("config: x\n", "f.yaml:1:1: config: no such key");
	file_refused("help: true\n", "f.yaml:1:1: help: no such key");
	file_refused("port: 80\nsample: 1\nport: 81\n",
		     "f.yaml:3:1: port: given twice: allowed is once");
	file_refused("redact: true\nno-redact: true\n", "f.yaml:2:1: no-redact: given twice");
	file_refused("port: true\n", "f.yaml:1:7: port: 'true' is no port: allowed is");
	file_refused("port: {a: 1}\n", "f.yaml:1:7: port: '{...}' is a mapping");
	file_refused("port: []\n", "f.yaml:1:7: port: '[]' is an empty list");
	file_refused("port: [80, [81]]\n", "f.yaml:1:12: port: a list inside");
	file_refused("port:\n", "f.yaml:1:6: port: '' is no value");
	file_refused("port: ~\n", "f.yaml:1:7: port: '~' is no value");
	file_refused("port:\n  - 80\n  - 70000\n", "f.yaml:3:5: port: '70000' is no port");
	file_refused("sample: [1]\n", "f.yaml:1:9: sample: '[...]' is a list: allowed is 0%");
	file_refused("sample: .nan\n", "f.yaml:1:9: sample: '.nan' is no share");
	file_refused("sample: NaN\n", "f.yaml:1:9: sample: 'NaN' is no share");
	file_refused("sample: 1e400\n", "f.yaml:1:9: sample: '1e400' is no share");
	file_refused("sample: 2\n", "f.yaml:1:9: sample: '2' is more than all");
	file_refused(
		"max-connections: 18446744073709551617\n",
		"f.yaml:1:18: max-connections: '18446744073709551617' is out of range: allowed is 1 to 1,048,576");
	file_refused("idle: 1\n", "f.yaml:1:7: idle: '1' is neither true nor false");
	file_refused("idle: \"true\"\n",
		     "f.yaml:1:7: idle: 'true' is text: allowed is true or false");
	file_refused("idle: yes\n", "f.yaml:1:7: idle: 'yes' is neither");
	file_refused("no-redact: yes\n", "f.yaml:1:12: no-redact: 'yes' is neither");
	file_refused("limit: {calls: 1, calls: 2}\n", "f.yaml:1:19: limit: a limit given twice");
	file_refused("limit: {cals: 1}\n", "f.yaml:1:9: limit: 'cals' is no limit");
	file_refused("limit: {calls: [1]}\n", "f.yaml:1:16: limit: a limit is one value");
	file_refused("limit: {calls: -1}\n", "f.yaml:1:16: limit: 'calls=-1' is no such value");
	file_refused("port: 80\n\tsample: 1\n", "f.yaml:2:1: a tab: YAML is indented with spaces");
	file_refused("limit:\n\tcalls: 1\n", "f.yaml:2:1: a tab");
	file_refused("port: [80\n", "f.yaml:2:1: not YAML");
	file_refused("port: 80\nsink: \x01\n", "f.yaml:2:7: not YAML: control characters");
	file_refused("port: 80\nsink: \xff\xfe\n", "f.yaml:2:7: not YAML");
	file_refused("port: &a 80\n", "f.yaml:1:7: anchors and tags");
	file_refused("port: *a\n", "f.yaml:1:7: anchors and aliases");
	file_refused("port: !!int 80\n", "f.yaml:1:7: anchors and tags");
	file_refused("port: 80\n---\nport: 81\n", "f.yaml:2:1: a second document");
	file_refused("sink: \"file:/a\\0b\"\n", "f.yaml:1:7: a NUL in text");
	file_refused("[1]: 2\n", "f.yaml:1:1: a key is a word");
	file_refused("<<: {port: 1}\n", "f.yaml:1:1: <<: no such key");
	/* S6: what the file says is shown escaped */
	file_refused("\"\\e[31m\": 1\n", "f.yaml:1:1: \\x1b[31m: no such key");
}

static void c1_binary(void **state)
{
	(void)state;
	struct settings s;
	char said[1024];
	settings_init(&s);
	FILE *err = fmemopen(said, sizeof(said), "w");
	assert_int_equal(settings_load_text(&s, "f",
					    bytes_of("\x7f"
						     "ELF\x02\x01\x00\x00\x00",
						     9),
					    err),
			 -EINVAL);
	fclose(err);
	assert_int_equal(strncmp(said, "f:1:1: not YAML", 15), 0);
	settings_fini(&s);
}

static void temporary(char *path, size_t bytes)
{
	strcpy(path, "/tmp/settings_test.XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

static void c1_files_that_are_none(void **state)
{
	(void)state;
	struct settings s;
	char said[1024] = "", path[64];
	settings_init(&s);
	const struct {
		size_t bytes;
		const char *says;
	} sizes[] = {{SETTINGS_FILE_MAX + 1, ": larger than 1 MiB"},
		     {(size_t)1 << 30, ": larger than 1 MiB"},
		     {SETTINGS_FILE_MAX, ": not YAML"}}; /* NULs */
	for (size_t i = 0; i < 3; i++) {
		temporary(path, sizes[i].bytes);
		FILE *err = fmemopen(said, sizeof(said), "w");
		assert_int_equal(settings_load(&s, path, err), -EINVAL);
		fclose(err);
		unlink(path);
		assert_non_null(strstr(said, sizes[i].says));
	}
	temporary(path, 0);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	const char *odd[] = {path, "/", "/dev/zero"};
	for (size_t i = 0; i < 3; i++) {
		FILE *err = fmemopen(said, sizeof(said), "w");
		assert_int_equal(settings_load(&s, odd[i], err), -EINVAL);
		fclose(err);
		assert_non_null(strstr(said, ":1:1: not a regular file"));
	}
	unlink(path);
	settings_fini(&s);
}

static void flags_win_over_the_file(void **state)
{
	(void)state;
	struct settings s;
	char said[1024], path[64];
	temporary(path, 0);
	FILE *f = fopen(path, "w");
	fputs("port: 81\nsample: 50%\nidle: true\nlimit: calls=3\n", f);
	fclose(f);
	assert_int_equal(parse(&s, said, sizeof(said), WORDS("-c", path, "-p", "80", "--no-idle")),
			 0);
	assert_int_equal(s.n_ports, 1);
	assert_int_equal(s.ports[0], 80);
	assert_false(s.idle);
	assert_true(s.sample == 0.5);
	assert_int_equal(s.limit_calls, 3);
	/* a reload: what is gone from the file is at its default again, flags stay */
	assert_int_equal(settings_text_load(&s, "sink: file:/y\n", said, sizeof(said)), 0);
	assert_int_equal(s.ports[0], 80);
	assert_true(s.sample == 1);
	assert_int_equal(s.limit_calls, 0);
	assert_string_equal(s.sink, "file:/y");
	/* a key that a flag hides is checked all the same */
	assert_int_equal(settings_text_load(&s, "port: 99999\n", said, sizeof(said)), -EINVAL);
	assert_string_equal(s.sink, "file:/y");
	unlink(path);
	settings_fini(&s);
}

static void environment_names_the_pod(void **state)
{
	(void)state;
	struct settings s;
	setenv("SIDETAP_POD", "web-1", 1);
	settings_init(&s);
	assert_string_equal(s.pod, "web-1");
	assert_string_equal(s.container, "");
	unsetenv("SIDETAP_POD");
	settings_fini(&s);
}

/* Every option of the table is in --help, which fits on a screen or two; C7: no value of the
 * environment is. */
static void help_lists_every_option(void **state)
{
	(void)state;
	struct settings s;
	static char said[16384];
	setenv("SIDETAP_POD", "canary-9f3a", 1);
	assert_int_equal(parse(&s, said, sizeof(said), WORDS("--help")), 1);
	unsetenv("SIDETAP_POD");
	assert_null(strstr(said, "canary-9f3a"));
	for (size_t i = 0; i < settings_n_options; i++) {
		const struct option *o = &settings_options[i];
		char name[64];
		snprintf(name, sizeof(name), "%s%s%s", o->file_only ? "`" : "--",
			 o->negative ? "no-" : "", o->name);
		if (strcmp(o->name, "version") != 0 && !strstr(said, name))
			fail_msg("%s is not in --help", name);
	}
	size_t lines = 0;
	for (char *line = said; *line; lines++) {
		size_t n = strcspn(line, "\n");
		assert_true(n <= 100);
		line += n + (line[n] == '\n');
	}
	assert_true(lines <= 72);
	settings_fini(&s);
	assert_int_equal(parse(&s, said, sizeof(said), WORDS("--version")), 1);
	assert_int_equal(strncmp(said, "sidetap ", 8), 0);
	settings_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_the_contract),
		cmocka_unit_test(flags_in_every_form),
		cmocka_unit_test(c1_wrong_flags_say_what_is_allowed),
		cmocka_unit_test(c7_secrets_of_a_sink),
		cmocka_unit_test(hash_follows_the_values),
		cmocka_unit_test(file_gives_the_same_as_flags),
		cmocka_unit_test(c1_table_of_bad_files),
		cmocka_unit_test(c1_binary),
		cmocka_unit_test(c1_files_that_are_none),
		cmocka_unit_test(flags_win_over_the_file),
		cmocka_unit_test(environment_names_the_pod),
		cmocka_unit_test(help_lists_every_option),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
