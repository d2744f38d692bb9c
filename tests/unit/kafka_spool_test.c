/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kafka sink with a spool, against librdkafka's mock cluster and its faults (K1-K11, K15). Each case holds what must
 * be true after any of them: every record was reported once, what is reported delivered is in the topic, duplicates
 * only where counted, each connection in its order, and no turn of the loop took long.
 */
#include "tests/unit/kafka_rig.h"

static void quick(void)
{
	/* the promise is 10 ms; a machine that takes the processor away for longer is no failure of ours */
	const struct turn_times *t = &g.turn.longest;
	if (t->clock_ns > 100000000)
		fail_msg("a turn took %.1f ms", (double)t->clock_ns / 1e6);
	printf("# slowest turn %.2f ms, %.2f of CPU, %.2f blocked\n", (double)t->clock_ns / 1e6,
	       (double)t->cpu_ns / 1e6, (double)t->blocked_ns / 1e6);
}

static void k1_broker_down_at_start(void **state)
{
	(void)state;
	rd_kafka_mock_broker_set_down(g.mock, 1);
	open_with(true, 16 << 20);
	for (int i = 0; i < 5; i++) /* an empty spool proves nothing about the broker */
		turn(150);
	assert_false(inside()->direct);
	send_n(500);
	assert_int_equal(g.n_delivered, 0);
	rd_kafka_mock_broker_set_up(g.mock, 1);
	WAIT_FOR(g.n_delivered == 500);
	WAIT_FOR(inside()->direct);
	send_n(100);
	WAIT_FOR(g.n_delivered == 600);
	all_is_there(600);
	assert_true(is_idle());
	g.ops->close(g.s);
}

static void k2_broker_dies_and_returns(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	send_n(300);
	WAIT_FOR(g.n_delivered == 300);
	rd_kafka_mock_broker_set_down(g.mock, 1);
	send_n(300);
	WAIT_FOR(!inside()->direct);
	send_n(700);
	assert_true(inside()->outages >= 1);
	rd_kafka_mock_broker_set_up(g.mock, 1);
	WAIT_FOR(inside()->direct);
	send_n(200);
	WAIT_FOR(g.n_delivered == 1500);
	all_is_there(1500);
	quick();
	assert_true(is_idle());
	g.ops->close(g.s);
}

static void k3_a_broker_that_stalls(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 60000);
	send_n(500);
	WAIT_FOR(!inside()->direct); /* 5 s without an answer */
	send_n(500);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 0);
	WAIT_FOR(g.n_delivered == 1100);
	g.mock_doubles = true;
	all_is_there(1100);
	quick();
	g.ops->close(g.s);
}

static void k4_a_full_queue_goes_to_the_spool(void **state)
{
	(void)state;
	strcat(g.uri, "&queue.buffering.max.messages=50");
	open_with(true, 16 << 20);
	send_n(2000);
	assert_true(inside()->outages >= 1);
	WAIT_FOR(g.n_delivered == 2000);
	all_is_there(2000);
	quick();
	g.ops->close(g.s);
}

/* The queue is full in the middle of a turn that goes on for long: what it gave back is heard of only after it, and is older
 * than what came meanwhile. */
static void k4_a_full_queue_in_a_long_turn(void **state)
{
	(void)state;
	strcat(g.uri, "&queue.buffering.max.messages=50");
	open_with(true, 16 << 20);
	for (int i = 0; i < 5; i++) {
		const char *exit;
		WAIT_FOR(inside()->direct);
		while (inside()->direct) {
			struct record *r = make(g.next++);
			assert_int_equal(submit(&r, &exit), 0);
		}
		poll(NULL, 0, 300); /* of the turn, not of the test */
		for (int k = 0; k < 200; k++) {
			struct record *r = make(g.next++);
			assert_int_equal(submit(&r, &exit), 0);
		}
		WAIT_FOR(g.n_delivered == g.next - 1);
	}
	all_is_there(g.next - 1);
	g.ops->close(g.s);
}

