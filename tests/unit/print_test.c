/* SPDX-License-Identifier: Apache-2.0 */
/* The print sink: its lines, what it does to hostile text (S6), slow and closed readers; and the
 * null sink. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink/sink.h"
#include "sink/text.h"

struct reports {
	unsigned delivered, lost;
	char exit[64];
};

static int saved_stdout;
static int reader; /* of the pipe that is stdout now */

static void on_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      const char *exit)
{
	struct reports *r = ctx;
	(void)kind, (void)number, (void)last_part;
	r->delivered += !exit;
	r->lost += exit != NULL;
	if (exit)
		snprintf(r->exit, sizeof(r->exit), "%s", exit);
}

static int take_stdout(void **state)
{
	int fds[2];
	(void)state;
	setenv("TZ", "UTC", 1);
	fflush(stdout);
	saved_stdout = dup(STDOUT_FILENO);
	if (pipe(fds) != 0)
		return -1;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	dup2(fds[1], STDOUT_FILENO);
	close(fds[1]);
	reader = fds[0];
	return 0;
}

static int give_stdout(void **state)
{
	(void)state;
	dup2(saved_stdout, STDOUT_FILENO);
	close(saved_stdout);
	if (reader >= 0)
		close(reader);
	return 0;
}

static struct sink *open_sink(const char *uri, unsigned verbose, bool bodies,
			      struct reports *reports, const struct sink_ops **ops)
{
	char err[256] = "";
	struct sink_cfg cfg = {.instance = "abc",
			       .verbose = verbose,
			       .bodies = bodies,
			       .report = on_report,
			       .report_ctx = reports};
	struct sink *s = sink_open(uri, &cfg, ops, err, sizeof(err));
	assert_non_null(s);
	return s;
}

static struct record *encode(const struct record_call *c)
{
	struct record *r = NULL;
	assert_int_equal(record_encode(c, &r), 0);
	return r;
}

static struct record_call sample(void)
{
	static struct header header = {BYTES("x-a"), BYTES("b\x1b[2J"), PROVENANCE_OBSERVED};
	return (struct record_call) {.connection_id = BYTES("abc-1"),
				     .sequence = 1,
				     .record_number = 1,
				     .last_part = true,
				     .protocol = "http1",
				     .service = BYTES("shop:80"),
				     .method = BYTES("GET"),
				     .path = BYTES("/a?b=1"),
				     .status = 200,
				     .outcome = OUTCOME_OK,
				     .client = BYTES("127.0.0.1:4000"),
				     .server = BYTES("127.0.0.1:80"),
				     .request = {.present = true,
						 .start_unix_ns = UINT64_C(1790000000123456789),
						 .headers = &header,
						 .n_headers = 1,
						 .body = BYTES("hi\n\xff"),
						 .body_bytes = 4},
				     .response = {.present = true,
						  .end_unix_ns = UINT64_C(1790000000125956789),
						  .body_bytes = 17}};
}

