/* SPDX-License-Identifier: Apache-2.0 */
/* Creates topics: topic BOOTSTRAP PARTITIONS NAME... (kcat cannot). */
#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>

enum { MAX_TOPICS = 16, TIMEOUT_MS = 15000 };

static int wait_result(rd_kafka_queue_t *q)
{
	rd_kafka_event_t *ev = rd_kafka_queue_poll(q, TIMEOUT_MS);
	const rd_kafka_CreateTopics_result_t *res =
		ev ? rd_kafka_event_CreateTopics_result(ev) : NULL;
	int failed = 0;
	size_t n = 0;

	if (!res || rd_kafka_event_error(ev)) {
		fprintf(stderr, "topic: %s\n", ev ? rd_kafka_event_error_string(ev) : "no answer");
		return 1;
	}
	const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(res, &n);
	for (size_t i = 0; i < n; i++) {
		rd_kafka_resp_err_t err = rd_kafka_topic_result_error(topics[i]);
		if (!err)
			continue;
		fprintf(stderr, "topic: %s: %s\n", rd_kafka_topic_result_name(topics[i]),
			rd_kafka_err2str(err));
		failed = 1;
	}
	rd_kafka_event_destroy(ev);
	return failed;
}

int main(int argc, char **argv)
{
	char err[256];
	rd_kafka_NewTopic_t *topics[MAX_TOPICS];
	int n = argc - 3;

	if (n < 1 || n > MAX_TOPICS) {
		fprintf(stderr, "usage: topic BOOTSTRAP PARTITIONS NAME...\n");
		return 2;
	}
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], err, sizeof(err)) !=
	    RD_KAFKA_CONF_OK) {
		fprintf(stderr, "topic: %s\n", err);
		return 1;
	}
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	if (!rk) {
		fprintf(stderr, "topic: %s\n", err);
		return 1;
	}
	for (int i = 0; i < n; i++)
		topics[i] = rd_kafka_NewTopic_new(argv[3 + i], atoi(argv[2]), 1, err, sizeof(err));
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_CreateTopics(rk, topics, (size_t)n, NULL, q);
	int rc = wait_result(q);
	rd_kafka_NewTopic_destroy_array(topics, (size_t)n);
	rd_kafka_queue_destroy(q);
	rd_kafka_destroy(rk);
	return rc;
}
