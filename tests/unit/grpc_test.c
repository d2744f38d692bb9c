/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's own rules, without connections: names, messages at every cut, status (faults B16, B17). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "rpc/grpc.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void content_types(void **state)
{
	static const char *yes[] = {"application/grpc",      "application/grpc+proto",
				    "application/grpc+json", "application/grpc;charset=utf-8",
				    "Application/GRPC+x",    "application/grpc+"};
	static const char *no[] = {"",
				   "application/grp",
				   "application/grpc-web",
				   "application/grpc-web+proto",
				   "application/grpc-web-text",
				   "application/grpcx",
				   "application/json",
				   "xapplication/grpc",
				   "application/connect+proto"};

	(void)state;
	for (size_t i = 0; i < N(yes); i++)
		assert_true(grpc_content_type(bytes_str(yes[i])));
	for (size_t i = 0; i < N(no); i++)
		assert_false(grpc_content_type(bytes_str(no[i])));
	/* reads no further than the value */
	assert_true(grpc_content_type(bytes_of("application/grpc-web", 16)));
	assert_false(grpc_content_type(bytes_of("application/grpc", 15)));
}

static void paths(void **state)
{
	static const struct {
		const char *path, *service, *method;
	} good[] = {{"/a.B/C", "a.B", "C"},
		    {"/B/C", "B", "C"},
		    {"/x/a.B/C", "x/a.B", "C"},
		    {"/b/c?d", "b", "c?d"}};
	static const char *bad[] = {"", "/", "//", "//m", "/s/", "/s", "s/m", "*", "http://h/s/m"};
	struct bytes s, m;

	(void)state;
	for (size_t i = 0; i < N(good); i++) {
		assert_true(grpc_path_split(bytes_str(good[i].path), &s, &m));
		assert_true(bytes_eq(s, bytes_str(good[i].service)));
		assert_true(bytes_eq(m, bytes_str(good[i].method)));
	}
	for (size_t i = 0; i < N(bad); i++) {
		s = m = BYTES("x");
		assert_false(grpc_path_split(bytes_str(bad[i]), &s, &m));
		assert_int_equal(s.n + m.n, 0);
	}
}

/* What a split gave, as text: bytes as they are, "/" and "/c" (compressed) at each end of a message */
struct told {
	char text[256];
	size_t n;
	bool failed;
};

static void told_run(struct told *t, const struct grpc_run *r)
{
	t->n += (size_t)snprintf(t->text + t->n, sizeof(t->text) - t->n, "%.*s%s%s", (int)r->body.n,
				 (const char *)r->body.p, r->end ? "/" : "",
				 r->compressed ? "c" : "");
}

static void feed(struct grpc_split *s, struct bytes in, struct told *t)
{
	struct grpc_run r;

	while (in.n) {
		bool fails = !s->lost;
		int64_t n = grpc_split_next(s, in, &r);
		if (n < 0) {
			assert_true(fails && s->lost && n == -EPROTO);
			t->failed = true;
			continue;
		}
		assert_true(n > 0 || r.end);
		assert_true((size_t)n <= in.n);
		if (r.body.n)
			assert_true(r.body.p >= in.p && r.body.p + r.body.n <= in.p + n);
		assert_true(r.end || !r.compressed);
		told_run(t, &r);
		in = bytes_from(in, (size_t)n);
	}
}

static const struct {
	struct bytes in;
	const char *want;
	bool failed, cut;
} splits[] = {
	{BYTES("\0\0\0\0\3abc\1\0\0\0\2xy\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1z"), "abc/xy/c//cz/", false,
	 false},
	{BYTES("\0\0\0\0\0"), "/", false, false},
	{BYTES("\0\0\0\0\1a\2\0\0\0\1b"), "a/", true, false},
	{BYTES("\0\0\0\0\1a\377"), "a/", true, false},
	{BYTES("\200\0\0\0\5trail"), "", true, false},
	{BYTES("\0\0\0\0\4ab"), "ab", false, true},
	{BYTES("\0\0\0\0\1a\0\0\0"), "a/", false, true},
	{BYTES("\1\377\377\377\377ab"), "ab", false, true},
};

