/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our HTTP/1 framer against llhttp, as Node has it (tests/unit/llhttp_test.js), over generated messages, right and
 * wrong ones: the same verdict, and for what is accepted the same messages. Differences that are meant stand in
 * `allowed`, each with its reason. Skips when there is no node.
 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"

enum { CASES = 4000, MESSAGE_MAX = 1024, LINE_BYTES = 16384 };

struct sample {
	char kind; /* q, r */
	uint8_t p[MESSAGE_MAX];
	size_t n;
};

static struct sample samples[CASES];

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Mostly right; the wrong ones stand at the end of each list and are drawn less often. */
static const char *const request_lines[] = {
	"GET / HTTP/1.1\r\n",
	"POST /p?q=1 HTTP/1.1\r\n",
	"PUT /f HTTP/1.0\r\n",
	"DELETE http://h:80/x HTTP/1.1\r\n",
	"OPTIONS * HTTP/1.1\r\n",
	"PATCH /%41 HTTP/1.1\r\n",
	"\r\nGET /e HTTP/1.1\r\n",
	"GET /|^ HTTP/1.1\r\n",
	"GET / HTTP/1.2\r\n",
	"GET / HTTP/2.0\r\n",
	"GET /\r\n",
	"GET  / HTTP/1.1\r\n",
	"get / HTTP/1.1\r\n",
	"FOO / HTTP/1.1\r\n",
	"GET / HTTP/1.1\n",
	"GET /\x01 HTTP/1.1\r\n",
	"GET x HTTP/1.1\r\n",
	"GET / HTTP/1.1 \r\n",
	"GET / XTTP/1.1\r\n",
	"GET /\xe9 HTTP/1.1\r\n",
};
enum { REQUEST_LINES_RIGHT = 8 };

static const char *const status_lines[] = {
	"HTTP/1.1 200 OK\r\n",     "HTTP/1.1 404 Not Found\r\n", "HTTP/1.0 200 OK\r\n",
	"HTTP/1.1 200 \r\n",       "HTTP/1.1 599 \xe9t\xe9\r\n", "HTTP/1.1 204 None\r\n",
	"HTTP/1.1 304 Same\r\n",   "HTTP/1.1 200\r\n",           "HTTP/1.2 200 OK\r\n",
	"HTTP/1.1 20 OK\r\n",      "HTTP/1.1 2000 OK\r\n",       "HTTP/1.1 2x0 OK\r\n",
	"HTTP/1.1  200 OK\r\n",    "HTTP/1.1 200 OK\n",          "HTTP 200 OK\r\n",
	"http/1.1 200 OK\r\n",     "HTTP/1.1 200OK\r\n",         "HTTP/1.1 099 Low\r\n",
	"HTTP/1.1 200 O\x01K\r\n",
};
enum { STATUS_LINES_RIGHT = 8 };

static const char *const fields[] = {
	"Host: a\r\n",
	"X: y\r\n",
	"Accept: */*\r\n",
	"Empty:\r\n",
	"Tab:\tx\t\r\n",
	"O: \xe9\r\n",
	"Content-Length: 4\r\n",
	"Transfer-Encoding: chunked\r\n",
	"Connection: keep-alive\r\n",
	"Content-Length: 4 \r\n",
	"Content-Length: 0\r\n",
	"Content-Length: 04\r\n",
	"Content-Length: +4\r\n",
	"Content-Length: 0x4\r\n",
	"Content-Length: -4\r\n",
	"Content-Length: 4, 4\r\n",
	"Content-Length: 4 4\r\n",
	"Content-Length:\r\n",
	"Content-Length: 18446744073709551620\r\n",
	"Content-Length : 4\r\n",
	"Transfer-Encoding: gzip, chunked\r\n",
	"Transfer-Encoding: chunked, gzip\r\n",
	"Transfer-Encoding: xchunked\r\n",
	"Transfer-Encoding: identity\r\n",
	"Transfer-Encoding: gzip\r\n",
	"Transfer-Encoding : chunked\r\n",
	"Transfer-Encoding: chunked;q=1\r\n",
	"Transfer-Encoding: CHUNKED\r\n",
	"X: a\r\n fold\r\n",
	"X : y\r\n",
	"X\r\n",
	": y\r\n",
	"X: a\rb\r\n",
	"X: a\n",
	"X: a\x0c\r\n",
	"X: \x7f\r\n",
	"B(: x\r\n",
	"\xe9: x\r\n",
	" X: y\r\n",
	"X: a\r\r\n",
};
enum { FIELDS_RIGHT = 11 };

