/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC's rules on any bytes: messages at any cuts and holes agree with a plain reading of the prefixes, and
 * nothing reads outside its input (each run stands in memory of its own size).
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/grpc.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

/* What the split said of a direction without holes */
struct said {
	uint64_t messages, bytes;
	uint64_t sum; /* of body bytes, by place */
	bool failed, cut;
};

static void note(struct said *t, struct bytes b)
{
	for (size_t i = 0; i < b.n; i++)
		t->sum = t->sum * 31 + b.p[i];
	t->bytes += b.n;
}

/* A run of its own memory: what lies beyond it is not to be read */
static void feed(struct grpc_split *s, struct bytes in, struct said *t)
{
	uint8_t *own = malloc(in.n ? in.n : 1);
	CHECK(own);
	if (in.n)
		memcpy(own, in.p, in.n);
	in.p = own;
	for (;;) {
		struct grpc_run r;
		bool lost = s->lost;
		int64_t n = grpc_split_next(s, in, &r);
		if (n < 0) {
			CHECK(!lost && s->lost);
			t->failed = true;
			continue;
		}
		CHECK((size_t)n <= in.n && r.body.n <= (size_t)n && (n > 0 || r.end || in.n == 0));
		note(t, r.body);
		t->messages += r.end;
		in = bytes_from(in, (size_t)n);
		if (n == 0 && !r.end)
			break;
	}
	t->cut = grpc_split_cut(s);
	free(own);
}

static struct said plain(struct bytes in)
{
	struct said t = {0};
	while (in.n) {
		struct cursor c = cursor_of(in);
		t.failed = cursor_u8(&c) > 1;
		uint64_t n = cursor_be32(&c);
		if (t.failed)
			break;
		t.cut = c.bad || n > cursor_left(&c);
		if (c.bad)
			break;
		struct bytes body = bytes_head(bytes_from(in, 5), n);
		note(&t, body);
		t.messages += !t.cut;
		in = bytes_from(in, 5 + body.n);
	}
	return t;
}

/* The first byte of each turn says how much comes next, and whether it is lost. */
static void split_any(struct bytes in, bool holes)
{
	struct grpc_split s = {0};
	struct said t = {0}, want = plain(in);
	uint64_t seed = in.n ? in.p[0] : 0, lost = 0, missing = 0;
	struct bytes left = in;
	while (left.n) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		size_t n = 1 + (seed >> 33) % 40;
		struct bytes run = bytes_head(left, n);
		left = bytes_from(left, n);
		if (holes && seed >> 60 == 3) {
			grpc_split_gap(&s, run.n, &missing);
			lost += run.n;
		} else {
			feed(&s, run, &t);
		}
	}
	feed(&s, (struct bytes) {NULL, 0}, &t);
	CHECK(missing <= lost);
	if (lost == 0)
		CHECK(t.messages == want.messages && t.bytes == want.bytes && t.sum == want.sum &&
		      t.failed == want.failed && t.cut == want.cut);
}

static void texts(struct bytes in)
{
	uint8_t out[GRPC_TEXT_MAX];
	struct bytes service, method;
	int32_t status;
	bool cut;
	struct bytes text = grpc_message_decode(in, out, in.n ? in.p[0] : 0, &cut);
	CHECK(text.n <= (in.n ? in.p[0] : 0) && (cut || text.n <= in.n));
	if (grpc_path_split(in, &service, &method))
		CHECK(service.n && method.n && service.n + method.n + 2 == in.n);
	if (grpc_status_parse(in, &status))
		CHECK(status >= 0);
	struct header f[2] = {{BYTES("grpc-message"), in, PROVENANCE_LITERAL},
			      {BYTES("grpc-status"), in, PROVENANCE_LITERAL}};
	struct head h = {0};
	CHECK((grpc_end(&h, f, 2, 200, out) & GRPC_END_UNKNOWN) == 0);
	CHECK(h.outcome != OUTCOME_UNKNOWN && h.status_text.n <= GRPC_TEXT_MAX);
	grpc_content_type(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t *own = malloc(n ? n : 1);
	CHECK(own);
	if (n)
		memcpy(own, p, n);
	split_any(bytes_of(own, n), false);
	split_any(bytes_of(own, n), true);
	texts(bytes_of(own, n));
	free(own);
	return 0;
}
