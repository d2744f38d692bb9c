/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/kafka_embedded.h"

#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

enum { EMBEDDED_BROKERS = 1, EMBEDDED_PARTITIONS = 4 };

struct kafka_embedded {
	rd_kafka_t *host; /* a handle that only carries the cluster's thread */
	rd_kafka_mock_cluster_t *cluster;
};

static void no_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
	(void)rk, (void)level, (void)facility, (void)line;
}

static int start(struct kafka_embedded *e, const char *topic, const char *ledger_topic, char *err,
		 size_t err_n)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, no_log);
	e->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, err_n);
	if (!e->host) {
		rd_kafka_conf_destroy(conf);
		return -1;
	}
	e->cluster = rd_kafka_mock_cluster_new(e->host, EMBEDDED_BROKERS);
	if (!e->cluster || rd_kafka_mock_topic_create(e->cluster, topic, EMBEDDED_PARTITIONS, 1) ||
	    rd_kafka_mock_topic_create(e->cluster, ledger_topic, EMBEDDED_PARTITIONS, 1)) {
		snprintf(err, err_n, "kafka: the embedded cluster did not start");
		return -1;
	}
	return 0;
}

struct kafka_embedded *kafka_embedded_new(const char *topic, const char *ledger_topic, char *err,
					  size_t err_n)
{
	struct kafka_embedded *e = calloc(1, sizeof(*e));
	if (!e || start(e, topic, ledger_topic, err, err_n) != 0) {
		kafka_embedded_free(e);
		return NULL;
	}
	fprintf(stderr,
		"sidetap: embedded Kafka for demonstrations: it lives as long as this process and keeps about 5 MB a "
		"partition\nbootstrap.servers=%s\n",
		kafka_embedded_bootstrap(e));
	return e;
}

const char *kafka_embedded_bootstrap(const struct kafka_embedded *e)
{
	return rd_kafka_mock_cluster_bootstraps(e->cluster);
}

void kafka_embedded_free(struct kafka_embedded *e)
{
	if (!e)
		return;
	if (e->cluster)
		rd_kafka_mock_cluster_destroy(e->cluster);
	if (e->host)
		rd_kafka_destroy(e->host);
	free(e);
}
