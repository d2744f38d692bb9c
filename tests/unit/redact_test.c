/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct redactor *by;
static struct redact_counts counts;

static struct redaction redaction(struct arena *a)
{
	return (struct redaction) {by, &counts, a};
}

static void path_is(const char *in, const char *want)
{
	struct arena a = {0};
	struct redaction r = redaction(&a);
	char *copy = strdup(in); /* of exact size: reading past it is seen */
	struct bytes b = bytes_of(copy, strlen(in));
	bool changed = redact_path(&r, &b);
	if (b.n != strlen(want) || memcmp(b.p, want, b.n) != 0)
		fail_msg("%s became %.*s, not %s", in, (int)b.n, (const char *)b.p, want);
	assert_int_equal(changed, strcmp(in, want) != 0);
	free(copy);
	arena_fini(&a);
}

static void paths(void **state)
{
	(void)state;
	static const char *const same[] = {
		"",
		"/",
		"*",
		"/a/b",
		"/a?b=c&d",
		"/a?",
		"/a?&&;=",
		"/a?password",
		"/a?password=",
		"/a?xpassword=1&passwordx=2",
		"http://host/a@b",
		"http://host?x=a@b",
		"host:443",
		"/users/a@b",
		"/a:b@c",
		"/a?u=http://u:p@h/",
		"/a?=secret&x=y",
	};
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		path_is(same[i], same[i]);
	path_is("/a?password=hunter2", "/a?password=[redacted]");
	path_is("/a?x=1&PassWord=p=q&y=2", "/a?x=1&PassWord=[redacted]&y=2");
	path_is("/a?access_token=1;id_token=2", "/a?access_token=[redacted];id_token=[redacted]");
	path_is("/a?secret=a?b", "/a?secret=[redacted]");
	path_is("/a?x=1?secret=b", "/a?x=1?secret=b"); /* one value, by RFC 3986 */
	path_is("/a?access%5Ftoken=1", "/a?access%5Ftoken=[redacted]");
	path_is("/a?%70assword=1&b=%", "/a?%70assword=[redacted]&b=%");
	path_is("/a#access_token=1", "/a#access_token=[redacted]");
	path_is("/a?x=1#access_token=1", "/a?x=1#access_token=[redacted]");
	path_is("http://u:p@host/a", "http://[redacted]@host/a");
	path_is("http://u:p@ss@host/a?secret=1", "http://[redacted]@host/a?secret=[redacted]");
	path_is("https://u@host", "https://[redacted]@host");
	path_is("u:p@host:443", "[redacted]@host:443");
}

static void header_is(const char *name, const char *value, const char *want)
{
	struct arena a = {0};
	struct redaction r = redaction(&a);
	struct header h = {bytes_str(name), bytes_str(value), PROVENANCE_LITERAL};
	size_t n = 1;
	bool changed = redact_headers(&r, &h, &n);
	assert_int_equal(n, 1);
	assert_int_equal(changed, strcmp(value, want) != 0);
	assert_int_equal(h.value.n, strlen(want));
	assert_memory_equal(h.value.p, want, h.value.n);
	arena_fini(&a);
}

static void headers(void **state)
{
	(void)state;
	static const char *const secrets[] = {
		"Authorization",
		"COOKIE",
		"Set-Cookie",
		"x-api-key",
		"Proxy-Authorization",
		"X-Amz-Security-Token",
		"x-goog-iap-jwt-assertion",
		"x-forwarded-access-token",
		"apikey",
		"x-vault-token",
		"private-token",
		"gdpr-token",
		"x-functions-key",
	};
	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++)
		header_is(secrets[i], "s3cr3t", "[redacted]");
	header_is("Cookies", "s", "s");
	header_is("Host", "a", "a");
	header_is("", "a", "a");
	header_is(":path", "/a?secret=1", "/a?secret=[redacted]");
	header_is("Referer", "https://u:p@h/?id_token=2",
		  "https://[redacted]@h/?id_token=[redacted]");
	header_is("Location", "/cb?code=1&refresh_token=2", "/cb?code=1&refresh_token=[redacted]");
	static const char *const authorities[] = {
		"Host",          ":authority",      "content-location", "x-original-url",
		"x-rewrite-url", "x-forwarded-uri", "x-original-uri"};
	for (size_t i = 0; i < sizeof(authorities) / sizeof(*authorities); i++)
		header_is(authorities[i], "u:p@h?secret=1", "[redacted]@h?secret=[redacted]");
	header_is("X-Envoy-Original-Path", "/a?apikey=1", "/a?apikey=[redacted]");
}

static void header_of_unknown_name(void **state)
{
	(void)state;
	struct arena a = {0};
	struct header h[] = {{{NULL, 0}, BYTES("v"), PROVENANCE_UNKNOWN},
			     {BYTES("x"), BYTES("v"), PROVENANCE_UNKNOWN}};
	struct redaction r = redaction(&a);
	size_t n = 2, none = 0;
	assert_true(redact_headers(&r, h, &n));
	assert_int_equal(h[0].value.n, 10);
	assert_int_equal(h[1].value.n, 1);
	assert_false(redact_headers(&r, NULL, &none));
	arena_fini(&a);
}

/* C4: what a peer sends costs time in proportion to its length. */
static double seconds_of(size_t n, char fill)
{
	char *text = malloc(n);
	struct arena a = {0};
	struct redaction r = redaction(&a);
	struct timespec t0, t1;
	memset(text, fill, n);
	memcpy(text, "/?", 2);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	for (int i = 0; i < 8; i++) {
		struct bytes b = bytes_of(text, n);
		redact_path(&r, &b);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	arena_fini(&a);
	free(text);
	return (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
}

static void c4_linear(void **state)
{
	(void)state;
	static const char fills[] = "&;=?#%@a";
	for (const char *f = fills; *f; f++) {
		double small = seconds_of(1 << 14, *f), large = seconds_of(1 << 20, *f);
		assert_true(large < 64 * 8 * (small + 1e-5)); /* quadratic would be 4096 times */
	}
}

static int open_default(void **state)
{
	char err[REDACT_ERROR_MAX];
	(void)state;
	by = redactor_new(NULL, NULL, err, sizeof(err));
	return by ? 0 : -1;
}

static int close_default(void **state)
{
	(void)state;
	redactor_unref(by);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(headers),
		cmocka_unit_test(header_of_unknown_name),
		cmocka_unit_test(c4_linear),
	};
	return cmocka_run_group_tests(tests, open_default, close_default);
}
