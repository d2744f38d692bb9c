/* SPDX-License-Identifier: Apache-2.0 */
/* C5, C6, F12: who is served, how much of it, and where the socket may lie. Time is an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/control.h"

enum { MS = 1000000 };

static char dir[64], path[128];
static struct control *control;
static unsigned asked;
static size_t answer_bytes; /* of a long answer; 0: a short one */

static int begin(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/control-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.sock", dir);
	asked = 0;
	answer_bytes = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	char command[100];
	control_close(control);
	control = NULL;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static json_t *handle(void *ctx, const json_t *request)
{
	(void)ctx;
	asked++;
	json_t *out = json_pack("{s:b, s:O}", "ok", 1, "you", json_object_get(request, "command"));
	if (answer_bytes) {
		char *text = malloc(answer_bytes);
		memset(text, 'x', answer_bytes);
		json_object_set_new(out, "long", json_stringn(text, answer_bytes));
		free(text);
	}
	return out;
}

static int try_open(const char *at, char *err, size_t err_n)
{
	struct control_cfg cfg = {.path = at, .handle = handle};
	control = control_open(&cfg, err, err_n);
	return control ? 0 : -1;
}

static void open_it(void)
{
	char err[400] = "";
	if (try_open(path, err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

static int connected(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	strcpy(at.sun_path, path);
	if (connect(fd, (void *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* A turn of the loop takes clients in, or serves them. */
static void serve(void)
{
	control_service(control, 0);
	control_service(control, 0);
}

/* "": nothing yet; "(end)" */
static const char *heard(int fd)
{
	static char text[2048];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return "(end)";
	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void line_for_line(void **state)
{
	(void)state;
	open_it();
	int fd = connected();
	say(fd, "{\"command\": \"stat");
	control_service(control, 0);
	assert_string_equal(heard(fd), "");
	say(fd, "us\"}\nand more");
	control_service(control, 0);
	assert_string_equal(heard(fd), "{\"ok\":true,\"you\":\"status\"}\n");
	assert_string_equal(heard(fd), "(end)");
	close(fd);
	assert_int_equal(control_counts(control).requests, 1);
	assert_int_equal(control_counts(control).clients, 0);
}

static void c5_what_is_no_request(void **state)
{
	(void)state;
	static const char *const bad[] = {"\n",
					  "GET / HTTP/1.1\r\n\r\n",
					  "[]\n",
					  "{}\n",
					  "{\"command\":7}\n",
					  "{\"command\":\"a\",\"command\":\"b\"}\n",
					  "{\"command\":\"\xff\"}\n",
					  "\x16\x03\x01\n"};
	open_it();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int fd = connected();
		say(fd, bad[i]);
		serve();
		assert_non_null(strstr(heard(fd), "\"code\":2"));
		close(fd);
	}
	assert_int_equal(control_counts(control).refused_request, sizeof(bad) / sizeof(*bad));
	assert_int_equal(asked, 0);
}

static void c5_too_long(void **state)
{
	(void)state;
	char *text = malloc(CONTROL_REQUEST_MAX + 2);
	memset(text, ' ', CONTROL_REQUEST_MAX + 1);
	text[CONTROL_REQUEST_MAX + 1] = 0;
	open_it();
	int fd = connected();
	for (size_t at = 0; at <= CONTROL_REQUEST_MAX;) {
		ssize_t n = send(fd, text + at, CONTROL_REQUEST_MAX + 1 - at, MSG_NOSIGNAL);
		at += n > 0 ? (size_t)n : 0;
		control_service(control, 0);
	}
	assert_non_null(strstr(heard(fd), "larger than 256 KiB"));
	assert_int_equal(control_counts(control).clients, 0);
	close(fd);
	free(text);
}

static void c5_half_messages_and_slow_readers_end(void **state)
{
	(void)state;
	open_it();
	int half = connected(), slow = connected();
	answer_bytes = 4 << 20;
	say(half, "{\"command\":");
	say(slow, "{\"command\":\"long\"}\n");
	control_service(control, 1000 * MS);
	control_service(control, 1000 * MS);
	assert_int_equal(control_counts(control).clients, 2);
	control_service(control, (1000 + CONTROL_MS) * (uint64_t)MS - 1);
	assert_int_equal(control_counts(control).clients, 2);
	control_service(control, (1000 + CONTROL_MS) * (uint64_t)MS);
	assert_int_equal(control_counts(control).clients, 0);
	assert_int_equal(control_counts(control).timed_out, 2);
	assert_string_equal(heard(half), "(end)");
	close(half);
	close(slow);
}

static void a_long_answer_arrives_whole(void **state)
{
	(void)state;
	static char chunk[65536];
	size_t got = 0;
	open_it();
	answer_bytes = 3 << 20;
	int fd = connected();
	say(fd, "{\"command\":\"long\"}\n");
	for (ssize_t n; (control_service(control, 0), n = recv(fd, chunk, sizeof(chunk), 0)) != 0;)
		got += n > 0 ? (size_t)n : 0;
	assert_true(got > answer_bytes && chunk[0]);
	close(fd);
}

static void c5_ten_thousand_clients(void **state)
{
	(void)state;
	int first[CONTROL_CLIENTS];
	unsigned turned_away = 0;
	open_it();
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		first[i] = connected();
		control_service(control, 0);
	}
	for (int i = 0; i < 10000; i++) {
		int fd = connected();
		assert_true(fd >= 0);
		control_service(control, 0);
		turned_away += strstr(heard(fd), "too many clients") != NULL;
		close(fd);
	}
	assert_int_equal(turned_away, 10000);
	assert_int_equal(control_counts(control).refused_busy, 10000);
	assert_int_equal(control_counts(control).clients, CONTROL_CLIENTS);
	say(first[0], "{\"command\":\"still\"}\n"); /* those that came first are served */
	control_service(control, 0);
	assert_non_null(strstr(heard(first[0]), "still"));
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		close(first[i]);
	control_service(control, 0);
	assert_int_equal(control_counts(control).clients, 0);
}

/* A turn takes no more than so many, however many wait. */
static void c5_a_turn_is_bounded(void **state)
{
	(void)state;
	int fds[15];
	open_it();
	for (int i = 0; i < 15; i++)
		assert_true((fds[i] = connected()) >= 0);
	control_service(control, 0);
	assert_int_equal(control_counts(control).clients, CONTROL_CLIENTS);
	for (int i = 0; i < 15; i++)
		close(fds[i]);
}

/* Another user reaches it only where the mode was opened; even then it is not served. */
static void c5_other_users(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	struct stat st;
	open_it();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	chmod(dir, 0755);
	chmod(path, 0666);
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		_exit(setuid(65534) < 0 || connected() < 0 || write(pipes[1], "c", 1) != 1 ||
		      pause() == 0);
	}
	char c;
	assert_int_equal(read(pipes[0], &c, 1), 1);
	control_service(control, 0);
	assert_int_equal(control_counts(control).refused_uid, 1);
	assert_int_equal(control_counts(control).clients, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipes[0]);
	close(pipes[1]);
}

static void refused(const char *at, const char *why)
{
	char err[400] = "";
	assert_int_equal(try_open(at, err, sizeof(err)), -1);
	if (!strstr(err, why))
		fail_msg("'%s' does not say '%s'", err, why);
}

static void c6_places(void **state)
{
	(void)state;
	char other[200], name[300];
	FILE *f = fopen(path, "w");
	fputs("precious", f);
	fclose(f);
	refused(path, "exists and is no socket");
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8); /* untouched */
	unlink(path);
	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(symlink(other, path), 0);
	refused(path, "symbolic link");
	assert_int_equal(lstat(other, &st), -1);
	unlink(path);
	memset(name, 'n', sizeof(name));
	memcpy(name, dir, strlen(dir));
	name[strlen(dir)] = '/';
	name[108] = 0;
	refused(name, "longer than 107 bytes");
	refused("x.sock", "absolute path");
	refused("/x.sock", "directory of its own");
	snprintf(other, sizeof(other), "%s/none/such/x.sock", dir);
	refused(other, "No such file");
	refused("/tmp/x.sock", "others may write"); /* sticky or not */
	chmod(dir, 0770);
	refused(path, "others may write");
	chmod(dir, 0700);
	open_it();
}

static void its_directory_is_made(void **state)
{
	(void)state;
	struct stat st;
	char err[400] = "", made[100];
	chmod(dir, 0777); /* a volume that all containers of a pod may write to */
	snprintf(made, sizeof(made), "%s/own", dir);
	snprintf(path, sizeof(path), "%s/x.sock", made);
	assert_int_equal(try_open(path, err, sizeof(err)), 0);
	assert_int_equal(stat(made, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void c6_live_and_dead_sockets(void **state)
{
	(void)state;
	open_it();
	struct control *alive = control;
	refused(path, "another capture answers there");
	control = alive;
	control_close(control); /* removes it */
	struct stat st;
	assert_int_equal(stat(path, &st), -1);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	strcpy(at.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (void *)&at, sizeof(at)), 0);
	close(fd); /* killed: its socket stays, and nobody is behind it */
	open_it();
	fd = connected();
	say(fd, "{\"command\":\"new\"}\n");
	serve();
	assert_non_null(strstr(heard(fd), "new"));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(line_for_line, begin, end),
		cmocka_unit_test_setup_teardown(c5_what_is_no_request, begin, end),
		cmocka_unit_test_setup_teardown(c5_too_long, begin, end),
		cmocka_unit_test_setup_teardown(c5_half_messages_and_slow_readers_end, begin, end),
		cmocka_unit_test_setup_teardown(a_long_answer_arrives_whole, begin, end),
		cmocka_unit_test_setup_teardown(c5_ten_thousand_clients, begin, end),
		cmocka_unit_test_setup_teardown(c5_a_turn_is_bounded, begin, end),
		cmocka_unit_test_setup_teardown(c5_other_users, begin, end),
		cmocka_unit_test_setup_teardown(c6_places, begin, end),
		cmocka_unit_test_setup_teardown(its_directory_is_made, begin, end),
		cmocka_unit_test_setup_teardown(c6_live_and_dead_sockets, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
