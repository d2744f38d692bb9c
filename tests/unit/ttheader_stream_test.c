/* SPDX-License-Identifier: Apache-2.0 */
/* TTHeader streaming: frames of streams in every order, their caps, and what a loss leaves of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/ttheader_streams.h"
#include "tests/unit/ttheader_say.h"

static void begin(void)
{
	say_begin(&framer_ttheader, false);
}

static struct bytes meta(uint32_t id)
{
	return stream_frame(TTHEADER_META, id, "", BYTES("meta"), NULL);
}

static struct bytes opening(uint32_t id)
{
	return stream_frame(TTHEADER_HEADER, id, "Talk", BYTES(""),
			    STRINGS({"isn", "Chat"}, {"k", "v"}));
}

static struct bytes answering(uint32_t id)
{
	return stream_frame(TTHEADER_HEADER, id, "Talk", BYTES(""), STRINGS({"srv", "1"}));
}

static struct bytes data(uint32_t id, const char *text)
{
	return stream_frame(TTHEADER_DATA, id, "Talk", bytes_str(text), NULL);
}

static struct bytes trailer(uint32_t id)
{
	return stream_frame(TTHEADER_TRAILER, id, "Talk", BYTES(""), STRINGS({"t", "1"}));
}

static struct bytes rst(uint32_t id)
{
	return stream_frame(TTHEADER_RST, id, "Talk",
			    binary(3, "Talk", id, exception("cancelled", 12007, true)),
			    STRINGS({"ttscp", "a,b"}));
}

#define OPENED(id)                                                                                 \
	"> ttheader transport=unframed+streaming+binary corr=429496729" id                         \
	" method=Talk service=Chat\n  a to_method=Talk\n  h isn: Chat\n  h k: v\n"
#define ANSWERED(id)                                                                               \
	"< ttheader transport=unframed+streaming+binary corr=429496729" id                         \
	" method=Talk\n  h srv: 1\n"

#define RESET(side, id, by)                                                                        \
	side " corr=429496729" id " ends\n  a rst_by=" by "\n  a rst_code=12007\n  a ttscp=a,b\n"

static void one_stream(void **state)
{
	(void)state;
	begin();
	client(meta(0));
	client(opening(1));
	client(data(1, "one"));
	server(answering(1));
	server(data(1, "uno"));
	client(data(1, ""));
	client(trailer(1));
	server(data(1, "due"));
	server(trailer(1));
	tells(OPENED("7") "  message ends at 3\n  message ends at 3\n  t t: 1\n  body 3 one\n  end\n" ANSWERED(
		"7") "  message ends at 3\n  message ends at 6\n  t t: 1\n  says ok\n  body 6 unodue\n  end\n");
}

/* Streams and unary calls share a connection; a sequence id may be that of a stream. */
static void interleaved(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), opening(2)));
	client(FRAME(.seq = 1, .payload = binary(1, "Unary", 1, VOID_RESULT)));
	client(join(data(2, "b"), data(1, "a")));
	server(join(answering(2), FRAME(.seq = 1, .payload = binary(2, "Unary", 1, VOID_RESULT))));
	server(join(data(2, "B"), answering(1)));
	client(join(trailer(1), trailer(2)));
	server(join(trailer(2), join(data(1, "A"), trailer(1))));
	char *text = told();
	has(text, OPENED("7") "  message ends at 1\n  t t: 1\n  body 1 a\n  end\n");
	has(text, OPENED("8") "  message ends at 1\n  t t: 1\n  body 1 b\n  end\n");
	has(text, ANSWERED("7") "  message ends at 1\n  t t: 1\n  says ok\n  body 1 A\n  end\n");
	has(text, ANSWERED("8") "  message ends at 1\n  t t: 1\n  says ok\n  body 1 B\n  end\n");
	has(text, "> ttheader transport=unframed+binary corr=1 method=Unary\n");
	has(text, "< ttheader transport=unframed+binary corr=1 method=Unary ok\n");
	free(text);
}

