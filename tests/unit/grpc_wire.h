/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 frames with gRPC in them by hand, onto the connection of conn_wire.h; and what the records say of the call
 * that they all make. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

/* Each test takes what it needs of these. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define REQ  DIR_REQUEST
#define RESP DIR_RESPONSE

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { NO_FLAGS = 0, END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static struct buf out; /* frames gathered for the next segment */

static void add(const void *p, size_t n)
{
	assert_int_equal(buf_append(&out, bytes_of(p, n)), 0);
}

static void frame(uint8_t type, uint8_t flags, uint32_t stream, struct bytes body)
{
	uint8_t head[9] = {
		(uint8_t)(body.n >> 16), (uint8_t)(body.n >> 8), (uint8_t)body.n, type, flags, 0, 0,
		(uint8_t)(stream >> 8),  (uint8_t)stream};
	add(head, sizeof(head));
	add(body.p, body.n);
}

/* Sends what was gathered in one segment. */
static void flush(enum dir dir)
{
	wire_send_raw(dir, buf_bytes(&out));
	out.n = 0;
}

static void block_text(struct buf *b, const char *s, size_t n)
{
	uint8_t len[3] = {(uint8_t)n};
	size_t k = 1;
	if (n >= 127) { /* an integer of 7 bits and one or two more bytes */
		len[0] = 127;
		len[1] = (uint8_t)((n - 127) & 127);
		len[2] = (uint8_t)((n - 127) >> 7);
		k = 2;
		if (len[2]) {
			len[1] |= 128;
			k = 3;
		}
	}
	assert_int_equal(buf_append(b, bytes_of(len, k)), 0);
	assert_int_equal(buf_append(b, bytes_of(s, n)), 0);
}

/* "name=value\n..." as literals without indexing */
static void headers(uint32_t stream, uint8_t flags, const char *fields)
{
	struct buf b = {0};
	while (*fields) {
		const char *eq = strchr(fields, '='), *nl = strchr(fields, '\n');
		assert_int_equal(buf_append(&b, BYTES("\0")), 0);
		block_text(&b, fields, (size_t)(eq - fields));
		block_text(&b, eq + 1, (size_t)(nl - eq - 1));
		fields = nl + 1;
	}
	frame(HEADERS, END_HEADERS | flags, stream, buf_bytes(&b));
	buf_fini(&b);
}

/* One message in one DATA frame */
static void message(uint32_t stream, uint8_t flags, uint8_t compressed, const char *text)
{
	struct buf b = {0};
	size_t n = strlen(text);
	uint8_t prefix[5] = {compressed, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
			     (uint8_t)n};
	assert_int_equal(buf_append(&b, bytes_of(prefix, 5)), 0);
	assert_int_equal(buf_append(&b, bytes_of(text, n)), 0);
	frame(DATA, flags, stream, buf_bytes(&b));
	buf_fini(&b);
}

static void data(uint32_t stream, uint8_t flags, struct bytes b)
{
	frame(DATA, flags, stream, b);
}

static void rst(uint32_t stream, uint8_t code)
{
	uint8_t body[4] = {0, 0, 0, code};
	frame(RST_STREAM, NO_FLAGS, stream, bytes_of(body, 4));
}

static void hello(void)
{
	wire_open(true);
	add("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(SETTINGS, NO_FLAGS, 0, BYTES(""));
	flush(REQ);
	frame(SETTINGS, NO_FLAGS, 0, BYTES(""));
	frame(SETTINGS, 1, 0, BYTES(""));
	flush(RESP);
}

#define ASK_AS(type, more)                                                                         \
	":method=POST\n:scheme=http\n:path=/shop.Cart/Add\n:authority=cart:50051\nte=trailers\n"   \
	"content-type=" type "\n" more
#define ASK     ASK_AS("application/grpc", "")
#define ANSWER  ":status=200\ncontent-type=application/grpc\n"
#define TRAILER "grpc-status=0\n"

static void ask(uint32_t stream)
{
	headers(stream, NO_FLAGS, ASK);
}

static void answer(uint32_t stream)
{
	headers(stream, NO_FLAGS, ANSWER);
}

static void trailers(uint32_t stream, const char *fields)
{
	headers(stream, END_STREAM, fields);
}

/* A unary question, whole */
static void asked(uint32_t stream)
{
	ask(stream);
	message(stream, END_STREAM, 0, "question");
	flush(REQ);
}

static const Sidetap__V1__Call *expect(enum outcome outcome, int status, const char *type)
{
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "grpc");
	assert_string_equal(c->service, "shop.Cart");
	assert_string_equal(c->method, "Add");
	assert_string_equal(c->path, "/shop.Cart/Add");
	assert_string_equal(record_outcome_name((enum outcome)c->outcome),
			    record_outcome_name(outcome));
	assert_int_equal(c->status_code, status);
	assert_string_equal(c->call_type, type);
	return c;
}

static void body_is(const Sidetap__V1__Message *m, const char *text)
{
	assert_non_null(m);
	assert_int_equal(m->body.len, strlen(text));
	assert_memory_equal(m->body.data, text, m->body.len);
	assert_int_equal(m->body_bytes, strlen(text));
}

/* "<text" for each: direction and body, "c" behind it when compressed; separated by blanks */
static void stream_is(const Sidetap__V1__Call *c, const char *want)
{
	char text[512] = "";
	size_t n = 0;
	for (size_t i = 0; i < c->n_stream; i++) {
		const Sidetap__V1__StreamMessage *m = c->stream[i];
		assert_int_equal(m->body.len, m->body_bytes);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c%.*s%s", i ? " " : "",
				      m->direction ? '<' : '>', (int)m->body.len,
				      (char *)m->body.data, m->compressed ? ":c" : "");
	}
	assert_string_equal(text, want);
}

static const char *attribute(const Sidetap__V1__Call *c, const char *name)
{
	const char *v = records_attribute(c, name);
	return v ? v : "";
}

static void done(void)
{
	wire_expect_none();
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static int drop(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}
