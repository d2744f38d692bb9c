/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 by fault, group H. Good exchanges with their text: tests/corpus/http1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/http1_pending.h"
#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"

struct fault {
	const char *what; /* script bytes of one message, escaped */
	const char *expect; /* flag of the error; NULL: accepted */
};

#define SMUGGLING "smuggling_suspect"
#define PROTOCOL  "protocol_error"

/* The text has the head (with the flag when the start line was right) and the error line, or none. */
static void judge(const struct fault *f, const char *text, char side, const char *start)
{
	char line[128];

	if (!f->expect) {
		has_not(text, "error");
		has(text, "\n  end\n");
		return;
	}
	snprintf(line, sizeof(line), "%c error %s\n", side, f->expect);
	if (!strstr(text, line))
		fail_msg("%s: no \"%s\" in\n%s", f->what, line, text);
	if (start) {
		has(text, start);
		snprintf(line, sizeof(line), " %s\n  h Host: h", f->expect);
		if (!strstr(text, line))
			fail_msg("%s: head without its flag or fields:\n%s", f->what, text);
	}
	has_not(text, "\n  end\n");
}

static void requests(const struct fault *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *text = run("@ http1\n> POST /t HTTP/1.1\\r\\nHost: h\\r\\n%s\n", f[i].what);
		judge(&f[i], text, '>', "> http1 method=POST path=/t");
		free(text);
	}
}

static void responses(const struct fault *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *text = run("@ http1\n> GET /t HTTP/1.1\\r\\n\\r\\n\n"
				 "< HTTP/1.1 200 OK\\r\\nHost: h\\r\\n%s\n<! fin\n",
				 f[i].what);
		char *reply = strstr(text, "\n<");
		assert_non_null(reply);
		judge(&f[i], reply, '<', "< http1 status=200 text=OK");
		if (f[i].expect)
			has_not(reply, " ok");
		free(text);
	}
}

static void h1_length_and_chunked(void **state)
{
	static const struct fault both[] = {
		{"Content-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n",
		 SMUGGLING},
		{"Transfer-Encoding: chunked\\r\\ncontent-length: 4\\r\\n\\r\\n0\\r\\n\\r\\n",
		 SMUGGLING},
		{"Transfer-Encoding: chunked\\r\\nContent-Length: 0\\r\\n\\r\\n0\\r\\n\\r\\n",
		 SMUGGLING},
		{"Transfer-Encoding: gzip\\r\\nContent-Length: 3\\r\\n\\r\\nabc", SMUGGLING},
	};

	(void)state;
	requests(both, N(both));
	responses(both, N(both));
}

static void h2_content_length(void **state)
{
	static const struct fault both[] = {
		{"Content-Length: 2\\r\\nContent-Length: 2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2, 2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2,\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: +2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: -2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 0x2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 02\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2 2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2.0\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length:\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: two\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 18446744073709551616\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 18446744073709551618\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 9223372036854775808\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length : 2\\r\\n\\r\\nab", SMUGGLING},
		{"Content-Length: 2\\r\\n\\r\\nab", NULL},
		{"Content-Length: \\t 2 \\r\\n\\r\\nab", NULL},
		{"Content-Length: 0\\r\\n\\r\\n", NULL},
	};

	(void)state;
	requests(both, N(both));
	responses(both, N(both));
	char *text = run(
		"@ http1\n> PUT / HTTP/1.1\\r\\nContent-Length: 9223372036854775807\\r\\n\\r\\nab\n");
	has(text, "  body 2 ab\n  open\n");
	free(text);
}

