/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka sink before a mock cluster, with a spool or without: what was sent, reported, and is in the topic. */
#pragma once
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/clock.h"
#include "capture/turn.h"
#include "record.pb-c.h"
#include "sink/kafka_state.h"
#include "sink/source.h"

enum { NUMBERS = 20000, CONNECTIONS = 7, PRODUCE = 0 };

struct rig {
	rd_kafka_t *host;
	rd_kafka_mock_cluster_t *mock;
	char uri[300], dir[64];
	struct sink *s;
	const struct sink_ops *ops;
	unsigned reported[NUMBERS], delivered[NUMBERS], seen[NUMBERS];
	const char *exit[NUMBERS];
	uint64_t n_delivered, n_spooled, n_lost;
	uint64_t next;
	const char *instance;
	bool mock_doubles;
	struct turn turn; /* around what of the sink the loop calls */
};

static struct rig g;

static void on_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      const char *exit)
{
	(void)ctx, (void)last_part;
	if (kind == RECORD_LEDGER)
		return;
	assert_true(number < NUMBERS);
	g.reported[number]++;
	g.exit[number] = exit;
	g.delivered[number] += !exit;
	g.n_delivered += !exit;
	g.n_spooled += exit && !strcmp(exit, "spooled");
	g.n_lost += exit && strcmp(exit, "spooled");
}

static int setup(void **state)
{
	char err[200];
	(void)state;
	g = (struct rig) {.next = 1, .instance = "aaaaaaaaaaaaaaaa"};
	turn_open(&g.turn);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "log_level", "0", err, sizeof(err));
	g.host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	g.mock = rd_kafka_mock_cluster_new(g.host, 1);
	rd_kafka_mock_topic_create(g.mock, "t", 4, 1);
	rd_kafka_mock_topic_create(g.mock, "t.ledger", 1, 1);
	snprintf(g.uri, sizeof(g.uri),
		 "kafka://%s/t?socket.timeout.ms=1000&reconnect.backoff.max.ms=200&log_level=0",
		 rd_kafka_mock_cluster_bootstraps(g.mock));
	snprintf(g.dir, sizeof(g.dir), "/tmp/kafka-spool-XXXXXX");
	return mkdtemp(g.dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];
	(void)state;
	turn_close(&g.turn);
	rd_kafka_mock_cluster_destroy(g.mock);
	rd_kafka_destroy(g.host);
	snprintf(command, sizeof(command), "rm -rf '%s'", g.dir);
	return system(command);
}

static void open_with(bool spool, uint64_t bytes)
{
	char err[512] = "";
	struct sink_cfg cfg = {.instance = g.instance,
			       .report = on_report,
			       .spool = spool ? g.dir : NULL,
			       .spool_bytes = bytes};
	g.s = sink_open(g.uri, &cfg, &g.ops, err, sizeof(err));
	if (!g.s)
		fail_msg("%s", err);
}

static struct record *make(uint64_t number)
{
	char id[32];
	uint8_t body[400];
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(number * 7 + i);
	snprintf(id, sizeof(id), "%s-%u", g.instance, (unsigned)(number % CONNECTIONS));
	struct record_call c = {.connection_id = bytes_str(id),
				.sequence = number,
				.record_number = number,
				.last_part = true,
				.protocol = "grpc",
				.request = {.present = true, .body = {body, sizeof(body)}}};
	struct record *r = NULL;
	assert_int_equal(record_encode(&c, &r), 0);
	return r;
}

/* The loop: waits at most ms for news */
static void turn(int ms)
{
	struct pollfd f = {.fd = g.ops->fd(g.s), .events = POLLIN};
	if (poll(&f, 1, ms) <= 0)
		return;
	turn_begin(&g.turn);
	g.ops->service(g.s);
	turn_end(&g.turn);
}

static int submit(struct record **r, const char **exit)
{
	turn_begin(&g.turn);
	int e = g.ops->submit(g.s, r, exit);
	turn_end(&g.turn);
	return e;
}

/* n more records, taken all; a full queue gets its turns. */
static void send_n(unsigned n)
{
	const char *exit = NULL;
	for (unsigned i = 0; i < n; i++) {
		struct record *r = make(g.next);
		int e = submit(&r, &exit);
		for (int j = 0; e == -EAGAIN && j < 10000; j++) {
			turn(1);
			e = submit(&r, &exit);
		}
		if (e)
			fail_msg("record %llu refused: %s", (unsigned long long)g.next, exit);
		g.next++;
		if (i % 50 == 49)
			turn(0);
	}
}

static struct kafka *inside(void)
{
	return (struct kafka *)g.s;
}

/* Turns until it holds; fails after 30 s. */
#define WAIT_FOR(x)                                                                                \
	do {                                                                                       \
		uint64_t end = clock_ns(CLOCK_MONOTONIC) + 30000000000ull;                         \
		while (!(x) && clock_ns(CLOCK_MONOTONIC) < end)                                    \
			turn(20);                                                                  \
		if (!(x))                                                                          \
			fail_msg("never: %s; %s", #x, g.ops->status(g.s));                         \
	} while (0)

static bool is_idle(void)
{
	uint64_t n, bytes;
	return !g.ops->held(g.s, &n, &bytes);
}

/* Reads the topic: each number at most once but for the counted duplicates, each connection in order of first
 * arrival. The number of different records. */
static uint64_t read_topic(uint64_t *twice)
{
	struct source_cfg cfg = {.calls = true};
	const struct source_ops *in;
	char err[512], plain[300];
	struct bytes data;
	enum record_kind kind;
	uint64_t n = 0, last[2][CONNECTIONS] = {0};
	snprintf(plain, sizeof(plain), "kafka://%s/t", rd_kafka_mock_cluster_bootstraps(g.mock));
	struct source *source = source_open(plain, &cfg, &in, err, sizeof(err));
	if (!source)
		fail_msg("%s", err);
	*twice = 0;
	memset(g.seen, 0, sizeof(g.seen));
	while (in->next(source, &data, &kind, err, sizeof(err)) == 1) {
		Sidetap__V1__Call *c = record_decode(data);
		assert_non_null(c);
		uint64_t number = c->record_number,
			 *before = &last[c->id[0] == 'b'][number % CONNECTIONS];
		sidetap__v1__call__free_unpacked(c, NULL);
		assert_true(number > 0 && number < NUMBERS);
		if (g.seen[number]++) {
			++*twice;
			continue;
		}
		n++;
		if (number < *before)
			fail_msg("record %llu after %llu of the same connection",
				 (unsigned long long)number, (unsigned long long)*before);
		*before = number;
	}
	in->close(source);
	return n;
}

static void all_is_there(uint64_t sent)
{
	uint64_t twice;
	assert_int_equal(read_topic(&twice), sent);
	/* the mock keeps both copies of a batch that the client sent again because the answer was late */
	if (!g.mock_doubles)
		assert_true(twice <= inside()->duplicates_possible);
	for (uint64_t i = 1; i < g.next; i++) {
		assert_int_equal(g.reported[i], 1);
		assert_int_equal(g.delivered[i], 1);
	}
	assert_int_equal(g.n_lost, 0);
}
