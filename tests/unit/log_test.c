/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s5_one_line_per_event),
		cmocka_unit_test(long_lines_are_cut_and_say_so),
		cmocka_unit_test(levels),
		cmocka_unit_test(p10_full_broken_closed),
		cmocka_unit_test(escape_never_cuts_a_character),
		cmocka_unit_test(nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