static void h3_transfer_encoding(void **state)
{
	static const struct fault both[] = {
		{"Transfer-Encoding: chunked, gzip\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: chunked\\r\\nTransfer-Encoding: gzip\\r\\n\\r\\n0\\r\\n\\r\\n",
		 SMUGGLING},
		{"Transfer-Encoding: chunked, chunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: xchunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: \\x0bchunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: identity, chunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: chunked;q=1\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: \"chunked\"\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding:\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: chunked,\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding : chunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding:\\r\\n chunked\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
		{"Transfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n", NULL},
		{"Transfer-Encoding: gzip , CHUNKED\\r\\n\\r\\n0\\r\\n\\r\\n", NULL},
	};
	static const struct fault request[] = {
		{"Transfer-Encoding: gzip\\r\\n\\r\\n0\\r\\n\\r\\n", SMUGGLING},
	};
	static const struct fault response[] = {
		{"Transfer-Encoding: gzip\\r\\n\\r\\n0\\r\\n\\r\\n", NULL},
	};

	(void)state;
	requests(both, N(both));
	responses(both, N(both));
	requests(request, N(request));
	responses(response, N(response));
	char *text = run(
		"@ http1\n> POST / HTTP/1.0\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n\n"
		"< HTTP/1.0 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n\n");
	has(text, "> error " SMUGGLING);
	has(text, "< error " SMUGGLING);
	free(text);
}

static void h3_other_codings_show(void **state)
{
	(void)state;
	char *text = run(
		"@ http1\n> POST / HTTP/1.1\\r\\nTransfer-Encoding: gzip, chunked\\r\\n\\r\\n0\\r\\n\\r\\n\n"
		"< HTTP/1.1 200 OK\\r\\nTransfer-Encoding: deflate\\r\\n\\r\\nx\n<! fin\n");
	has(text, "> http1 method=POST path=/ compressed\n");
	has(text, "< http1 status=200 text=OK ok compressed\n");
	free(text);
}

static void h4_chunks(void **state)
{
	static const char *const wrong[] = {
		"FFFFFFFFFFFFFFFF1\\r\\n",
		"8000000000000000\\r\\n",
		"-1\\r\\n",
		"0x1\\r\\na\\r\\n",
		"\\r\\n",
		" 1\\r\\na\\r\\n",
		"1 \\r\\na\\r\\n",
		"1\\na\\r\\n",
		"1\\r\\nab\\r\\n",
		"1\\r\\na\\n1\\r\\n",
		"g\\r\\n",
		"1;\\r\\na\\r\\n",
		"1;=x\\r\\na\\r\\n",
		"1;a=\\r\\na\\r\\n",
		"1;a=\"b\\r\\na\\r\\n",
		"1;a\\x00\\r\\na\\r\\n",
		"1;a\\rb\\r\\na\\r\\n",
		"1;a\\nb\\r\\n",
		"1x\\na\\r\\n",
		"1\\r\\naXX0\\r\\n\\r\\n",
		"1\\r\\na\\rX0\\r\\n\\r\\n",
		"1\\r\\na\\r\\n0\\r\\nGET / HTTP/1.1\\r\\n\\r\\n",
		"0\\r\\nX : y\\r\\n\\r\\n",
		"0\\r\\nX: y\\n\\r\\n",
	};

	(void)state;
	for (size_t i = 0; i < N(wrong); i++) {
		const struct fault f = {wrong[i], PROTOCOL};
		char *text = run("@ http1\n> POST / HTTP/1.1\\r\\n" CHUNKED "%s\n", wrong[i]);
		judge(&f, text, '>', NULL);
		has(text, "  lost\n");
		free(text);
	}
	char *text = run("@ http1\n> POST / HTTP/1.1\\r\\n" CHUNKED "1;a=\n>* 4100 b\n");
	has(text, "> error " PROTOCOL);
	free(text);
	text = run("@ http1\n> POST / HTTP/1.1\\r\\n" CHUNKED
		   "1;a=\n>* 4080 b\n> \\r\\nx\\r\\n0\\r\\n\\r\\n\n");
	has(text, "  body 1 x\n  end\n");
	free(text);
	text = run("@ http1\n> POST / HTTP/1.1\\r\\n" CHUNKED "1\\r\\nx\\r\\n0\\r\\n\n>! fin\n");
	has(text, "  body 1 x\n  abort\n"); /* the last CRLF is missing */
	free(text);
}

static void h5_characters(void **state)
{
	static const struct fault both[] = {
		{"X: a\\n\\r\\n", PROTOCOL},
		{"X: a\\rb\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\0b\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\x7fb\\r\\n\\r\\n", PROTOCOL},
		{"X: aaaaaaaa\\x01aaaaaaaa\\r\\n\\r\\n", PROTOCOL},
		{"X : a\\r\\n\\r\\n", PROTOCOL},
		{"X\\r\\n\\r\\n", PROTOCOL},
		{": a\\r\\n\\r\\n", PROTOCOL},
		{"X\\xe9: a\\r\\n\\r\\n", PROTOCOL},
		{"X(: a\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\r\\n b\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\r\\n\\tb\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\r\\r\\n\\r\\n", PROTOCOL},
		{"X: a\\r\\n\\n", PROTOCOL},
		{"X: a\\tb \\xe9\\xff\\r\\n\\r\\n", NULL},
		{"X:\\r\\n\\r\\n", NULL},
		{"!#$%&'*+-.^_`|~09azAZ:x\\r\\n\\r\\n", NULL},
	};
	static const char *const lines[] = {
		"GET /\\r\\n",
		"GET  / HTTP/1.1\\r\\n",
		"GET / HTTP/1.1 \\r\\n",
		"GET / HTTP/1.2\\r\\n",
		"GET / HTTP/2.0\\r\\n",
		"GET / http/1.1\\r\\n",
		"GET /a b HTTP/1.1\\r\\n",
		"GET /\\x00 HTTP/1.1\\r\\n",
		"G(T / HTTP/1.1\\r\\n",
		" GET / HTTP/1.1\\r\\n",
		"GET x HTTP/1.1\\r\\n",
		"GET * HTTP/1.1\\r\\n",
		"CONNECT / HTTP/1.1\\r\\n",
		"CONNECT host HTTP/1.1\\r\\n",
		"CONNECT :1 HTTP/1.1\\r\\n",
		"GET http:// HTTP/1.1\\r\\n",
		"GET / HTTP/1.1\\n",
		"\\nGET / HTTP/1.1\\r\\n",
		"GET /\\rX HTTP/1.1\\r\\n",
	};
	static const char *const status[] = {
		"HTTP/1.1 20 OK\\r\\n",        "HTTP/1.1 2000 OK\\r\\n",
		"HTTP/1.1  200 OK\\r\\n",      "HTTP/1.1 200OK\\r\\n",
		"HTTP/1.1 099 OK\\r\\n",       "HTTP/2 200 OK\\r\\n",
		"HTTP/1.2 200 OK\\r\\n",       "http/1.1 200 OK\\r\\n",
		"HTTP/1.1 2x0 OK\\r\\n",       "HTTP/1.1 200 O\\x01K\\r\\n",
		"\\r\\nHTTP/1.1 200 OK\\r\\n", "ICY 200 OK\\r\\n",
	};

	(void)state;
	requests(both, N(both));
	/* a response without length would end at close: give it one */
	for (size_t i = 0; i < N(both); i++) {
		char *what;
		assert_true(asprintf(&what, "Content-Length: 0\\r\\n%s", both[i].what) > 0);
		responses(&(struct fault) {what, both[i].expect}, 1);
		free(what);
	}
	for (size_t i = 0; i < N(lines); i++) {
		const struct fault f = {lines[i], PROTOCOL};
		char *text = run("@ http1\n> %sHost: h\\r\\n\\r\\n\n", lines[i]);
		judge(&f, text, '>', NULL);
		has_not(text, "> http1");
		free(text);
	}
	for (size_t i = 0; i < N(status); i++) {
		const struct fault f = {status[i], PROTOCOL};
		char *text = run("@ http1\n< %sContent-Length: 0\\r\\n\\r\\n\n", status[i]);
		judge(&f, text, '<', NULL);
		has_not(text, "< http1");
		free(text);
	}
}

static void h6_unasked_switch(void **state)
{
	(void)state;
	char *text = run(
		"@ http1\n> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 101 Switching\\r\\n\\r\\n\n");
	has(text, "< http1 status=101 text=Switching " PROTOCOL "\n");
	has(text, "< error " PROTOCOL);
	free(text);
	text = run(
		"@ http1\n> GET / HTTP/1.0\\r\\nUpgrade: x\\r\\n\\r\\nGET /2 HTTP/1.0\\r\\n\\r\\n\n");
	has(text, "path=/2"); /* Upgrade means nothing in HTTP/1.0: no gate */
	free(text);
	/* HEAD with Upgrade, refused: still no body */
	text = run(
		"@ http1\n> HEAD / HTTP/1.1\\r\\nUpgrade: x\\r\\n\\r\\nGET /2 HTTP/1.1\\r\\n\\r\\n\n"
		"< HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nHTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n\n");
	has(text, "path=/2");
	has(text, "status=404");
	free(text);
	/* the gate holds until the answer, through 1xx */
	text = run(
		"@ http1\n> GET / HTTP/1.1\\r\\nUpgrade: x\\r\\n\\r\\nGET /2 HTTP/1.1\\r\\n\\r\\n\n"
		"< HTTP/1.1 100 Continue\\r\\n\\r\\n\n");
	has_not(text, "path=/2");
	free(text);
	/* accepted while the request's body was still under way */
	text = run(
		"@ http1\n> POST / HTTP/1.1\\r\\nUpgrade: x\\r\\nContent-Length: 4\\r\\n\\r\\nab\n"
		"< HTTP/1.1 101 S\\r\\n\\r\\n\n> cdTUNNEL\n");
	has(text, "  body 4 abcd\n  end\n> switch opaque\n> opaque stream\n  body 6 counted");
	free(text);
}

static void h7_until_close(void **state)
{
	static const char *const ends[][2] = {
		{"fin", "body 2 ab\n  end\n"},
		{"rst", "body 2 ab\n  abort\n"},
		{"evicted", "body 2 ab\n  abort\n"},
		{"stop", "body 2 ab\n  abort\n"},
	};

	(void)state;
	for (size_t i = 0; i < N(ends); i++) {
		char *text = run(
			"@ http1\n> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n\\r\\nab\n<! %s\n",
			ends[i][0]);
		has(text, ends[i][1]);
		free(text);
	}
	char *text = run(
		"@ http1\n> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n\\r\\n\n<! fin\n");
	has(text, "< http1 status=200 text=OK ok\n  end\n");
	free(text);
	text = run("@ http1\n> GET / HTTP/1.1\\r\\nHo\n>! fin\n");
	has(text, "> unread 18\n");
	has_not(text, "abort");
	free(text);
}

/* Requests first, then replies: every 7th a HEAD, whose reply has Content-Length and no body. */
static void pipeline(struct drive_script *s, unsigned n)
{
	struct buf q = {0}, r = {0};
	char line[256];

	drive_script_init(s);
	for (unsigned i = 0; i < n; i++) {
		int k = snprintf(line, sizeof(line), "%s /%u HTTP/1.1\r\nHost: h\r\n\r\n",
				 i % 7 ? "GET" : "HEAD", i);
		assert_int_equal(buf_append(&q, bytes_of(line, (size_t)k)), 0);
		k = snprintf(line, sizeof(line), "HTTP/1.1 200 R%u\r\nContent-Length: 5\r\n\r\n%s",
			     i, i % 7 ? "HTTP/" : "");
		assert_int_equal(buf_append(&r, bytes_of(line, (size_t)k)), 0);
	}
	drive_add(s, DIR_REQUEST, buf_bytes(&q));
	drive_add(s, DIR_RESPONSE, buf_bytes(&r));
	buf_fini(&q);
	buf_fini(&r);
}

static void h8_pipelining(void **state)
{
	struct drive_script s;
	char line[128];

	(void)state;
	pipeline(&s, 1000);
	s.first = &framer_http1;
	struct drive_result r = drive_run(&s, NULL, 0);
	const char *at = (char *)r.text.p;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), " path=/%u service=h\n", i);
		assert_non_null(at = strstr(at, line));
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "text=R%u ok\n  h Content-Length: 5\n  %s", i,
			 i % 7 ? "body 5 HTTP/\n  end" : "end");
		assert_non_null(at = strstr(at, line));
	}
	has_not((char *)r.text.p, "error");
	drive_result_fini(&r);
	drive_script_fini(&s);
}