static const char *const bodies[] = {
	"",
	"",
	"abcd",
	"4\r\nabcd\r\n0\r\n\r\n",
	"2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
	"0\r\n\r\n",
	"4\r\nabcd\r\n0\r\n\r\n",
	"4\nabcd\n0\n\n",
	"-4\r\nabcd\r\n0\r\n\r\n",
	"FFFFFFFFFFFFFFFFF\r\nabcd",
	"4 \r\nabcd\r\n0\r\n\r\n",
	"4\r\nabcde\r\n0\r\n\r\n",
	"4;\r\nabcd\r\n0\r\n\r\n",
	"4;a=\"b\"\r\nabcd\r\n0\r\n\r\n",
	"\r\n",
	"0x4\r\nabcd\r\n",
	"0000000000000000004\r\nabcd\r\n0\r\n\r\n",
	"8000000000000000\r\nabcd",
	"4;a=\x01\r\nabcd\r\n0\r\n\r\n",
	"0\r\nT : u\r\n\r\n",
	"0\r\nT u\r\n\r\n",
};
enum { BODIES_RIGHT = 7 };

static void add(struct sample *s, const char *text)
{
	size_t n = strlen(text);

	if (s->n + n <= MESSAGE_MAX) {
		memcpy(s->p + s->n, text, n);
		s->n += n;
	}
}

static const char *draw(const char *const *list, size_t n, size_t right, uint64_t *seed)
{
	return drive_random(seed) % 8 ? list[drive_random(seed) % right]
				      : list[drive_random(seed) % n];
}

static void mutate(struct sample *s, uint64_t *seed)
{
	static const uint8_t bytes[] = "\r\n\t :;,\"=/0aZ\x7f\x80\x01?HTTP";
	size_t at = drive_random(seed) % s->n;
	uint8_t b = bytes[drive_random(seed) % sizeof(bytes)]; /* its NUL too */

	switch (drive_random(seed) % 3) {
	case 0: s->p[at] = b; break;
	case 1: memmove(s->p + at, s->p + at + 1, --s->n - at); break;
	case 2:
		if (s->n < MESSAGE_MAX) {
			memmove(s->p + at + 1, s->p + at, s->n++ - at);
			s->p[at] = b;
		}
	}
}

static void generate(void)
{
	uint64_t seed = 20;

	for (size_t i = 0; i < CASES; i++) {
		struct sample *s = &samples[i];
		s->kind = i & 1 ? 'r' : 'q';
		for (unsigned k = 1 + drive_random(&seed) % 3 / 2; k; k--) {
			add(s, s->kind == 'q' ? draw(request_lines, N(request_lines),
						     REQUEST_LINES_RIGHT, &seed)
					      : draw(status_lines, N(status_lines),
						     STATUS_LINES_RIGHT, &seed));
			for (unsigned f = drive_random(&seed) % 4; f; f--)
				add(s, draw(fields, N(fields), FIELDS_RIGHT, &seed));
			add(s, "\r\n");
			add(s, draw(bodies, N(bodies), BODIES_RIGHT, &seed));
		}
		if (drive_random(&seed) % 4 == 0)
			mutate(s, &seed);
	}
}

/* ---- our verdict, in the form of llhttp_test.js ---- */

static void put(struct buf *b, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(buf_append(b, bytes_of(text, (size_t)n)), 0);
}

static void put_hex(struct buf *b, struct bytes s)
{
	for (size_t i = 0; i < s.n; i++)
		put(b, "%02x", s.p[i]);
}

static bool http10; /* the version is no field of a head */
static size_t failed_at; /* where the bytes begin that we refused */