/* What comes behind a Rst is nobody's, also a Header; its id may begin anew. */
static void behind_a_rst(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), rst(1)));
	client(join(trailer(1), data(1, "late")));
	server(join(answering(1), join(data(1, "late"), trailer(1))));
	client(opening(2));
	server(join(answering(2), rst(2)));
	client(data(2, "late"));
	server(rst(2));
	client(join(opening(1), trailer(1)));
	server(join(answering(1), trailer(1)));
	tells(OPENED("7") "  abort\n" RESET(">", "7", "client") OPENED("8") "  abort\n" OPENED(
		"7") "  t t: 1\n  end\n" ANSWERED("8") "  abort\n" RESET("<", "8", "server")
		      ANSWERED("7") "  t t: 1\n  says ok\n  end\n");
	begin();
	client(join(opening(1), trailer(1)));
	client(rst(1)); /* both directions stand between messages */
	tells_part("  end\n" RESET(">", "7", "client"));
}

/* A Rst while the other side is in the middle of a message: its rest is read over. */
static void rst_inside_a_message(void **state)
{
	struct bytes b = data(1, "0123456789");

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		begin();
		client(opening(1));
		server(join(answering(1), bytes_head(b, b.n - 4)));
		client(rst(1));
		if (lost)
			drive_add_gap(&say_script, DIR_RESPONSE, 4);
		else
			server(bytes_from(b, b.n - 4));
		client(opening(2));
		server(answering(2));
		tells(OPENED("7") "  abort\n" RESET(">", "7", "client")
			      OPENED("8") "  open\n" ANSWERED(
				      "7") "  body 6 012345\n  abort\n" ANSWERED("8") "  open\n");
	}
}

static void trailer_without_header(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), trailer(1)));
	server(stream_frame(TTHEADER_TRAILER, 1, "Talk", BYTES(""),
			    STRINGS({"biz-status", "5"}, {"biz-message", "m"})));
	tells_part(
		"\n< ttheader transport=unframed+streaming+binary corr=4294967297 method=Talk status=5 "
		"text=m declared\n  h biz-status: 5\n  h biz-message: m\n  end\n");
}

static void unknown_streams(void **state)
{
	(void)state;
	begin();
	client(join(data(9, "x"), join(trailer(9), rst(9))));
	server(join(data(9, "x"), join(trailer(9), rst(9))));
	client(FRAME(.seq = 1, .payload = binary(1, "E", 1, VOID_RESULT)));
	char *text = told();
	assert_int_equal(count(text, "ttheader"), 1);
	free(text);
	begin();
	server(join(answering(9), join(data(9, "x"), trailer(9))));
	tells_part("method=Talk\n  h srv: 1\n  message ends at 1\n  t t: 1\n");
}

static void frame_without_type(void **state)
{
	(void)state;
	begin();
	client(opening(1));
	client(stream_frame(6, 1, "Talk", BYTES(""), NULL));
	tells_part("> error protocol_error\n");
}

static void id_reused(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), data(1, "a")));
	client(join(opening(1), trailer(1)));
	tells(OPENED("7") "  message ends at 1\n  body 1 a\n  abort\n"
			  "> corr=4294967297 ends "
			  "protocol_error\n" OPENED("7") "  t t: 1\n  end\n");
}

/* A stream that lost its replies is still one: its id begins anew only behind a reset. */
static void id_reused_behind_a_loss(void **state)
{
	(void)state;
	begin();
	client(opening(1));
	server(answering(1));
	drive_add_gap(&say_script, DIR_RESPONSE, 100);
	client(opening(1));
	tells(OPENED("7") "  abort\n> corr=4294967297 ends protocol_error\n" OPENED(
		"7") "  open\n" ANSWERED("7") "  lost\n< lost to a gap\n");
}