/* Beyond the cap requests are counted only, order holds, and the replies say that their kind was assumed. */
static void h8_pending_cap(void **state)
{
	struct http1_pending q;

	(void)state;
	http1_pending_init(&q);
	for (unsigned i = 0; i < HTTP1_PENDING_MAX; i++)
		assert_true(http1_pending_push(&q, i % 3 ? 0 : HTTP1_KIND_HEAD));
	for (unsigned i = 0; i < 10; i++)
		assert_false(http1_pending_push(&q, HTTP1_KIND_HEAD));
	assert_int_equal(http1_pending_pop(&q), HTTP1_KIND_HEAD);
	assert_false(http1_pending_push(&q, 0)); /* behind those only counted */
	for (unsigned i = 1; i < HTTP1_PENDING_MAX; i++)
		assert_int_equal(http1_pending_pop(&q), i % 3 ? 0 : HTTP1_KIND_HEAD);
	assert_int_equal(q.uncounted, 11);
	for (unsigned i = 0; i < 11; i++)
		assert_int_equal(http1_pending_pop(&q), HTTP1_KIND_UNKNOWN);
	assert_int_equal(q.uncounted, 0);
	assert_null(q.heap);
	assert_true(http1_pending_push(&q, HTTP1_KIND_CONNECT));
	assert_int_equal(http1_pending_pop(&q), HTTP1_KIND_CONNECT);
	http1_pending_fini(&q);

	char *text = run("@ http1\n>* 65537 GET / HTTP/1.1\\r\\n\\r\\n\n"
			 "<* 65536 HTTP/1.1 204 N\\r\\n\\r\\n\n"
			 "< HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\nx\n");
	assert_int_equal(count(text, "status=204"), 65536);
	has(text, "status=200 text=OK ok\n  a body_framing=assumed\n");
	free(text);
}

