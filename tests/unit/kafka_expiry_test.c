/* SPDX-License-Identifier: Apache-2.0 */
/* K12: records that expire in librdkafka (message.timeout.ms), in flight or still queued, with a spool and without. */
#include "tests/unit/kafka_rig.h"

/* A broker that keeps what it gets and answers after the records' time is up: they were in flight, and may be there. */
static void k12_expired_in_flight(void **state)
{
	(void)state;
	strcat(g.uri, "&message.timeout.ms=800");
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	assert_int_equal(inside()->duplicates_possible, 0);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 4000);
	send_n(200);
	WAIT_FOR(!inside()->direct);
	send_n(200);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 0);
	WAIT_FOR(g.n_delivered == 500);
	assert_true(inside()->duplicates_possible > 0);
	all_is_there(500);
	WAIT_FOR(is_idle());
	g.ops->close(g.s);
}

/* Of all partitions: a broker, or -1; and a moment until the client has heard of it. */
static void leaders(int32_t broker)
{
	for (int i = 0; i < 4; i++)
		rd_kafka_mock_partition_set_leader(g.mock, "t", i, broker);
	for (int i = 0; i < 10; i++)
		turn(100);
}

/* No leader: what expires never left. It is sent again, and nothing may be there twice. */
static void k12_expired_in_the_queue(void **state)
{
	(void)state;
	strcat(g.uri, "&message.timeout.ms=800&topic.metadata.refresh.interval.ms=200");
	open_with(true, 16 << 20);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	leaders(-1);
	send_n(200);
	WAIT_FOR(!inside()->direct);
	send_n(200);
	leaders(1);
	WAIT_FOR(g.n_delivered == 500);
	assert_int_equal(inside()->duplicates_possible, 0);
	all_is_there(500);
	WAIT_FOR(is_idle());
	g.ops->close(g.s);
}

/* Without a spool nobody sends again: each leaves by its status. */
static void k12_expired_without_a_spool(void **state)
{
	(void)state;
	strcat(g.uri, "&message.timeout.ms=800&topic.metadata.refresh.interval.ms=200");
	open_with(false, 0);
	send_n(100);
	WAIT_FOR(g.n_delivered == 100);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 4000);
	send_n(100); /* one request is in flight, what is for other partitions waits for it */
	WAIT_FOR(g.n_lost == 100);
	rd_kafka_mock_broker_set_rtt(g.mock, 1, 0);
	send_n(100);
	WAIT_FOR(g.n_delivered + g.n_lost == 300);
	uint64_t lost = g.n_lost, maybe = 0;
	leaders(-1);
	send_n(100);
	WAIT_FOR(g.n_lost == lost + 100);
	leaders(1);
	uint64_t twice;
	read_topic(&twice);
	for (uint64_t i = 1; i < g.next; i++) {
		bool unknown = g.exit[i] && !strcmp(g.exit[i], "possibly_persisted");
		maybe += unknown;
		if (!g.exit[i])
			assert_int_equal(g.seen[i], 1);
		else if (!unknown) {
			assert_string_equal(g.exit[i], "timed_out");
			assert_int_equal(g.seen[i], 0);
		}
		assert_true(i <= 300 || !unknown);
	}
	assert_true(maybe > 0 && maybe < lost);
	g.ops->close(g.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(k12_expired_in_flight),
		TEST(k12_expired_in_the_queue),
		TEST(k12_expired_without_a_spool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