/* b16: DATA cut anywhere, also into single bytes, says the same. */
static void b16_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(splits); i++) {
		struct bytes in = splits[i].in;
		for (size_t a = 0; a <= in.n; a++)
			for (size_t b = a; b <= in.n; b++) {
				struct grpc_split s = {0};
				struct told t = {0};
				feed(&s, bytes_head(in, a), &t);
				feed(&s, bytes_head(bytes_from(in, a), b - a), &t);
				feed(&s, bytes_from(in, b), &t);
				assert_string_equal(t.text, splits[i].want);
				assert_int_equal(t.failed, splits[i].failed);
				assert_int_equal(s.lost, splits[i].failed);
				assert_int_equal(grpc_split_cut(&s), splits[i].cut);
			}
		struct grpc_split s = {0};
		struct told t = {0};
		for (size_t k = 0; k < in.n; k++)
			feed(&s, bytes_of(in.p + k, 1), &t);
		assert_string_equal(t.text, splits[i].want);
	}
}

/* b16: the longest message that a prefix can claim is counted to its last byte, with a state of fixed size. */
static void b16_four_gib(void **state)
{
	static const uint8_t block[1 << 20];
	struct bytes in = bytes_of(block, sizeof(block));
	struct grpc_split s = {0};
	struct grpc_run r;
	uint64_t got = 0;

	(void)state;
	assert_true(sizeof(s) <= 32);
	assert_int_equal(grpc_split_next(&s, BYTES("\0\377\377\377\377"), &r), 5);
	assert_false(r.end);
	do {
		int64_t n = grpc_split_next(&s, bytes_head(in, UINT32_MAX - got), &r);
		assert_int_equal(n, r.body.n);
		got += r.body.n;
	} while (!r.end);
	assert_true(got == UINT32_MAX);
	assert_false(s.lost);
}

static void every_flag(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 256; f++) {
		uint8_t in[6] = {(uint8_t)f, 0, 0, 0, 1, 'a'};
		struct grpc_split s = {0};
		struct grpc_run r;
		int64_t n = grpc_split_next(&s, bytes_of(in, 6), &r);
		assert_int_equal(n, f > 1 ? -EPROTO : 6);
		assert_int_equal(r.compressed, f == 1);
		assert_int_equal(s.lost, f > 1);
	}
}

static void no_input(void **state)
{
	struct grpc_split s = {0};
	struct grpc_run r;

	(void)state;
	assert_int_equal(grpc_split_next(&s, (struct bytes) {NULL, 0}, &r), 0);
	assert_false(r.end);
	feed(&s, BYTES("\0\0\0\0\2a"), &(struct told) {0});
	assert_int_equal(grpc_split_next(&s, (struct bytes) {NULL, 0}, &r), 0);
	assert_false(r.end);
	assert_true(grpc_split_cut(&s));
}

/* The first `at` bytes of two messages come, `lost` of them do not, the others do. */
static void holed(size_t at, size_t lost, struct told *t, uint64_t *missing, bool *gone)
{
	struct bytes in = BYTES("\0\0\0\0\5hello\0\0\0\0\2hi");
	struct grpc_split s = {0};
	struct grpc_run r;

	*missing = 0;
	feed(&s, bytes_head(in, at), t);
	grpc_split_gap(&s, lost, missing);
	feed(&s, bytes_from(in, at + lost), t);
	grpc_split_next(&s, (struct bytes) {NULL, 0}, &r);
	told_run(t, &r);
	*gone = s.lost;
}

