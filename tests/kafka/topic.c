/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creates topics and deletes them (kcat cannot):
 *   topic BOOTSTRAP PARTITIONS [-r REPLICAS] [-c PROPERTY=VALUE]... NAME...
 *   topic BOOTSTRAP delete NAME...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

enum { MAX_TOPICS = 16, MAX_CONFIG = 8, TIMEOUT_MS = 15000 };

static int wait_result(rd_kafka_queue_t *q)
{
	rd_kafka_event_t *ev = rd_kafka_queue_poll(q, TIMEOUT_MS);
	const rd_kafka_CreateTopics_result_t *made =
		ev ? rd_kafka_event_CreateTopics_result(ev) : NULL;
	const rd_kafka_DeleteTopics_result_t *gone =
		ev ? rd_kafka_event_DeleteTopics_result(ev) : NULL;
	int failed = 0;
	size_t n = 0;

	if (!ev || rd_kafka_event_error(ev)) {
		fprintf(stderr, "topic: %s\n", ev ? rd_kafka_event_error_string(ev) : "no answer");
		return 1;
	}
	const rd_kafka_topic_result_t **topics =
		made ? rd_kafka_CreateTopics_result_topics(made, &n)
		     : rd_kafka_DeleteTopics_result_topics(gone, &n);
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

static int create(rd_kafka_t *rk, int partitions, int argc, char **argv)
{
	char err[256], *config[MAX_CONFIG];
	rd_kafka_NewTopic_t *topics[MAX_TOPICS];
	int c, replicas = 1, n_config = 0, n = 0;
	while ((c = getopt(argc, argv, "r:c:")) != -1) {
		if (c == 'r')
			replicas = atoi(optarg);
		else if (c == 'c' && n_config < MAX_CONFIG)
			config[n_config++] = optarg;
	}
	for (; optind < argc && n < MAX_TOPICS; optind++, n++) {
		topics[n] =
			rd_kafka_NewTopic_new(argv[optind], partitions, replicas, err, sizeof(err));
		for (int i = 0; i < n_config; i++) {
			char name[128];
			const char *value = strchr(config[i], '=');
			snprintf(name, sizeof(name), "%.*s", (int)strcspn(config[i], "="),
				 config[i]);
			rd_kafka_NewTopic_set_config(topics[n], name, value ? value + 1 : "");
		}
	}
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_CreateTopics(rk, topics, (size_t)n, NULL, q);
	int rc = wait_result(q);
	rd_kafka_NewTopic_destroy_array(topics, (size_t)n);
	rd_kafka_queue_destroy(q);
	return rc;
}

static int delete (rd_kafka_t *rk, int n, char **names)
{
	rd_kafka_DeleteTopic_t *topics[MAX_TOPICS];
	for (int i = 0; i < n; i++)
		topics[i] = rd_kafka_DeleteTopic_new(names[i]);
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_DeleteTopics(rk, topics, (size_t)n, NULL, q);
	int rc = wait_result(q);
	rd_kafka_DeleteTopic_destroy_array(topics, (size_t)n);
	rd_kafka_queue_destroy(q);
	return rc;
}

int main(int argc, char **argv)
{
	char err[256];

	if (argc < 4 || argc - 3 > MAX_TOPICS) {
		fprintf(stderr,
			"usage: topic BOOTSTRAP PARTITIONS [-r N] [-c NAME=VALUE]... NAME...\n"
			"       topic BOOTSTRAP delete NAME...\n");
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
	int rc = strcmp(argv[2], "delete") == 0 ? delete (rk, argc - 3, argv + 3)
						: create(rk, atoi(argv[2]), argc - 2, argv + 2);
	rd_kafka_destroy(rk);
	return rc;
}