static const char *read_out(void)
{
	static char out[1 << 16];
	ssize_t n = read(reader, out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = 0;
	return out;
}

static void print(const struct record_call *c, unsigned verbose, bool bodies, const char *want)
{
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	struct sink *s = open_sink("print:", verbose, bodies, &reports, &ops);
	struct record *r = encode(c);
	assert_int_equal(ops->submit(s, &r, &exit), 0);
	assert_int_equal(reports.delivered, 0); /* told in service(), not within submit() */
	struct pollfd f = {.fd = ops->fd(s), .events = POLLIN};
	assert_int_equal(poll(&f, 1, 1000), 1);
	ops->service(s);
	assert_int_equal(reports.delivered, 1);
	assert_int_equal(poll(&f, 1, 0), 0); /* no spinning */
	ops->close(s);
	assert_string_equal(read_out(), want);
}

static void one_line_a_call(void **state)
{
	(void)state;
	struct record_call c = sample();
	print(&c, 0, false,
	      "14:13:20.123 127.0.0.1:4000 -> 127.0.0.1:80 http1 GET shop:80 /a?b=1 200 2.5ms 4B/17B\n");
	c.flags = FLAG_TRUNCATED | FLAG_GAP;
	c.outcome = OUTCOME_ABORTED;
	print(&c, 0, false,
	      "14:13:20.123 127.0.0.1:4000 -> 127.0.0.1:80 http1 GET shop:80 /a?b=1 200 ABORTED 2.5ms 4B/17B "
	      "[truncated,gap]\n");
}

static void rpc_has_service_and_method(void **state)
{
	(void)state;
	struct record_call c = sample();
	c.protocol = "thrift";
	c.service = BYTES("Cart");
	c.method = BYTES("add");
	c.path = BYTES("");
	c.status = 0;
	c.outcome = OUTCOME_NO_RESPONSE;
	c.response.present = false;
	print(&c, 0, false,
	      "14:13:20.123 127.0.0.1:4000 -> 127.0.0.1:80 thrift Cart add - NO_RESPONSE - 4B/0B\n");
}

static void verbose_adds_headers_and_bodies(void **state)
{
	(void)state;
	struct record_call c = sample();
	print(&c, 1, true,
	      "14:13:20.123 127.0.0.1:4000 -> 127.0.0.1:80 http1 GET shop:80 /a?b=1 200 2.5ms 4B/17B\n"
	      "    > x-a: b\\x1b[2J  (observed)\n"
	      "    >| hi\\x0a\\xff\n");
}

static void parts_print_once_at_the_end(void **state)
{
	(void)state;
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	struct sink *s = open_sink("print:", 0, false, &reports, &ops);
	struct record_call first = sample(), last = {.connection_id = BYTES("abc-1"),
						     .sequence = 1,
						     .part = 1,
						     .last_part = true,
						     .record_number = 2,
						     .status = 503,
						     .outcome = OUTCOME_SERVER_ERROR};
	first.last_part = false;
	last.response = (struct record_message) {
		.present = true, .end_unix_ns = UINT64_C(1790000001123456789), .body_bytes = 99};
	struct record *r = encode(&first);
	assert_int_equal(ops->submit(s, &r, &exit), 0);
	ops->service(s);
	assert_string_equal(read_out(), "");
	r = encode(&last);
	assert_int_equal(ops->submit(s, &r, &exit), 0);
	assert_int_equal(ops->drain(s, 1000), 0);
	assert_int_equal(reports.delivered, 2);
	ops->close(s);
	assert_string_equal(
		read_out(),
		"14:13:20.123 127.0.0.1:4000 -> 127.0.0.1:80 http1 GET shop:80 /a?b=1 503 "
		"SERVER_ERROR 1.00s 4B/99B\n");
}

static void s6_terminal_escapes(void **state)
{
	(void)state;
	static const struct {
		struct bytes in;
		const char *want;
	} golden[] = {
		{BYTES("plain \xc3\xa9 \xe2\x82\xac"), "plain \xc3\xa9 \xe2\x82\xac"},
		{BYTES("\x1b[31m"), "\\x1b[31m"}, /* CSI */
		{BYTES("\x1b]52;c;aGk=\x07"), "\\x1b]52;c;aGk=\\x07"}, /* OSC 52 */
		{BYTES("\x1b]8;;http://x\x1b\\"), "\\x1b]8;;http://x\\x1b\\"}, /* OSC 8 */
		{BYTES("\x1bP1$r\x9c"), "\\x1bP1$r\\x9c"}, /* DCS */
		{BYTES("\x9b"
		       "2J"),
		 "\\x9b"
		 "2J"}, /* C1, raw */
		{BYTES("\xc2\x9b"
		       "2J"),
		 "\\xc2\\x9b"
		 "2J"}, /* C1 in UTF-8 */
		{BYTES("a\xe2\x80\xae"
		       "b"),
		 "a\\xe2\\x80\\xae"
		 "b"}, /* right-to-left override */
		{BYTES("a\xe2\x81\xa6"
		       "b"),
		 "a\\xe2\\x81\\xa6"
		 "b"}, /* isolate */
		{BYTES("\xe2\x80\xa8\xe2\x80\x8b\xef\xbb\xbf"),
		 "\\xe2\\x80\\xa8\\xe2\\x80\\x8b\\xef\\xbb\\xbf"},
		{BYTES("\r\n\t\0\x7f"), "\\x0d\\x0a\\x09\\x00\\x7f"},
		{BYTES("\xed\xa0\x80\xff\xc3"), "\\xed\\xa0\\x80\\xff\\xc3"}, /* surrogate, cut */
	};
	for (size_t i = 0; i < sizeof(golden) / sizeof(*golden); i++) {
		char buf[200];
		assert_string_equal(text_escape_buf(golden[i].in, buf, sizeof(buf)),
				    golden[i].want);
	}
	struct record_call c =
		sample(); /* in a whole line no byte of a control character comes through */
	c.path = BYTES("/\x1b]0;x\x07\xc2\x9b\xe2\x80\xae\n");
	c.service = c.method = c.client = c.server = c.path;
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	struct sink *s = open_sink("print:", 1, true, &reports, &ops);
	struct record *r = encode(&c);
	assert_int_equal(ops->submit(s, &r, &exit), 0);
	ops->close(s);
	unsigned lines = 0;
	const char *out = read_out();
	for (; *out; out++) {
		assert_true(*out == '\n' || (*out >= ' ' && *out <= '~'));
		lines += *out == '\n';
	}
	assert_int_equal(lines, 3);
}

static void a_slow_reader_does_not_block(void **state)
{
	(void)state;
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	struct sink *s = open_sink("print:", 0, false, &reports, &ops);
	struct record_call c = sample();
	struct record *r = NULL;
	unsigned taken = 0;
	int e = 0;
	while (e == 0 && taken < 100000) {
		r = r ? r : encode(&c);
		e = ops->submit(s, &r, &exit);
		taken += e == 0;
	}
	assert_int_equal(e, -EAGAIN);
	record_free(r);
	uint64_t got = 0;
	while (reports.delivered < taken) {
		struct pollfd f = {.fd = ops->fd(s), .events = POLLIN};
		got += strlen(read_out());
		assert_int_equal(poll(&f, 1, 5000), 1);
		ops->service(s);
	}
	ops->close(s);
	for (size_t n; (n = strlen(read_out())) > 0;)
		got += n;
	assert_int_equal(got % taken, 0); /* every line, whole */
}

static void a_closed_reader_ends_quietly(void **state)
{
	(void)state;
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	struct sink *s = open_sink("print:", 0, false, &reports, &ops);
	struct record_call c = sample();
	close(reader);
	reader = -1;
	struct record *r = encode(&c);
	assert_int_equal(ops->submit(s, &r, &exit), 0);
	ops->service(s);
	assert_int_equal(reports.lost, 1);
	assert_string_equal(reports.exit, "stdout_closed");
	r = encode(&c);
	assert_int_equal(ops->submit(s, &r, &exit), -EPIPE);
	assert_string_equal(exit, "stdout_closed");
	record_free(r);
	ops->close(s);
}

static void null_counts(void **state)
{
	(void)state;
	struct reports reports = {.delivered = 0};
	const struct sink_ops *ops;
	const char *exit = NULL;
	uint64_t held, bytes;
	struct sink *s = open_sink("null:", 0, false, &reports, &ops);
	struct record_call c = sample();
	for (int i = 0; i < 5; i++) {
		struct record *r = encode(&c);
		assert_int_equal(ops->submit(s, &r, &exit), 0);
	}
	assert_int_equal(reports.delivered, 5); /* told at once */
	assert_false(ops->held(s, &held, &bytes));
	assert_int_equal(ops->fd(s), -1);
	assert_non_null(strstr(ops->status(s), "5 calls"));
	ops->close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, take_stdout, give_stdout)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_line_a_call),
		TEST(rpc_has_service_and_method),
		TEST(verbose_adds_headers_and_bodies),
		TEST(parts_print_once_at_the_end),
		TEST(s6_terminal_escapes),
		TEST(a_slow_reader_does_not_block),
		TEST(a_closed_reader_ends_quietly),
		cmocka_unit_test(null_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