/* Every hole at every place: what is given is right and what is not is counted or lost, never read shifted. */
static void every_hole(void **state)
{
	const char *text = "hello";

	(void)state;
	for (size_t at = 0; at <= 17; at++)
		for (size_t n = 1; at + n <= 17; n++) {
			struct told t = {0};
			uint64_t missing;
			bool gone;
			char want[32];
			holed(at, n, &t, &missing, &gone);
			size_t before = at < 5 ? 0 : at < 10 ? at - 5 : 5;
			bool in_first = at >= 5 && at < 10, in_second = at >= 15;
			size_t mine = in_first ? (n < 10 - at ? n : 10 - at) : in_second ? n : 0;
			assert_int_equal(missing, mine);
			assert_int_equal(gone, mine < n);
			snprintf(want, sizeof(want), "%.*s%s%s%s", (int)before, text,
				 in_first ? text + before + mine : "", at >= 5 ? "/" : "",
				 in_second           ? (at == 15 && n == 1 ? "i/"
							: at == 15         ? "/"
									   : "h/")
				 : in_first && !gone ? "hi/"
						     : "");
			assert_string_equal(t.text, want);
		}
}

/* A hole that took the rest of a message and no more ends it, also when nothing else comes. */
static void hole_that_ends(void **state)
{
	struct grpc_split s = {0};
	struct grpc_run r;
	uint64_t missing = 0;

	(void)state;
	feed(&s, BYTES("\1\0\0\0\5he"), &(struct told) {0});
	grpc_split_gap(&s, 3, &missing);
	assert_int_equal(missing, 3);
	assert_false(s.lost || grpc_split_cut(&s));
	assert_int_equal(grpc_split_next(&s, BYTES("\0\0\0\0\1z"), &r), 0);
	assert_true(r.end && r.compressed && r.body.n == 0);
	assert_int_equal(grpc_split_next(&s, BYTES("\0\0\0\0\1z"), &r), 6);
	assert_true(r.end && !r.compressed);
	/* nothing missing changes nothing; a huge hole counts what was the message's */
	grpc_split_gap(&s, 0, &missing);
	assert_false(s.lost);
	feed(&s, BYTES("\0\0\0\0\5he"), &(struct told) {0});
	missing = 0;
	grpc_split_gap(&s, UINT64_MAX, &missing);
	assert_int_equal(missing, 3);
	assert_true(s.lost);
	assert_int_equal(grpc_split_next(&s, BYTES("\0\0\0\0\1z"), &r), 0);
	assert_true(r.end);
	assert_int_equal(grpc_split_next(&s, BYTES("\0\0\0\0\1z"), &r), 6);
	assert_true(!r.end && r.body.n == 0);
}

static void status_numbers(void **state)
{
	static const char *bad[] = {"",
				    "-1",
				    "+1",
				    " 1",
				    "1 ",
				    "0x1",
				    "1.0",
				    "OK",
				    "a",
				    "2147483648",
				    "99999999999999999999999999999999999999"};
	int32_t v = -7;

	(void)state;
	assert_true(grpc_status_parse(BYTES("0"), &v));
	assert_int_equal(v, 0);
	assert_true(grpc_status_parse(BYTES("16"), &v));
	assert_int_equal(v, 16);
	assert_true(grpc_status_parse(BYTES("2147483647"), &v));
	assert_int_equal(v, INT32_MAX);
	v = -7;
	for (size_t i = 0; i < N(bad); i++)
		assert_false(grpc_status_parse(bytes_str(bad[i]), &v));
	assert_int_equal(v, -7);
}

static void outcomes(void **state)
{
	/* statuses 0 to 16, and one that is none: O, C(lient), S(erver) */
	const char *want = "OCSCSCCCCCCCSSSSCC";

	(void)state;
	for (int i = 0; i < 18; i++)
		assert_int_equal(grpc_outcome(i), want[i] == 'O'   ? OUTCOME_OK
						  : want[i] == 'C' ? OUTCOME_CLIENT_ERROR
								   : OUTCOME_SERVER_ERROR);
	assert_int_equal(grpc_outcome(INT32_MAX), OUTCOME_CLIENT_ERROR);
}