static void put_head(struct buf *b, const struct piece *p, char kind, bool first)
{
	put(b, first ? "" : " | ");
	if (kind == 'q') {
		assert_int_equal(buf_append(b, p->head.method), 0);
		put(b, " ");
		put_hex(b, p->head.path);
	} else {
		put(b, "%d ", p->head.status);
		put_hex(b, p->head.status_text);
	}
	put(b, " 1.%d ", !http10);
	for (size_t i = 0; i < p->head.n_headers; i++) {
		put(b, i ? "," : "");
		put_hex(b, p->head.headers[i].name);
		put(b, ":");
		put_hex(b, p->head.headers[i].value);
	}
	put(b, " ");
}

static bool is_http10(struct bytes in)
{
	const uint8_t *at = memmem(in.p, in.n, "HTTP/1.", 7);

	return at && at + 7 < in.p + in.n && at[7] == '0';
}

/* false: an error */
static bool pull(void *c, const struct sample *s, struct buf *text)
{
	enum dir dir = s->kind == 'q' ? DIR_REQUEST : DIR_RESPONSE;
	struct bytes in = bytes_of(s->p, s->n);
	bool open = false, first = true;
	struct piece p = {.dir = dir};
	size_t need;

	for (;;) {
		http10 = is_http10(in);
		failed_at = s->n - in.n;
		int64_t n = framer_http1.next(c, dir, in, &p, &need);
		if (n < 0 || p.flags & FLAG_PROTOCOL_ERROR || p.flags & FLAG_SMUGGLING_SUSPECT)
			return false;
		if (n == 0 && p.what == 0)
			break;
		if (p.what & (PIECE_HEAD | PIECE_INTERIM)) {
			put_head(text, &p, s->kind, first);
			first = false;
			open = true;
		}
		put_hex(text, p.body);
		in = bytes_from(in, (size_t)n);
		if (p.what & (PIECE_END | PIECE_INTERIM)) {
			put(text, " end");
			open = false;
		}
	}
	if (s->kind == 'r') {
		framer_http1.end(c, dir, END_FIN, &p);
		if (in.n || p.what == PIECE_ABORT)
			return false;
		if (p.what == PIECE_END)
			put(text, " end");
	} else if (open) {
		put(text, " open");
	} else if (in.n) {
		put(text, " +%zu", in.n); /* a head not yet whole */
	}
	return true;
}

static void judge(const struct sample *s, struct buf *text)
{
	const struct framer_limits limits = {65536, 256, 1024, 64 << 20};
	void *c = calloc(1, framer_http1.state_size);

	assert_int_equal(framer_http1.init(c, &limits, false), 0);
	put(text, "ok ");
	if (!pull(c, s, text)) {
		text->n = 0;
		put(text, "error");
	}
	put(text, "%c", 0);
	framer_http1.fini(c);
	free(c);
}

/* ---- the differences that are meant ---- */

/* What we refused: from failed_at to the end of that head */
static struct bytes refused_head(const struct sample *s)
{
	struct bytes b = bytes_from(bytes_of(s->p, s->n), failed_at);
	const uint8_t *end = memmem(b.p, b.n, "\r\n\r\n", 4);

	return end ? bytes_head(b, (size_t)(end - b.p) + 4) : b;
}

static struct bytes refused_line(const struct sample *s)
{
	struct bytes b = refused_head(s);
	const uint8_t *lf = b.n ? memchr(b.p, '\n', b.n) : NULL;

	return lf ? bytes_head(b, (size_t)(lf - b.p) + 1) : b;
}

static bool contains(struct bytes b, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= b.n; i++)
		if (bytes_caseeq(bytes_of(b.p + i, n), bytes_of(part, n)))
			return true;
	return false;
}

static bool is_error(const char *verdict)
{
	return !strncmp(verdict, "error", 5);
}

static bool unfinished(const struct sample *s, const char *mine, const char *theirs)
{
	(void)s;
	return strstr(mine, " +") && is_error(theirs);
}

