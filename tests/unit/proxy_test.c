/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/protocols.h"
#include "tests/unit/drive.h"

#define V2 "\\r\\n\\r\\n\\0\\r\\nQUIT\\n"

struct example {
	const char *preamble, *source, *destination; /* NULL: none; both "error": refused */
};

static void check(const struct example *e)
{
	char script[1024], want[256];

	snprintf(script, sizeof(script), "@ proxy\n< x\n> %sGET / HTTP/1.1\\r\\n\\r\\n\n",
		 e->preamble);
	char *text = drive_text(script);
	bool refused = e->source && !strcmp(e->source, "error");
	if (refused)
		snprintf(want, sizeof(want), "> error protocol_error\n< error protocol_error\n");
	else if (e->source)
		snprintf(want, sizeof(want),
			 "> switch probe\n  a proxy_source=%s\n  a proxy_destination=%s\n> http1 ",
			 e->source, e->destination);
	else
		snprintf(want, sizeof(want), "> switch probe\n> http1 ");
	if (!strstr(text, want))
		fail_msg("%s:\n%s\nwant\n%s", e->preamble, text, want);
	free(text);
}

/* The server's side is no HTTP here, so the text is only looked at up to the switch. */
static void preambles(void **state)
{
	static const struct example examples[] = {
		{"PROXY TCP4 1.2.3.4 255.255.255.255 0 65535\\r\\n", "1.2.3.4:0",
		 "255.255.255.255:65535"},
		{"PROXY TCP6 ::1 2001:db8::2 1 2\\r\\n", "[::1]:1", "[2001:db8::2]:2"},
		{"PROXY UNKNOWN\\r\\n", NULL, NULL},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2\\r\\n", NULL, NULL},
		{V2
		 "\\x21\\x11\\x00\\x0c\\x0a\\x00\\x00\\x01\\x0a\\x00\\x00\\x02\\x01\\x00\\x02\\x00",
		 "10.0.0.1:256", "10.0.0.2:512"},
		{V2
		 "\\x21\\x11\\x00\\x0f\\x0a\\x00\\x00\\x01\\x0a\\x00\\x00\\x02\\x01\\x00\\x02\\x00\\x04\\x00\\x00",
		 "10.0.0.1:256", "10.0.0.2:512"},
		{V2 "\\x20\\x00\\x00\\x00", NULL, NULL},
		{V2 "\\x20\\x11\\x00\\x03abc", NULL, NULL},
		{V2 "\\x21\\x00\\x00\\x02zz", NULL, NULL},
		{V2 "\\x21\\x31\\x00\\x04path", NULL, NULL},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\\r\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 02\\r\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\\r\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.256 1 2\\r\\n", "error", "error"},
		{"PROXY TCP4 ::1 ::1 1 2\\r\\n", "error", "error"},
		{"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\\r\\n", "error", "error"},
		{"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\\r\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \\r\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\\n", "error", "error"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1\\r\\n", "error", "error"},
		{V2 "\\x11\\x11\\x00\\x00", "error", "error"},
		{V2 "\\x22\\x11\\x00\\x00", "error", "error"},
		{V2 "\\x21\\x11\\x00\\x0bIPv4 short1", "error", "error"},
		{V2 "\\x21\\x21\\x00\\x0cIPv6 short12", "error", "error"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		check(&examples[i]);
}

/* A v1 line has at most 107 bytes. */
static void endless_line(void **state)
{
	(void)state;
	char *text = drive_text("@ proxy\n> PROXY UNKNOWN \n>* 91 a\n> \\r\\n\n");
	assert_non_null(strstr(text, "> switch probe"));
	free(text);
	text = drive_text("@ proxy\n> PROXY UNKNOWN \n>* 92 a\n> \\r\\n\n");
	assert_non_null(strstr(text, "> error protocol_error"));
	free(text);
}

/* The server may not speak before the preamble was read; what it says then is kept. */
static void server_waits(void **state)
{
	const struct framer_limits limits = {65536, 256, 1024, 64 << 20};
	struct piece p = {.dir = DIR_RESPONSE};
	void *c = calloc(1, framer_proxy.state_size);
	size_t need;

	(void)state;
	assert_int_equal(framer_proxy.init(c, &limits, false), 0);
	assert_int_equal(framer_proxy.next(c, DIR_RESPONSE, BYTES("x"), &p, &need), 0);
	assert_int_equal(p.what, 0);
	free(c);
	char *text = drive_text(
		"> PROXY UNKNOWN\n< HTTP/1.1 400 Bad\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
		"> \\r\\nGET /p HTTP/1.1\\r\\n\\r\\n\n");
	assert_string_equal(
		text, "> switch probe\n> http1 method=GET path=/p\n  end\n< switch probe\n"
		      "< http1 status=400 text=Bad client_error\n  h Content-Length: 0\n  end\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(preambles),
		cmocka_unit_test(endless_line),
		cmocka_unit_test(server_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