static void percent_decoding(void **state)
{
	static const char *cases[][2] = {
		{"", ""},
		{"plain text", "plain text"},
		{"a%20b%0ac", "a b\nc"},
		{"%e4%bd%A0", "\xe4\xbd\xa0"},
		{"100%", "100%"},
		{"%4", "%4"},
		{"%zz%4g%g4", "%zz%4g%g4"},
		{"%%41", "%A"},
		{"%2541", "%41"},
		{"\xff%ff", "\xff\xff"},
	};
	uint8_t out[64];
	bool cut;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct bytes t =
			grpc_message_decode(bytes_str(cases[i][0]), out, sizeof(out), &cut);
		assert_true(bytes_eq(t, bytes_str(cases[i][1])));
		assert_false(cut);
	}
	/* an escape that ends behind the value */
	assert_true(bytes_eq(grpc_message_decode(bytes_of("%41", 2), out, 9, &cut), BYTES("%4")));
}

/* Cut at the cap, never inside a character of the text, never a byte further. */
static void percent_decoding_cut(void **state)
{
	static const struct {
		const char *raw;
		size_t cap, want;
		bool cut;
	} cases[] = {
		{"abcd", 4, 4, false},         {"abcde", 4, 4, true},
		{"%41%42", 1, 1, true},        {"ab%c3%a4", 3, 2, true},
		{"ab%c3%a4", 4, 4, false},     {"ab%c3%a4x", 4, 4, true},
		{"a%e4%bd%a0", 3, 1, true},    {"%f0%9f%98%80", 3, 0, true},
		{"%f0%9f%98%80y", 4, 4, true}, {"%80%80%80%80%80", 4, 4, true},
		{"abc", 0, 0, true},
	};
	uint8_t out[8];
	bool cut;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		memset(out, 0x55, sizeof(out));
		struct bytes t =
			grpc_message_decode(bytes_str(cases[i].raw), out, cases[i].cap, &cut);
		assert_int_equal(t.n, cases[i].want);
		assert_int_equal(cut, cases[i].cut);
		assert_int_equal(out[cases[i].cap], 0x55);
	}
}

struct ending {
	const char *names[3], *values[3];
	int32_t http;
	int32_t status;
	bool has;
	enum outcome outcome;
	const char *text;
};

/* NULL for a value (or "" for a name) that a late join could not know */
static unsigned end_of(const struct ending *e, struct head *h, uint8_t *text)
{
	struct header f[3];
	size_t n = 0;

	for (; n < 3 && e->names[n]; n++)
		f[n] = (struct header) {bytes_str(e->names[n]), bytes_str(e->values[n]),
					e->values[n] ? PROVENANCE_LITERAL : PROVENANCE_UNKNOWN};
	*h = (struct head) {.status = 77, .has_status = true, .status_text = BYTES("old")};
	return grpc_end(h, f, n, e->http, text);
}

static void ends(const struct ending *e, size_t n, unsigned found)
{
	uint8_t text[GRPC_TEXT_MAX];
	struct head h;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(end_of(&e[i], &h, text), found);
		assert_int_equal(h.has_status, e[i].has);
		assert_int_equal(h.status, e[i].status);
		assert_int_equal(h.outcome, e[i].outcome);
		assert_true(bytes_eq(h.status_text, bytes_str(e[i].text)));
	}
}