/* Against a plain list, with every fill of the ring */
static void h8_pending_order(void **state)
{
	static uint8_t model[200000];
	size_t head = 0, tail = 0;
	struct http1_pending q;
	uint64_t seed = 8;

	(void)state;
	http1_pending_init(&q);
	while (tail < sizeof(model)) {
		for (unsigned n = drive_random(&seed) % 100; n && tail < sizeof(model); n--) {
			model[tail] = (uint8_t)(drive_random(&seed) % 8);
			assert_true(http1_pending_push(&q, model[tail++]));
		}
		for (unsigned n = drive_random(&seed) % 99; n && head < tail; n--)
			assert_int_equal(http1_pending_pop(&q), model[head++]);
	}
	http1_pending_fini(&q);
}

static void h9_limits(void **state)
{
	(void)state;
	char *text = run("@ http1\n> GET /t HTTP/1.1\\r\\n\n>* 256 A: b\\r\\n\n> \\r\\n\n");
	assert_int_equal(count(text, "  h A: b\n"), 256);
	has(text, "  end\n");
	free(text);
	text = run("@ http1\n> GET /t HTTP/1.1\\r\\n\n>* 100000 A: b\\r\\n\n");
	has(text, "> http1 method=GET path=/t truncated " PROTOCOL "\n");
	assert_int_equal(count(text, "  h A: b\n"), 256);
	has(text, "> error truncated " PROTOCOL "\n");
	free(text);
	text = run("@ http1\n> GET /t HTTP/1.1\\r\\nA: b\\r\\nX: \n>* 1048576 y\n> \\r\\n\\r\\n\n");
	has(text, "> http1 method=GET path=/t truncated " PROTOCOL "\n  h A: b\n");
	has(text, "> error truncated " PROTOCOL "\n");
	free(text);
	text = run("@ http1\n> GET /\n>* 70000 y\n");
	has_not(text, "> http1");
	has(text, "> error truncated " PROTOCOL "\n");
	free(text);
	text = run("@ http1\n@limits 25 9\n> GET / HTTP/1.1\\r\\nA: bcd\\r\\n\\r\\n\n");
	has(text, "error truncated");
	free(text);
	text = run("@ http1\n@limits 26 9\n> GET / HTTP/1.1\\r\\nA: bcdefgh\n");
	has(text, "error truncated"); /* not whole, and full */
	free(text);
	text = run("@ http1\n@limits 26 9\n> GET / HTTP/1.1\\r\\nA: bcd\\r\\n\\r\\n\n");
	has_not(text, "error");
	free(text);
	text = run("@ http1\n> GET /t HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\n" CHUNKED
		   "0\\r\\n\n"
		   "<* 257 A: b\\r\\n\n< \\r\\n\n");
	has(text, "< error truncated " PROTOCOL "\n");
	free(text);
}

