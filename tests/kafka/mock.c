/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's mock cluster in a process of its own: prints its bootstrap address, ends when stdin does. */
#include <stdio.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

enum { PARTITIONS = 4 };

static void no_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
	(void)rk, (void)level, (void)facility, (void)line;
}

int main(int argc, char **argv)
{
	char err[256], c;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	rd_kafka_conf_set_log_cb(conf, no_log);
	rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	rd_kafka_mock_cluster_t *cluster = host ? rd_kafka_mock_cluster_new(host, 1) : NULL;
	if (!cluster) {
		fprintf(stderr, "mock: %s\n", host ? "no cluster" : err);
		return 1;
	}
	for (int i = 1; i < argc; i++)
		rd_kafka_mock_topic_create(cluster, argv[i], PARTITIONS, 1);
	puts(rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(host);
	return 0;
}
