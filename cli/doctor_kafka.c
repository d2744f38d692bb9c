/* SPDX-License-Identifier: Apache-2.0 */
/* Can the brokers of -o be reached, and is the topic there? */
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/doctor.h"
#include "sink/kafka_conf.h"

enum { ASK_MS = 2000 };

struct target {
	struct kafka_spec spec;
	rd_kafka_conf_t *conf; /* owned */
};

static void quiet(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk, (void)level, (void)facility, (void)text; /* the answer says it in one line */
}

/* Properties that librdkafka does not know are left to the sink, which refuses them with its reason. */
static bool target_of(struct target *t, const char *sink, char *why, size_t why_n)
{
	char err[256];
	snprintf(why, why_n, "is not kafka://HOST:PORT/TOPIC");
	if (strncmp(sink, "kafka://", 8) != 0 ||
	    kafka_spec_parse(&t->spec, sink + 6, why, why_n) < 0)
		return false;
	t->conf = rd_kafka_conf_new();
	for (size_t i = 0; i < t->spec.n_properties; i++)
		rd_kafka_conf_set(t->conf, t->spec.properties[i].name, t->spec.properties[i].value,
				  err, sizeof(err));
	rd_kafka_conf_set(t->conf, "bootstrap.servers", t->spec.brokers, err, sizeof(err));
	/* a look must not create the topic: as a consumer asks, which may not */
	rd_kafka_conf_set(t->conf, "allow.auto.create.topics", "false", err, sizeof(err));
	rd_kafka_conf_set_log_cb(t->conf, quiet);
	return true;
}

static void judge(struct doctor_kafka *k, const struct rd_kafka_metadata *m, const char *topic)
{
	const struct rd_kafka_metadata_topic *found = NULL;
	for (int i = 0; i < m->topic_cnt && !found; i++)
		if (strcmp(m->topics[i].topic, topic) == 0)
			found = &m->topics[i];
	k->ok = found && !found->err;
	if (k->ok)
		snprintf(k->text, sizeof(k->text), "%d brokers; topic %.120s has %d partitions",
			 m->broker_cnt, topic, found->partition_cnt);
	else
		snprintf(k->text, sizeof(k->text), "%d brokers; topic %.120s: %.80s", m->broker_cnt,
			 topic, found ? rd_kafka_err2str(found->err) : "not there");
}

static void ask(struct doctor_kafka *k, struct target *t)
{
	char err[256], line[512];
	const struct rd_kafka_metadata *m = NULL;
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, t->conf, err, sizeof(err));
	if (!rk) {
		rd_kafka_conf_destroy(t->conf);
		log_escape(k->text, sizeof(k->text), bytes_str(err));
		return;
	}
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, t->spec.topic, NULL);
	rd_kafka_resp_err_t rc =
		topic ? rd_kafka_metadata(rk, 0, topic, &m, ASK_MS) : rd_kafka_last_error();
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR && m) {
		judge(k, m, t->spec.topic);
		rd_kafka_metadata_destroy(m);
	} else {
		snprintf(line, sizeof(line), "%.200s: %s", t->spec.brokers, rd_kafka_err2str(rc));
		log_escape(k->text, sizeof(k->text), bytes_str(line));
	}
	if (topic)
		rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(rk);
}

void doctor_look_kafka(struct doctor_kafka *k, const char *sink)
{
	struct target t = {.conf = NULL};
	char why[512];
	k->asked = true;
	if (!target_of(&t, sink, why, sizeof(why))) {
		log_escape(k->text, sizeof(k->text), bytes_str(why));
		return;
	}
	ask(k, &t);
	if (!k->ok)
		k->caveat = kafka_spec_caveat(&t.spec, rd_kafka_version());
	kafka_spec_fini(&t.spec);
}
