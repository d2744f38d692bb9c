/* SPDX-License-Identifier: Apache-2.0 */
/* What a Kafka sink and a Kafka source share: the address, the properties, the callbacks of a
 * client. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

enum { KAFKA_PROPERTIES_MAX = 64, KAFKA_PORTS_MAX = 16 };

/* "//HOST:PORT[,HOST:PORT...]/TOPIC[?property=value&...]" or "embedded[/TOPIC][?...]". A value may be "file:PATH" or
 * "env:NAME" (sink/kafka_secret.h): the property holds what stands there. */
struct kafka_spec {
	bool embedded;
	char *brokers; /* NULL when embedded */
	char *topic, *ledger_topic; /* TOPIC, TOPIC.ledger */
	struct kafka_property {
		char *name, *value;
	} properties[KAFKA_PROPERTIES_MAX];
	size_t n_properties;
};

/* 0; -EINVAL: err says what is allowed. kafka_spec_fini() is due after success only. */
int kafka_spec_parse(struct kafka_spec *s, const char *spec, char *err, size_t err_n);
void kafka_spec_fini(struct kafka_spec *s);

/*
 * What these properties ask of the librdkafka that is loaded (rd_kafka_version(), for tests) and it cannot do with every
 * broker, and what to do instead; NULL: nothing known.
 */
const char *kafka_spec_caveat(const struct kafka_spec *s, int version);

/* The opaque of a handle: first member of whatever else the owner wants there. */
struct kafka_client {
	void (*own_port)(void *ctx, uint16_t port, bool in_use); /* may be NULL */
	void *own_port_ctx;
	atomic_bool quiet; /* nothing on stderr: open() reports by itself */
	char last_error[256]; /* escaped; set on the thread that polls */
	bool all_down; /* no broker is reachable, as far as is known */
	pthread_mutex_t lock; /* of the ports: librdkafka's threads call */
	uint16_t closed
		[KAFKA_PORTS_MAX]; /* last ports given up: still marked, their FINs are under way */
	unsigned n_closed;
};

void kafka_client_init(struct kafka_client *c);
void kafka_client_fini(struct kafka_client *c); /* after rd_kafka_destroy: gives up every port */
void kafka_client_port(struct kafka_client *c, uint16_t port, bool in_use);

struct kafka_setting {
	const char *name, *value;
};

/*
 * A configuration with the settings, then the user's properties over them, and the callbacks of
 * `client`. NULL: err names the property.
 */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_spec *s, const struct kafka_setting *settings,
				size_t n, const char *brokers, struct kafka_client *client,
				char *err, size_t err_n);

/* The topic's max.message.bytes, asked of the broker; 0: it does not say (no permission, or no answer in time). */
uint64_t kafka_conf_topic_max(rd_kafka_t *rk, const char *topic, int timeout_ms);

/* The topic's number of partitions. -ENOENT: it is not there; -EACCES; -ETIMEDOUT: no broker
 * answered within timeout_ms. err says what to do. */
int kafka_conf_topic(rd_kafka_t *rk, struct kafka_client *c, const char *brokers,
		     rd_kafka_topic_t *topic, int timeout_ms, char *err, size_t err_n);
