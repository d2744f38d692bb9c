/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"

/* What log_line() puts on stderr, with a pipe in its place; read_end closed first when broken. */
static size_t logged(char *out, size_t n, void (*say)(void))
{
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDERR_FILENO);
	close(pipe_fd[1]);
	say();
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t got = read(pipe_fd[0], out, n - 1);
	close(pipe_fd[0]);
	out[got < 0 ? 0 : got] = 0;
	return got < 0 ? 0 : (size_t)got;
}

static void say_forged(void)
{
	log_error("topic %s", "a\r\nsidetap: all is well\x1b[2J\x9b"
			      "1m\xc2\x9b\xe2\x80\xae\xff é");
}

static void s5_one_line_per_event(void **state)
{
	(void)state;
	char text[LOG_LINE_MAX * 2];
	logged(text, sizeof(text), say_forged);
	assert_string_equal(
		text, "sidetap: topic a\\x0d\\x0asidetap: all is well\\x1b[2J\\x9b1m\\xc2\\x9b"
		      "\\xe2\\x80\\xae\\xff é\n");
}

static void say_long(void)
{
	char text[LOG_LINE_MAX * 3];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	log_info("%s", text);
}

static void say_long_escaped(void)
{
	char text[LOG_LINE_MAX - 40];
	memset(text, 1, sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	log_info("%s", text);
}

static void long_lines_are_cut_and_say_so(void **state)
{
	(void)state;
	char text[LOG_LINE_MAX * 4];
	void (*const all[])(void) = {say_long, say_long_escaped};
	for (size_t i = 0; i < 2; i++) {
		size_t n = logged(text, sizeof(text), all[i]);
		assert_true(n <= LOG_LINE_MAX && n > LOG_LINE_MAX - 8);
		assert_string_equal(text + n - 4, "...\n");
	}
}

static void say_levels(void)
{
	log_set_level(LOG_WARN);
	log_info("hidden");
	log_warn("shown");
	log_set_level(LOG_INFO);
	log_debug("hidden");
}

static void levels(void **state)
{
	(void)state;
	char text[256];
	logged(text, sizeof(text), say_levels);
	assert_string_equal(text, "sidetap: shown\n");
}

/* P10: a full pipe, a broken one and a closed descriptor lose the line, in a child that would
 * hang or die. */
static void in_child(void (*prepare)(int pipe_fd[2]))
{
	pid_t pid = fork();
	if (pid == 0) {
		int pipe_fd[2];
		alarm(5);
		if (pipe(pipe_fd) < 0)
			_exit(1);
		prepare(pipe_fd);
		errno = E2BIG;
		log_error("lost");
		_exit(errno == E2BIG ? 0 : 2);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void fill(int pipe_fd[2])
{
	char block[4096] = {0};
	fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK);
	while (write(pipe_fd[1], block, sizeof(block)) > 0)
		;
	fcntl(pipe_fd[1], F_SETFL, 0);
	dup2(pipe_fd[1], STDERR_FILENO);
}

static void break_it(int pipe_fd[2])
{
	signal(SIGPIPE, SIG_DFL);
	dup2(pipe_fd[1], STDERR_FILENO);
	close(pipe_fd[0]);
}

static void close_it(int pipe_fd[2])
{
	(void)pipe_fd;
	close(STDERR_FILENO);
}

static void p10_full_broken_closed(void **state)
{
	(void)state;
	in_child(fill);
	in_child(break_it);
	in_child(close_it);
}

/* The result is clean for every input, at every size of the buffer, and cut only between
 * characters. */
static void escape_never_cuts_a_character(void **state)
{
	(void)state;
	struct bytes in = BYTES("\x1b\xf0\x9f\x98\x80"
				"aé\xe2\x80\x8b\x80");
	for (size_t n = 1; n < 40; n++) {
		char out[64], again[256];
		memset(out, '#', sizeof(out));
		size_t used = log_escape(out, n, in);
		assert_true(used < n);
		assert_int_equal(out[used], 0);
		assert_int_equal(out[n], '#');
		assert_int_equal(log_escape(again, sizeof(again), bytes_str(out)), used);
		assert_string_equal(out, again);
	}
}

static void nearest(void **state)
{
	(void)state;
	const char *names[] = {"capture", NULL, "export", "ledger", "doctor"};
	assert_int_equal(nearest_name("captrue", names, 5), 0);
	assert_int_equal(nearest_name("leger", names, 5), 3);
	assert_int_equal(nearest_name("xyzzy", names, 5), -1);
	assert_int_equal(nearest_name("", names, 5), -1);
	char longest[300];
	memset(longest, 'c', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(nearest_name(longest, names, 5), -1);
}

/* ---- the forms for machines ---- */

static void say_machine(void)
{
	log_error("topic \"%s\" \\ é", "a\r\n\x1b[2J\xe2\x80\xae");
	log_raw("sidetap: two\n\nlines \x1b\n");
}

static void say_logfmt(void)
{
	log_set_format(LOG_LOGFMT);
	say_machine();
	log_set_format(LOG_PLAIN);
}

static void say_json(void)
{
	log_set_format(LOG_JSON);
	say_machine();
	log_set_format(LOG_PLAIN);
}

/* The time stamp of each line becomes T. */
static void without_time(char *text)
{
	for (char *z; (z = strstr(text, "Z")) && z - text >= 23;) {
		memmove(z - 23, "T", 1);
		memmove(z - 22, z + 1, strlen(z));
		text = z - 20;
	}
}

static void s5_logfmt(void **state)
{
	(void)state;
	char text[4096];
	logged(text, sizeof(text), say_logfmt);
	without_time(text);
	assert_string_equal(text, "ts=T level=error msg=\"topic \\\"a\\\\x0d\\\\x0a\\\\x1b[2J"
				  "\\\\xe2\\\\x80\\\\xae\\\" \\\\ é\"\n"
				  "ts=T level=info msg=\"two\"\n"
				  "ts=T level=info msg=\"lines \\\\x1b\"\n");
}

static void json_line(const char *line, const char *level, const char *message)
{
	json_error_t e;
	json_t *j = json_loads(line, JSON_DISABLE_EOF_CHECK, &e);
	if (!j)
		fail_msg("%s: %s", e.text, line);
	assert_int_equal(strlen(json_string_value(json_object_get(j, "ts"))), 24);
	assert_string_equal(json_string_value(json_object_get(j, "level")), level);
	if (message)
		assert_string_equal(json_string_value(json_object_get(j, "msg")), message);
	json_decref(j);
}

static void s5_json(void **state)
{
	(void)state;
	char text[4096], *line = text;
	logged(text, sizeof(text), say_json);
	json_line(line, "error", "topic \"a\\x0d\\x0a\\x1b[2J\\xe2\\x80\\xae\" \\ é");
	line = strchr(line, '\n') + 1;
	json_line(line, "info", "two");
	line = strchr(line, '\n') + 1;
	json_line(line, "info", "lines \\x1b");
}

static const char *cut_unit;

static void say_cut(void)
{
	char text[LOG_LINE_MAX * 2] = "";
	for (size_t n = 0; n + strlen(cut_unit) < sizeof(text); n += strlen(cut_unit))
		memcpy(text + n, cut_unit, strlen(cut_unit));
	log_set_format(LOG_JSON);
	log_info("%s", text);
	log_set_format(LOG_PLAIN);
}

/* Whatever is cut, a line is JSON, of a line's length, and says so. */
static void cut_json_is_json(void **state)
{
	(void)state;
	static const char *const units[] = {"x",      "\"",        "\\", "é", "x\xf0\x9f\x98\x80",
					    "\x1b\"", "ab\xc3\xa9"};
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		char text[LOG_LINE_MAX * 4];
		cut_unit = units[i];
		size_t n = logged(text, sizeof(text), say_cut);
		assert_true(n <= LOG_LINE_MAX && n > LOG_LINE_MAX - 400);
		json_line(text, "info", NULL);
		assert_string_equal(text + n - 6, "...\"}\n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s5_one_line_per_event),
		cmocka_unit_test(long_lines_are_cut_and_say_so),
		cmocka_unit_test(levels),
		cmocka_unit_test(p10_full_broken_closed),
		cmocka_unit_test(escape_never_cuts_a_character),
		cmocka_unit_test(nearest),
		cmocka_unit_test(s5_logfmt),
		cmocka_unit_test(s5_json),
		cmocka_unit_test(cut_json_is_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