static void k5_errors_of_the_broker(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	rd_kafka_mock_push_request_errors(
		g.mock, PRODUCE, 6, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
		RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
		RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
	send_n(400);
	WAIT_FOR(g.n_delivered == 400);
	all_is_there(400);
	g.ops->close(g.s);
}

static void k7_not_allowed_for_a_while(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	send_n(10);
	WAIT_FOR(g.n_delivered == 10);
	rd_kafka_mock_push_request_errors(g.mock, PRODUCE, 1,
					  RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	send_n(100);
	WAIT_FOR(g.n_delivered == 110);
	assert_true(inside()->outages >= 1);
	all_is_there(110);
	g.ops->close(g.s);
}

/* One of a batch was too large: the others arrive, the one is named. */
static void k8_a_refused_record_is_found_alone(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	rd_kafka_mock_push_request_errors(g.mock, PRODUCE, 2, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
					  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	for (int i = 0; i < 20; i++) { /* of one connection, so of one batch */
		g.next = (uint64_t)i * CONNECTIONS + CONNECTIONS;
		send_n(1);
	}
	WAIT_FOR(g.n_delivered + g.n_lost == 20);
	assert_int_equal(g.n_lost, 1);
	assert_int_equal(inside()->quarantined, 1);
	uint64_t twice, lost = 0;
	for (uint64_t i = 1; i < NUMBERS; i++)
		if (g.exit[i]) {
			assert_string_equal(g.exit[i], "too_large");
			lost = i;
		}
	assert_true(lost > 0);
	assert_int_equal(read_topic(&twice), 19);
	assert_int_equal(g.seen[lost], 0);
	assert_true(inside()->direct); /* and nothing waited for it */
	g.ops->close(g.s);
}

/* K8: one that the client refuses must not stand in the way of what comes behind it out of the spool. */
static void k8_too_large_for_the_client_out_of_the_spool(void **state)
{
	(void)state;
	strcat(g.uri, "&message.max.bytes=1000");
	rd_kafka_mock_broker_set_down(g.mock, 1);
	open_with(true, 16 << 20);
	send_n(50);
	struct record *r = NULL;
	uint8_t body[3000] = {1};
	struct record_call c = {.connection_id = bytes_str("aaaaaaaaaaaaaaaa-1"),
				.record_number = g.next++,
				.last_part = true,
				.request = {.present = true, .body = {body, sizeof(body)}}};
	const char *exit;
	assert_int_equal(record_encode(&c, &r), 0);
	assert_int_equal(g.ops->submit(g.s, &r, &exit), 0);
	send_n(50);
	rd_kafka_mock_broker_set_up(g.mock, 1);
	WAIT_FOR(g.n_delivered == 100);
	WAIT_FOR(is_idle());
	assert_int_equal(g.n_lost, 1);
	assert_string_equal(g.exit[51], "too_large");
	g.ops->close(g.s);
}

/* K10: the directory knows whose records lie in it. */
static void k10_nothing_for_another_cluster(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	g.ops->close(g.s);
	rd_kafka_mock_cluster_t *mine = g.mock;
	g.mock = rd_kafka_mock_cluster_new(g.host, 1);
	rd_kafka_mock_topic_create(g.mock, "t", 4, 1);
	rd_kafka_mock_topic_create(g.mock, "t.ledger", 1, 1);
	char own[sizeof(g.uri)];
	memcpy(own, g.uri, sizeof(own));
	snprintf(g.uri, sizeof(g.uri), "kafka://%s/t?log_level=0",
		 rd_kafka_mock_cluster_bootstraps(g.mock));
	open_with(true, 16 << 20);
	assert_true(inside()->wrong_cluster);
	send_n(100);
	assert_int_equal(g.ops->drain(g.s, 1000), 0);
	assert_int_equal(g.n_spooled, 100);
	assert_non_null(strstr(g.ops->status(g.s), "wrong cluster"));
	uint64_t twice;
	assert_int_equal(read_topic(&twice), 0);
	g.ops->close(g.s);
	rd_kafka_mock_cluster_destroy(g.mock);
	g.mock = mine; /* the right one gets them */
	memcpy(g.uri, own, sizeof(own));
	open_with(true, 16 << 20);
	WAIT_FOR(is_idle());
	assert_int_equal(read_topic(&twice), 200);
	g.ops->close(g.s);
}

static void k11_a_fatal_producer_is_renewed(void **state)
{
	(void)state;
	for (int spool = 0; spool < 2; spool++) {
		g.next = spool ? 5000 : 1;
		g.n_delivered = 0;
		open_with(spool, 16 << 20);
		send_n(200);
		WAIT_FOR(g.n_delivered == 200);
		rd_kafka_mock_push_request_errors(g.mock, PRODUCE, 1,
						  RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
		send_n(300);
		WAIT_FOR(g.n_delivered == 500);
		assert_true(inside()->renewals >= 1);
		assert_int_equal(g.n_lost, 0);
		send_n(100);
		WAIT_FOR(g.n_delivered == 600);
		g.ops->close(g.s);
	}
	uint64_t twice;
	assert_int_equal(read_topic(&twice), 1200);
}

/* Cannot be sent before the end: it stays on disk, and the next process sends it, beside its own. */
static void k15_the_rest_stays_and_is_sent_by_the_next(void **state)
{
	(void)state;
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	rd_kafka_mock_broker_set_down(g.mock, 1);
	send_n(400);
	assert_int_equal(g.ops->drain(g.s, 2000), 0);
	assert_int_equal(g.n_spooled, 400);
	assert_int_equal(g.n_lost, 0);
	for (uint64_t i = 1; i < g.next; i++)
		assert_int_equal(g.reported[i], 1);
	g.ops->close(g.s);
	rd_kafka_mock_broker_set_up(g.mock, 1);
	g.instance = "bbbbbbbbbbbbbbbb";
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 200);
	WAIT_FOR(is_idle());
	assert_int_equal(g.n_spooled, 400); /* nothing of theirs is reported here */
	uint64_t twice;
	assert_int_equal(read_topic(&twice), 600);
	g.ops->close(g.s);
}

/* D10 in the flow: what the cap pushed out is named exactly, the rest arrives. */
static void a_spool_that_does_not_suffice(void **state)
{
	(void)state;
	rd_kafka_mock_broker_set_down(g.mock, 1);
	open_with(true, 1 << 20);
	send_n(5000);
	WAIT_FOR(spool_stats(inside()->spool).waiting == 0);
	turn(100);
	rd_kafka_mock_broker_set_up(g.mock, 1);
	WAIT_FOR(is_idle());
	assert_true(g.n_lost > 1000);
	assert_int_equal(g.n_lost + g.n_delivered, 5000);
	uint64_t twice;
	assert_int_equal(read_topic(&twice), g.n_delivered);
	for (uint64_t i = 1; i <= 5000; i++) {
		assert_int_equal(g.reported[i], 1);
		assert_int_equal(g.seen[i], !g.exit[i]);
		if (g.exit[i])
			assert_string_equal(g.exit[i], "spool_evicted");
	}
	g.ops->close(g.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(k1_broker_down_at_start),
		TEST(k2_broker_dies_and_returns),
		TEST(k3_a_broker_that_stalls),
		TEST(k4_a_full_queue_goes_to_the_spool),
		TEST(k4_a_full_queue_in_a_long_turn),
		TEST(k5_errors_of_the_broker),
		TEST(k7_not_allowed_for_a_while),
		TEST(k8_a_refused_record_is_found_alone),
		TEST(k8_too_large_for_the_client_out_of_the_spool),
		TEST(k10_nothing_for_another_cluster),
		TEST(k11_a_fatal_producer_is_renewed),
		TEST(k15_the_rest_stays_and_is_sent_by_the_next),
		TEST(a_spool_that_does_not_suffice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