static void protobuf_streams(void **state)
{
	struct make m = {.flags = TTHEADER_STREAMING,
			 .seq = 1,
			 .protocol = 0x11,
			 .ints = {{27, "2"}, {9, "M"}}};

	(void)state;
	begin();
	client(frame(&m));
	tells_part("> ttheader transport=unframed+streaming corr=4294967297 method=M\n");
}

/* ---- caps ---- */

struct driven {
	void *state;
	size_t aborts;
	const char *cap;
};

static void feed(struct driven *d, enum dir dir, struct bytes in)
{
	struct piece p;
	size_t need;

	while (in.n) {
		int64_t n = framer_ttheader.next(d->state, dir, in, &p, &need);
		assert_true(n > 0 || p.what);
		if (p.cap)
			d->cap = p.cap;
		if (p.what & PIECE_ABORT)
			d->aborts++;
		in = bytes_from(in, (size_t)n);
	}
}

static struct driven driven(uint32_t streams)
{
	const struct framer_limits limits = {64 << 10, 256, streams, 64 << 20};
	struct driven d = {.state = calloc(1, framer_ttheader.state_size)};

	assert_non_null(d.state);
	assert_int_equal(framer_ttheader.init(d.state, &limits, false), 0);
	return d;
}

static void driven_end(struct driven *d)
{
	framer_ttheader.fini(d->state);
	free(d->state);
}

static void b15_open_streams_are_capped(void **state)
{
	struct driven d = driven(16);

	(void)state;
	for (uint32_t id = 1; id <= 16; id++)
		feed(&d, DIR_REQUEST, opening(id));
	assert_int_equal(d.aborts, 0);
	feed(&d, DIR_REQUEST, data(1, "used"));
	feed(&d, DIR_REQUEST, opening(17));
	assert_int_equal(d.aborts, 1);
	assert_string_equal(d.cap, "streams");
	struct piece p;
	size_t need;
	struct bytes b = data(2, "evicted");
	assert_int_equal(framer_ttheader.next(d.state, DIR_REQUEST, b, &p, &need), b.n);
	assert_int_equal(p.what, PIECE_CONTROL); /* 2 was the least recently used, not 1 */
	b = data(1, "kept");
	assert_int_equal(framer_ttheader.next(d.state, DIR_REQUEST, b, &p, &need), b.n);
	assert_int_equal(p.what, PIECE_BODY | PIECE_MESSAGE);
	for (uint32_t id = 18; id < 1000; id++)
		feed(&d, DIR_REQUEST, opening(id));
	assert_int_equal(d.aborts, 1000 - 17);
	driven_end(&d);
	make_reset();
}

static void b2_rapid_reset(void **state)
{
	struct ttheader_streams t;

	(void)state;
	ttheader_streams_init(&t);
	for (uint32_t id = 1; id <= 200000; id++) {
		struct ttheader_stream *s = ttheader_streams_add(&t, id);
		assert_non_null(s);
		s->state[DIR_REQUEST] = TTHEADER_STREAM_OPEN;
		ttheader_streams_reset(&t, s);
		assert_true(t.n_live == 0 && t.n_dead <= TTHEADER_STREAMS_DEAD_MAX);
	}
	assert_non_null(ttheader_streams_find(&t, 200000));
	assert_null(ttheader_streams_find(&t, 1));
	ttheader_streams_fini(&t);
}

/* ---- losses ---- */

/* In step inside a message; the stream goes on. */
static void gap_inside_a_message(void **state)
{
	struct bytes b = data(1, "0123456789");

	(void)state;
	begin();
	client(join(opening(1), bytes_head(b, b.n - 6)));
	drive_add_gap(&say_script, DIR_REQUEST, 6);
	client(join(data(1, "next"), trailer(1)));
	tells_part(
		"  message ends at 4\n  message ends at 8\n  t t: 1\n  body 8 missing 6 0123next\n  end\n");
}

