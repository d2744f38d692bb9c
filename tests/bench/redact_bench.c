/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redaction by kind of rule: MB/s of bodies of 16 KiB, with a secret in each KiB and with none, beside memcpy of the same;
 * ns of a head of 12 headers. Medians of rounds in which all take turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/encode.h"
#include "tests/unit/redact_rig.h"
#include "tests/unit/thrift_write.h"

enum { ROUNDS = 31, BODIES = 60, HEADS = 4000, SIZE = 16 << 10, STEP = 1 << 10 };

struct subject {
	const char *name, *rules, *type, *protocol, *transport;
	void (*make)(struct buf *b, bool secret);
	struct redactor *by;
	struct buf in[2];
	double ns[2][ROUNDS];
};

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* the machine may be shared */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

static double median(double *ns)
{
	qsort(ns, ROUNDS, sizeof(*ns), ascending);
	return ns[ROUNDS / 2];
}

/* A kilobyte of members, the last of them named as a secret or not */
static void json(struct buf *b, bool secret)
{
	put_text(b, "[");
	while (b->n < SIZE) {
		put_text(b, "{");
		for (int i = 0; i < 20; i++)
			put_text(b, "\"name\":\"some value\",\"count\":12345,\"ok\":true,");
		put_text(b, secret ? "\"token\":\"0123456789abcdef\"},"
				   : "\"taken\":\"0123456789abcdef\"},");
	}
	put_text(b, "0]");
}

static void form(struct buf *b, bool secret)
{
	while (b->n < SIZE) {
		for (int i = 0; i < 40; i++)
			put_text(b, "name=some+value&count=12345&");
		put_text(b, secret ? "pin=0123456789abcdef&" : "pen=0123456789abcdef&");
	}
}

static void multipart(struct buf *b, bool secret)
{
	while (b->n < SIZE) {
		put_text(b, "--bound\r\nContent-Disposition: form-data; name=\"");
		put_text(b, secret ? "pin\"\r\n\r\n" : "pen\"\r\n\r\n");
		put_fill(b, 'x', STEP - 60);
		put_text(b, "\r\n");
	}
	put_text(b, "--bound--\r\n");
}

/* Rows of {1: string, 2: i32, 3: string} in field 2 of the struct */
static void thrift(struct buf *b, bool secret)
{
	int last = 0;
	size_t count, n = 0;
	tw_message(b, THRIFT_BINARY, 1, "Get", 1);
	tw_field(b, THRIFT_BINARY, 15, 2, &last);
	put_be(b, 12, 1);
	count = b->n;
	put_be(b, 0, 4);
	for (; b->n < SIZE; n++) {
		tw_field(b, THRIFT_BINARY, 11, 1, &last);
		tw_string(b, THRIFT_BINARY, BYTES("some text of some length"));
		tw_field(b, THRIFT_BINARY, 8, 2, &last);
		tw_i32(b, THRIFT_BINARY, 77);
		tw_field(b, THRIFT_BINARY, 11, secret && n % 20 == 0 ? 4 : 3, &last);
		tw_string(b, THRIFT_BINARY, BYTES("0123456789abcdef"));
		tw_stop(b);
	}
	put_at(b, count, n, 4);
	tw_stop(b);
}

static void protobuf(struct buf *b, bool secret)
{
	for (size_t n = 0; b->n < SIZE; n++) {
		struct buf row = {0};
		put_text(&row, "\x0a\x18some text of some length\x10\x4d");
		put_text(&row, secret && n % 20 == 0 ? "\x22\x10" : "\x1a\x10");
		put_text(&row, "0123456789abcdef");
		put_be(b, 0x12, 1);
		put_varint(b, row.n);
		put(b, buf_bytes(&row));
		buf_fini(&row);
	}
}

static void text(struct buf *b, bool secret)
{
	while (b->n < SIZE) {
		for (int i = 0; i < 20; i++)
			put_text(b, "2026-01-02 some line of a log, code=17 user=4711\n");
		put_text(b, secret ? "AKIA0123456789ABCDEF\n" : "AKIB0123456789ABCDEF\n");
	}
}

static void dubbo(struct buf *b, bool secret)
{
	while (b->n < SIZE) {
		for (int i = 0; i < 40; i++)
			put_text(b, "\x04name\x0asome value\x05count\xd4\x32");
		put_text(b, secret ? "\x09x-api-key" : "\x09x-api-kex");
		put_text(b, "\x10"
			    "0123456789abcdef");
	}
}

#define SIX_PATTERNS                                                                               \
	"  regex: ['AKIA[0-9A-Z]{16}', '[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{4}', "                    \
	"'eyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+', '(?i)password=(\\S+)', "           \
	"'-----BEGIN [A-Z ]+ KEY-----.*-----END', '[a-z0-9._%+-]+@[a-z0-9.-]+\\.[a-z]{2,10}']"