static bool between(const struct sample *s, const char *mine, const char *theirs)
{
	struct bytes b = refused_head(s);

	(void)theirs;
	return is_error(mine) && failed_at > 0 && b.n && (b.p[0] == '\r' || b.p[0] == '\n');
}

static bool version(const struct sample *s, const char *mine, const char *theirs)
{
	struct bytes line = refused_line(s);

	(void)theirs;
	return is_error(mine) && s->kind == 'q' && !contains(line, " HTTP/1.1\r\n") &&
	       !contains(line, " HTTP/1.0\r\n");
}

static bool two_spaces(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && s->kind == 'q' && contains(refused_line(s), "  ");
}

/* Each message of ours: its first word, and the hex behind it */
static bool any_message(const char *mine, bool (*is)(const char *method, const char *target))
{
	const char *at = strncmp(mine, "ok ", 3) ? NULL : mine + 3;

	while (at) {
		const char *space = strchr(at, ' ');
		if (space && is(at, space + 1))
			return true;
		at = strstr(at, " | ");
		at = at ? at + 3 : NULL;
	}
	return false;
}

static bool is_extension(const char *method, const char *target)
{
	static const char *const known[] = {"GET ",    "POST ",    "PUT ",
					    "DELETE ", "OPTIONS ", "PATCH "};

	(void)target;
	for (size_t i = 0; i < N(known); i++)
		if (!strncmp(method, known[i], strlen(known[i])))
			return false;
	return true;
}

static bool is_8bit(const char *method, const char *target)
{
	(void)method;
	for (; isxdigit(target[0]) && isxdigit(target[1]); target += 2)
		if (target[0] >= '8')
			return true;
	return false;
}

static bool extension(const struct sample *s, const char *mine, const char *theirs)
{
	return s->kind == 'q' && is_error(theirs) && any_message(mine, is_extension);
}

static bool target_8bit(const struct sample *s, const char *mine, const char *theirs)
{
	return s->kind == 'q' && is_error(theirs) && any_message(mine, is_8bit);
}

static bool after_close(const struct sample *s, const char *mine, const char *theirs)
{
	const char *old = strstr(mine, " 1.0 ");

	(void)s;
	return is_error(theirs) && old && strstr(old, " | ");
}

static bool coding_old(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && contains(refused_line(s), "HTTP/1.0") &&
	       contains(refused_head(s), "transfer-encoding:");
}

static bool coding_reply(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && s->kind == 'r' && contains(refused_head(s), "transfer-encoding:");
}

static bool coding_unknown(const struct sample *s, const char *mine, const char *theirs)
{
	struct bytes head = refused_head(s);

	(void)theirs;
	return is_error(mine) && s->kind == 'q' && contains(head, "chunked") &&
	       (contains(head, ": identity") || contains(head, ": xchunked") ||
		contains(head, ": gzip\r\n") || contains(head, "chunked;q=1"));
}

static bool status_low(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && contains(refused_line(s), "HTTP/1.1 0");
}

static bool reason_control(const struct sample *s, const char *mine, const char *theirs)
{
	struct bytes line = refused_line(s);

	(void)theirs;
	for (size_t i = 0; i + 2 < line.n; i++)
		if (is_error(mine) && s->kind == 'r' && i > 8 &&
		    ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f))
			return true;
	return false;
}

static bool length_zeros(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && contains(refused_head(s), "Content-Length: 04");
}

static bool chunk_63bit(const struct sample *s, const char *mine, const char *theirs)
{
	(void)theirs;
	return is_error(mine) && contains(refused_head(s), "8000000000000000\r\n");
}

