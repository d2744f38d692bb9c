/* SPDX-License-Identifier: Apache-2.0 */
/* Dubbo2 joined late at every byte, and with segments lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/dubbo2_write.h"
#include "tests/unit/lossy.h"

static void make(unsigned i, size_t size, struct lossy_call *c)
{
	struct buf body = {0}, text = {0};
	unsigned kind = i % 6;

	c->service = i % 3 ? "demo.Shop" : "demo.Depot";
	snprintf(c->method, sizeof(c->method), "method%u", i % 7);
	c->oneway = i % 11 == 10;
	c->status = c->oneway ? 0 : kind == 5 ? 70 : 20;
	c->outcome = c->oneway   ? OUTCOME_OK
		     : kind == 5 ? OUTCOME_SERVER_ERROR
		     : kind == 4 ? OUTCOME_DECLARED_EXCEPTION
				 : OUTCOME_OK;
	put_text(&text, lossy_token(i));
	put_fill(&text, 't', size);
	put_start(&body, c->service, c->method, "Ljava/lang/String;");
	put_string(&body, buf_bytes(&text));
	put_attachments(&body, c->service);
	put_frame(&c->wire[0], c->oneway ? ONE_WAY : REQUEST, 0, 0x2f060771e6dc0000 + i,
		  buf_bytes(&body));
	body.n = 0;
	if (kind != 5)
		put_be(&body, kind == 4 ? 0x90 : 0x91, 1);
	put_string(&body, buf_bytes(&text));
	put_frame(&c->wire[1], REPLY, (unsigned)c->status, 0x2f060771e6dc0000 + i,
		  buf_bytes(&body));
	c->body_off[0] = c->body_off[1] = 16;
	buf_fini(&body);
	buf_fini(&text);
}

static const struct lossy_protocol lossy = {.name = "dubbo2", .make = make, .in_flight = 4};
static const struct lossy_protocol serial = {.name = "dubbo2", .make = make, .in_flight = 1};

static void late_at_every_offset(void **state)
{
	(void)state;
	lossy_hold_late(&lossy, &serial);
}

static void random_drops(void **state)
{
	(void)state;
	lossy_hold_drops(&lossy);
}

/* Two heartbeats are a verified start, and bytes that are no frame follow: `times` contradictions, no call between. */
static void contradict(unsigned times)
{
	struct buf b = {0};

	for (unsigned i = 0; i < times; i++) {
		b.n = 0;
		put_frame(&b, EVENT, 0, 2 * i, BYTES("N"));
		put_frame(&b, EVENT, 0, 2 * i + 1, BYTES("N"));
		put_text(&b, "bytes that are no frame of this protocol, whatever their number");
		wire_send_raw(DIR_REQUEST, buf_bytes(&b));
	}
	buf_fini(&b);
}

static void one_call(unsigned i)
{
	struct lossy_call c = {0};

	make(i, 10, &c);
	wire_send_raw(DIR_REQUEST, buf_bytes(&c.wire[0]));
	wire_send_raw(DIR_RESPONSE, buf_bytes(&c.wire[1]));
	buf_fini(&c.wire[0]);
	buf_fini(&c.wire[1]);
}

/* A protocol that is contradicted again and again is given up, counted; what it told before stays. */
static void contradictions_undo(void **state)
{
	enum { ENOUGH = 9 };

	(void)state;
	for (unsigned times = ENOUGH - 1; times <= ENOUGH; times++) {
		wire_open(false);
		one_call(0);
		contradict(times);
		one_call(1);
		one_call(2);
		assert_int_equal(wire_counted("undone"), times == ENOUGH);
		assert_int_equal(wire_counted("misdetected"), 0);
		wire_close(FLOW_FIN);
		assert_string_equal(wire_next()->method, "method0");
		if (times < ENOUGH)
			while (strcmp(wire_next()->method, "method2") != 0)
				;
		else
			assert_string_equal(wire_next()->protocol, "opaque");
		wire_expect_none();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contradictions_undo),
		cmocka_unit_test(late_at_every_offset),
		cmocka_unit_test(random_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
