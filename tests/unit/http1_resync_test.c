/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 after losses and late joins: fault H12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/protocols.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"

static void h12_late_head_reply(void **state)
{
	(void)state;
	/* the request gap hides a HEAD: its reply's missing body is noticed, not framed */
	char *text =
		run("@ http1\n> GET /1 HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 204 N\\r\\n\\r\\n\n>? 40\n"
		    "< HTTP/1.1 200 OK\\r\\nContent-Length: 50\\r\\n\\r\\n\n"
		    "> GET /3 HTTP/1.1\\r\\n\\r\\n\n"
		    "< HTTP/1.1 200 Three\\r\\nContent-Length: 1\\r\\n\\r\\n3\n");
	has(text, "  a body_framing=assumed\n");
	has(text, "  lost\n< out of step\n");
	has(text, "text=Three ok\n  h Content-Length: 1\n  body 1 3\n  end\n");
	free(text);
	/* the same with a body that comes: kept */
	text = run("@ http1\n> GET /1 HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 204 N\\r\\n\\r\\n\n>? 40\n"
		   "< HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nHTTP?\n");
	has(text, "  a body_framing=assumed\n");
	has(text, "  body 5 HTTP?\n  end\n");
	free(text);
	/* chunked in place of a HEAD's reply */
	text = run("@ http1\n>? 40\n< HTTP/1.1 200 OK\\r\\n" CHUNKED
		   "HTTP/1.1 200 OK\\r\\n\\r\\n\n");
	has(text, "< out of step\n");
	free(text);
}

static void h12_reply_lost(void **state)
{
	(void)state;
	/* the reply to HEAD is lost; the next reply is not read as its */
	char *text = run(
		"@ http1\n> HEAD /1 HTTP/1.1\\r\\n\\r\\n\n<? 50\n> GET /2 HTTP/1.1\\r\\n\\r\\n\n"
		"< HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nsecond\n");
	has(text, "  h Content-Length: 6\n  body 6 second\n  end\n");
	free(text);
	/* joined late: a reply whose request was not seen could be to HEAD; it is skipped, with its body */
	text = run(
		"@late http1\n> xx\\r\\n\n< HTTP/1.1 299 Unseen\\r\\nContent-Length: 6\\r\\n\\r\\n\n"
		"> GET /2 HTTP/1.1\\r\\n\\r\\n\n"
		"< HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nsecond\n");
	has_not(text, "299");
	has(text, "  body 6 second\n  end\n");
	free(text);
}

/* An early reply makes a turn within the request's body, whose end is a token. */
static void h12_body_end_before_a_request(void **state)
{
	(void)state;
	char *text = run("@late http1\n> xx\\r\\n\n< HTTP/1.1 413 Big\\r\\n\\r\\n\n"
			 "> the.end.GET /2 HTTP/1.1\\r\\n\\r\\n\n"
			 "< HTTP/1.1 200 Two\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
			 "> MKCOL /3 HTTP/1.1\\r\\n\\r\\n\n");
	has_not(text, "the.end");
	has(text, "method=MKCOL path=/3");
	free(text);
}

static void h12_body_behind_continue(void **state)
{
	(void)state;
	/* a body that the 100 asked for is no request, though it looks like one and begins a turn */
	char *text = run("@late http1\n> xx\n< HTTP/1.1 100 Continue\\r\\n\\r\\n\n"
			 "> POST /inner HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n\n"
			 "< HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
			 "> GET /true HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n\n");
	has_not(text, "/inner");
	has(text, "path=/true");
	free(text);
}

/*
 * Random keep-alive conversations, whose bodies are made of HTTP messages, cut anywhere, with 1 % of the segments
 * lost and half of the connections joined late: what is recorded was truly sent, as a whole message, and nothing
 * out of a body ever is.
 */
static void conversation(struct drive_script *s, uint64_t *seed, unsigned exchanges)
{
	static const char *const inner[] = {
		"GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n",
		"HTTP/1.1 299 Inner\r\nContent-Length: 0\r\n\r\n",
		"POST /inner HTTP/1.1\r\nHost: inner\r\nContent-Length: 3\r\n\r\nabc",
		"\r\n",
		"0\r\n\r\n",
	};
	uint8_t message[4096];

	drive_script_init(s);
	s->first = &framer_http1;
	s->late = drive_random(seed) % 2;
	for (unsigned i = 0; i < exchanges * 2; i++) {
		enum dir dir = i & 1;
		char body[2048] = "";
		size_t pieces = drive_random(seed) % 12;
		for (size_t k = 0; k < pieces; k++)
			strcat(body, inner[drive_random(seed) % N(inner)]);
		int n = snprintf(
			(char *)message, sizeof(message),
			dir == DIR_REQUEST
				? "POST /outer HTTP/1.1\r\nHost: o\r\nContent-Length: %zu\r\n\r\n%s"
				: "HTTP/1.1 200 Outer\r\nContent-Length: %zu\r\n\r\n%s",
			strlen(body), body);
		for (size_t off = 0; off < (size_t)n;) {
			/* often cut right where an inner message begins */
			size_t len = 1 + drive_random(seed) % ((size_t)n - off);
			const char *at =
				strstr((char *)message + off + 1,
				       drive_random(seed) % 2 ? "GET /inner" : "HTTP/1.1 299");
			if (at && drive_random(seed) % 2)
				len = (size_t)(at - (char *)message) - off;
			if (drive_random(seed) % 100 == 0)
				drive_add_gap(s, dir, len);
			else
				drive_add(s, dir, bytes_of(message + off, len));
			off += len;
			if (s->n + 8 > DRIVE_STEPS_MAX)
				return;
		}
	}
}

static void h12_false_resync(void **state)
{
	uint64_t seed = 12;
	size_t heads = 0, resyncs = 0, wrong = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		struct drive_script s;
		conversation(&s, &seed, 40);
		struct drive_result r = drive_run(&s, NULL, 0);
		const char *text = (char *)r.text.p;
		heads += r.heads;
		resyncs += r.resyncs;
		wrong += count(text, "path=/inner") + count(text, "status=299") +
			 count(text, "error");
		drive_result_fini(&r);
		drive_script_fini(&s);
	}
	print_message("h12: %zu heads, %zu resyncs, %zu false\n", heads, resyncs, wrong);
	assert_true(heads > 10000 && resyncs > 2000); /* not vacuous */
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(h12_late_head_reply),
		cmocka_unit_test(h12_reply_lost),
		cmocka_unit_test(h12_body_end_before_a_request),
		cmocka_unit_test(h12_body_behind_continue),
		cmocka_unit_test(h12_false_resync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