static const struct {
	bool (*applies)(const struct sample *s, const char *mine, const char *theirs);
	const char *reason;
} allowed[] = {
	{unfinished, "a bad line is refused at its LF, by llhttp at its first bad byte"},
	{between,
	 "llhttp skips any CR and LF between messages; RFC 9112 2.2: CRLF, before a request"},
	{chunk_63bit, "sizes are below 2^63"},
	{version, "only HTTP/1.0 and 1.1 (RFC 9112 2.3); llhttp knows 0.9 and 2.0 too"},
	{two_spaces, "one SP in the request line (RFC 9112 3)"},
	{extension, "any token is a method (RFC 9110 9.1); llhttp has a list"},
	{target_8bit, "bytes 0x80-0xff in a target pass: servers take them, the record shows them"},
	{after_close, "messages after one that closes are read; llhttp refuses them"},
	{coding_old, "Transfer-Encoding in HTTP/1.0 is faulty framing (RFC 9112 6.1)"},
	{coding_reply, "codings unknown, repeated or behind chunked are refused in responses too"},
	{coding_unknown, "codings unknown before chunked are refused (RFC 9112 6.1: 501)"},
	{status_low, "a status code has a class 1 to 9 (RFC 9110 15)"},
	{reason_control, "no controls in a reason phrase (RFC 9112 4)"},
	{length_zeros, "Content-Length with a leading zero is ambiguous to others (octal)"},
};

static bool ask_node(char (*lines)[LINE_BYTES])
{
	char command[1024], in[] = P_tmpdir "/llhttp_test_XXXXXX";
	const char *tests = getenv("SIDETAP_TESTS");
	int fd = mkstemp(in);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	assert_non_null(f);
	for (size_t i = 0; i < CASES; i++) {
		fprintf(f, "%c ", samples[i].kind);
		for (size_t k = 0; k < samples[i].n; k++)
			fprintf(f, "%02x", samples[i].p[k]);
		fprintf(f, "\n");
	}
	fclose(f);
	snprintf(command, sizeof(command), "node --no-deprecation %s/unit/llhttp_test.js < %s",
		 tests ? tests : "tests", in);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	size_t n = 0;
	while (n < CASES && fgets(lines[n], LINE_BYTES, out)) {
		lines[n][strcspn(lines[n], "\n")] = '\0';
		n++;
	}
	bool ok = pclose(out) == 0 && n == CASES;
	unlink(in);
	return ok;
}

static void show(const struct sample *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->p[i] == '\r')
			printf("\\r");
		else if (s->p[i] == '\n')
			printf("\\n");
		else if (isprint(s->p[i]))
			putchar(s->p[i]);
		else
			printf("\\x%02x", s->p[i]);
	printf("\n");
}

static void same_as_llhttp(void **state)
{
	size_t wrong = 0, accepted = 0, refused = 0, used[N(allowed)] = {0};
	char(*lines)[LINE_BYTES] = calloc(CASES, LINE_BYTES);

	(void)state;
	if (system("node --version > /dev/null 2>&1") != 0) {
		print_message("SKIP: no node on this machine\n");
		free(lines);
		skip();
	}
	generate();
	assert_true(ask_node(lines));
	for (size_t i = 0; i < CASES; i++) {
		struct buf ours = {0};
		judge(&samples[i], &ours);
		const char *mine = (char *)ours.p, *theirs = lines[i];
		bool both_wrong = !strncmp(mine, "error", 5) && !strncmp(theirs, "error", 5);
		accepted += !strncmp(mine, "ok", 2);
		refused += both_wrong;
		const char *rest = strstr(mine, " +");
		size_t same = rest ? (size_t)(rest - mine) : strlen(mine);
		if (!both_wrong && (strncmp(mine, theirs, same) != 0 || strlen(theirs) > same)) {
			size_t k = 0;
			while (k < N(allowed) && !allowed[k].applies(&samples[i], mine, theirs))
				k++;
			if (k < N(allowed)) {
				used[k]++;
			} else if (wrong++ < 20) {
				printf("case %zu %c: ", i, samples[i].kind);
				show(&samples[i]);
				printf("  ours   %s\n  llhttp %s\n", mine, theirs);
			}
		}
		buf_fini(&ours);
	}
	free(lines);
	print_message(
		"%d messages: %zu accepted by us, %zu refused by both; allowed differences:\n",
		CASES, accepted, refused);
	for (size_t k = 0; k < N(allowed); k++)
		print_message("  %4zu  %s\n", used[k], allowed[k].reason);
	assert_true(accepted > 300 && refused > 300);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_llhttp)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