/* b17: trailers, trailers-only, and replies without a status */
static void b17_endings(void **state)
{
	static const struct ending known[] = {
		{{"grpc-status"}, {"0"}, 200, 0, true, OUTCOME_OK, ""},
		{{"grpc-status", "grpc-message"},
		 {"5", "no%20x"},
		 200,
		 5,
		 true,
		 OUTCOME_CLIENT_ERROR,
		 "no x"},
		{{":status", "grpc-status", "grpc-message"},
		 {"200", "13", "%"},
		 200,
		 13,
		 true,
		 OUTCOME_SERVER_ERROR,
		 "%"},
		/* the status of gRPC goes before that of HTTP */
		{{"grpc-status"}, {"14"}, 503, 14, true, OUTCOME_SERVER_ERROR, ""},
		{{"grpc-status"}, {"0"}, 0, 0, true, OUTCOME_OK, ""},
		/* none, or none that is a number */
		{{NULL}, {NULL}, 200, 0, false, OUTCOME_ABORTED, ""},
		{{"x"}, {"y"}, 200, 0, false, OUTCOME_ABORTED, ""},
		{{"grpc-status"}, {"x"}, 200, 0, false, OUTCOME_ABORTED, ""},
		{{"grpc-status", "grpc-status"}, {"5", ""}, 200, 0, false, OUTCOME_ABORTED, ""},
		{{":status"}, {"503"}, 503, 503, true, OUTCOME_SERVER_ERROR, ""},
		{{":status"}, {"404"}, 404, 404, true, OUTCOME_CLIENT_ERROR, ""},
		{{":status"}, {"302"}, 302, 302, true, OUTCOME_OK, ""},
		{{NULL}, {NULL}, 0, 0, false, OUTCOME_UNKNOWN, ""},
		{{NULL}, {NULL}, 600, 0, false, OUTCOME_UNKNOWN, ""},
		/* twice: the last */
		{{"grpc-status", "grpc-status"}, {"5", "0"}, 200, 0, true, OUTCOME_OK, ""},
		/* unknown fields that are not the status */
		{{"x", "grpc-message"}, {NULL, NULL}, 200, 0, false, OUTCOME_ABORTED, ""},
		{{"", "grpc-status"}, {NULL, "3"}, 200, 3, true, OUTCOME_CLIENT_ERROR, ""},
	};
	static const struct ending unknown[] = {
		{{""}, {NULL}, 200, 0, false, OUTCOME_UNKNOWN, ""},
		{{"grpc-status"}, {NULL}, 200, 0, false, OUTCOME_UNKNOWN, ""},
		{{"grpc-message", ""}, {"a", NULL}, 503, 0, false, OUTCOME_UNKNOWN, "a"},
	};

	(void)state;
	ends(known, N(known), 0);
	ends(unknown, N(unknown), GRPC_END_UNKNOWN);
}

static void long_text_is_cut(void **state)
{
	static char raw[GRPC_TEXT_MAX + 2];
	struct ending e = {{"grpc-status", "grpc-message"}, {"2", raw}, 200, 0, 0, 0, NULL};
	uint8_t text[GRPC_TEXT_MAX];
	struct head h;

	(void)state;
	memset(raw, 'm', GRPC_TEXT_MAX);
	assert_int_equal(end_of(&e, &h, text), 0);
	assert_int_equal(h.status_text.n, GRPC_TEXT_MAX);
	raw[GRPC_TEXT_MAX] = 'm';
	assert_int_equal(end_of(&e, &h, text), GRPC_END_CUT);
	assert_int_equal(h.status_text.n, GRPC_TEXT_MAX);
	assert_int_equal(h.status, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_types),    cmocka_unit_test(paths),
		cmocka_unit_test(b16_every_cut),    cmocka_unit_test(b16_four_gib),
		cmocka_unit_test(every_flag),       cmocka_unit_test(no_input),
		cmocka_unit_test(every_hole),       cmocka_unit_test(hole_that_ends),
		cmocka_unit_test(status_numbers),   cmocka_unit_test(outcomes),
		cmocka_unit_test(percent_decoding), cmocka_unit_test(percent_decoding_cut),
		cmocka_unit_test(b17_endings),      cmocka_unit_test(long_text_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