/* Replies out of step: a stream that had begun to answer is over, one that had not may still begin. */
static void gap_between_frames(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), join(opening(2), opening(3))));
	server(join(answering(1), data(1, "a")));
	drive_add_gap(&say_script, DIR_RESPONSE, 100);
	server(join(data(1, "b"), trailer(1)));
	server(join(data(2, "its beginning was lost"), trailer(2)));
	server(join(answering(3), join(data(3, "c"), trailer(3))));
	client(join(data(1, "x"), trailer(1)));
	client(join(data(3, "y"), trailer(3)));
	char *text = told();
	has(text, "  body 1 a\n  lost\n< lost to a gap\n");
	has(text, ANSWERED("9") "  message ends at 1\n  t t: 1\n  says ok\n  body 1 c\n  end\n");
	has_not(text, "beginning");
	has_not(text, "body 2");
	free(text);
	begin();
	client(join(opening(1), data(1, "a")));
	drive_add_gap(&say_script, DIR_REQUEST, 100);
	client(join(data(1, "b"), trailer(1)));
	client(join(opening(2), trailer(2)));
	server(join(answering(1), join(data(1, "c"), trailer(1))));
	text = told();
	has(text, "  body 1 a\n  lost\n");
	has(text, OPENED("8") "  t t: 1\n  end\n");
	has(text,
	    ANSWERED(
		    "7") "  message ends at 1\n  t t: 1\n  a unknown=outcome\n  body 1 c\n  end\n");
	free(text);
}

/* A Rst may have been among what was lost: what follows decides nothing then. */
static void lost_rst(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), trailer(1)));
	drive_add_gap(&say_script, DIR_REQUEST, 100);
	client(join(opening(2), trailer(2)));
	server(join(answering(1),
		    stream_frame(TTHEADER_TRAILER, 1, "Talk",
				 binary(3, "Talk", 1, exception("x", 6, true)), NULL)));
	server(join(answering(2), rst(2)));
	char *text = told();
	has(text, ANSWERED("7") "  a unknown=outcome\n  end\n");
	has(text, RESET("<", "8", "server"));
	free(text);
	begin();
	client(join(opening(1), trailer(1)));
	drive_add_gap(&say_script, DIR_REQUEST, 100);
	client(join(opening(2), trailer(2)));
	server(trailer(1));
	tells_part("a unknown=outcome\n  h t: 1\n  end\n");
	begin();
	client(join(opening(1), trailer(1)));
	drive_add_gap(&say_script, DIR_RESPONSE, 100);
	server(FRAME(.seq = 9, .payload = binary(2, "M", 9, VOID_RESULT)));
	client(rst(1));
	tells_part("> corr=4294967297 ends\n  a unknown=status_code\n<");
	begin();
	server(join(answering(1), trailer(1))); /* nothing was seen of its request */
	tells_part("\n  h srv: 1\n  t t: 1\n  a unknown=outcome\n  end\n");
}

static void cut_by_close(void **state)
{
	(void)state;
	begin();
	client(join(opening(1), opening(2)));
	server(answering(1));
	drive_add_end(&say_script, DIR_REQUEST, END_FIN);
	drive_add_end(&say_script, DIR_RESPONSE, END_FIN);
	tells(OPENED("8") "  abort\n" OPENED("7") "  abort\n" ANSWERED("7") "  abort\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_stream),
		cmocka_unit_test(interleaved),
		cmocka_unit_test(behind_a_rst),
		cmocka_unit_test(rst_inside_a_message),
		cmocka_unit_test(trailer_without_header),
		cmocka_unit_test(unknown_streams),
		cmocka_unit_test(frame_without_type),
		cmocka_unit_test(id_reused),
		cmocka_unit_test(id_reused_behind_a_loss),
		cmocka_unit_test(protobuf_streams),
		cmocka_unit_test(b15_open_streams_are_capped),
		cmocka_unit_test(b2_rapid_reset),
		cmocka_unit_test(gap_inside_a_message),
		cmocka_unit_test(gap_between_frames),
		cmocka_unit_test(lost_rst),
		cmocka_unit_test(cut_by_close),
	};

	return cmocka_run_group_tests(tests, NULL, say_teardown);
}