static struct subject subjects[] = {
	{"json, one path",
	 "  json: ['$[*].token']",
	 "application/json",
	 "http1",
	 "",
	 json,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"json, ten paths",
	 "  json: ['$..token', '$..a', '$..b', '$..c', '$..d', '$..e', '$.f.g', "
	 "'$.h.i', '$.j.k', '$.l']",
	 "application/json",
	 "http1",
	 "",
	 json,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"json, hash",
	 "  json: [{path: '$[*].token', action: hash}]",
	 "application/json",
	 "http1",
	 "",
	 json,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"form",
	 "  form: [pin]",
	 "application/x-www-form-urlencoded",
	 "http1",
	 "",
	 form,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"multipart",
	 "  form: [pin]",
	 "multipart/form-data; boundary=bound",
	 "http1",
	 "",
	 multipart,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"thrift",
	 "  thrift: ['2.4']",
	 "",
	 "thrift",
	 "framed+binary",
	 thrift,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"protobuf", "  protobuf: ['2.4']", "", "grpc", "", protobuf, NULL, {{0}, {0}}, {{0}}},
	{"one pattern",
	 "  regex: ['AKIA[0-9A-Z]{16}']",
	 "text/plain",
	 "http1",
	 "",
	 text,
	 NULL,
	 {{0}, {0}},
	 {{0}}},
	{"six patterns", SIX_PATTERNS, "text/plain", "http1", "", text, NULL, {{0}, {0}}, {{0}}},
	{"dubbo2, default", "  allow: [none]", "", "dubbo2", "", dubbo, NULL, {{0}, {0}}, {{0}}},
};
enum { SUBJECTS = sizeof(subjects) / sizeof(*subjects) };

static double bodies_ns(struct subject *s, bool secret, struct buf *out)
{
	struct header type = {BYTES("content-type"), bytes_str(s->type), PROVENANCE_LITERAL};
	struct redact_body b = {.protocol = s->protocol,
				.transport = s->transport,
				.headers = &type,
				.n_headers = 1};
	struct redaction r = {s->by, &rig_counts, NULL};
	double start = now_ns();
	for (int i = 0; i < BODIES; i++) {
		out->n = 0;
		if (redact_body(&r, &b, buf_bytes(&s->in[secret]), 1 << 20, out) !=
		    (secret ? 1 : 0))
			abort();
	}
	return (now_ns() - start) / BODIES;
}

static double copy_ns(struct buf *out)
{
	static uint8_t from[SIZE];
	double start = now_ns();
	for (int i = 0; i < BODIES; i++) {
		out->n = 0;
		from[i] = (uint8_t)i;
		put(out, bytes_of(from, SIZE));
	}
	return (now_ns() - start) / BODIES;
}

static double heads_ns(struct redactor *by)
{
	static const char *const names[12] = {":method",        ":path",         ":scheme",
					      ":authority",     "accept",        "user-agent",
					      "x-request-id",   "traceparent",   "content-type",
					      "content-length", "authorization", "cookie"};
	struct arena a = {0};
	struct redaction r = {by, &rig_counts, &a};
	double start = now_ns();
	for (int i = 0; i < HEADS; i++) {
		struct header h[12];
		size_t n = 12;
		for (size_t k = 0; k < 12; k++)
			h[k] = (struct header) {bytes_str(names[k]),
						BYTES("/v1/items?q=some&page=3"),
						PROVENANCE_LITERAL};
		redact_headers(&r, h, &n);
		arena_reset(&a);
	}
	arena_fini(&a);
	return (now_ns() - start) / HEADS;
}

int main(void)
{
	static double copy[ROUNDS], heads[3][ROUNDS];
	static const char *const head_rules[3] = {
		"  allow: [none]",
		"  headers: [a, b-one, c-two, d-three, e-four, 'x-tenant-*', '*-token']\n  query: [code, 'k*']",
		"  regex: [{pattern: 'AKIA[0-9A-Z]{16}', on: header}]"};
	static const char *const head_names[3] = {"built-in lists", "five names, two globs",
						  "and a pattern"};
	struct redactor *head_by[3];
	struct buf out = {0};
	for (int i = 0; i < SUBJECTS; i++) {
		struct subject *s = &subjects[i];
		s->by = rig_redactor(s->rules);
		for (int secret = 0; secret < 2; secret++)
			s->make(&s->in[secret], secret);
	}
	for (int i = 0; i < 3; i++)
		head_by[i] = rig_redactor(head_rules[i]);
	for (int round = 0; round < ROUNDS; round++) {
		copy[round] = copy_ns(&out);
		for (int i = 0; i < SUBJECTS; i++)
			for (int secret = 0; secret < 2; secret++)
				subjects[i].ns[secret][round] =
					bodies_ns(&subjects[i], secret, &out);
		for (int i = 0; i < 3; i++)
			heads[i][round] = heads_ns(head_by[i]);
	}
	printf("%-22s %12s %12s\n", "MB/s", "no secret", "one in 1 KiB");
	printf("%-22s %12.0f\n", "memcpy", SIZE / median(copy) * 1e3);
	for (int i = 0; i < SUBJECTS; i++)
		printf("%-22s %12.0f %12.0f\n", subjects[i].name,
		       (double)subjects[i].in[0].n / median(subjects[i].ns[0]) * 1e3,
		       (double)subjects[i].in[1].n / median(subjects[i].ns[1]) * 1e3);
	printf("%-22s\n", "ns a head of 12 headers");
	for (int i = 0; i < 3; i++)
		printf("%-22s %12.0f\n", head_names[i], median(heads[i]));
	for (int i = 0; i < SUBJECTS; i++) {
		redactor_unref(subjects[i].by);
		buf_fini(&subjects[i].in[0]);
		buf_fini(&subjects[i].in[1]);
	}
	for (int i = 0; i < 3; i++)
		redactor_unref(head_by[i]);
	buf_fini(&out);
	return 0;
}