/* 1 GiB by Content-Length, in runs of 64 KiB: the framer keeps nothing of it. */
static void h9_large_body(void **state)
{
	static const char request[] = "POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n";
	static uint8_t run_of[65536];
	const struct framer_limits limits = {65536, 256, 1024, 64 << 20};
	void *c = calloc(1, framer_http1.state_size);
	uint64_t total = 0;
	struct piece p = {.dir = DIR_REQUEST};
	size_t need;

	(void)state;
	assert_int_equal(framer_http1.init(c, &limits, false), 0);
	assert_int_equal(framer_http1.next(c, DIR_REQUEST, bytes_str(request), &p, &need),
			 strlen(request));
	while (!(p.what & PIECE_END)) {
		int64_t n = framer_http1.next(c, DIR_REQUEST, bytes_of(run_of, sizeof(run_of)), &p,
					      &need);
		assert_true(n > 0);
		total += p.body.n;
	}
	assert_true(total == 1073741824);
	framer_http1.fini(c);
	free(c);
}

/* Content coding is never undone: the body is what was sent. */
static void h10_bombs(void **state)
{
	(void)state;
	char *text = run(
		"@ http1\n> GET / HTTP/1.1\\r\\n\\r\\n\n< HTTP/1.1 200 OK\\r\\nContent-Encoding: gzip\\r\\n"
		"Content-Length: 10\\r\\n\\r\\n\\x1f\\x8b\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x03\n");
	has(text, "  body 10 \\x1f\\x8b\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x03\n");
	free(text);
}

/* h11: tests/unit/prober_test.c; h12: tests/unit/http1_resync_test.c */

static void state_is_small(void **state)
{
	(void)state;
	assert_true(framer_http1.state_size <= 128 + HTTP1_PENDING_FEW + 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(h1_length_and_chunked),
		cmocka_unit_test(h2_content_length),
		cmocka_unit_test(h3_transfer_encoding),
		cmocka_unit_test(h3_other_codings_show),
		cmocka_unit_test(h4_chunks),
		cmocka_unit_test(h5_characters),
		cmocka_unit_test(h6_unasked_switch),
		cmocka_unit_test(h7_until_close),
		cmocka_unit_test(h8_pipelining),
		cmocka_unit_test(h8_pending_cap),
		cmocka_unit_test(h8_pending_order),
		cmocka_unit_test(h9_limits),
		cmocka_unit_test(h9_large_body),
		cmocka_unit_test(h10_bombs),
		cmocka_unit_test(state_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
