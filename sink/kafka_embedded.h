/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's mock cluster in this process, for demonstrations and tests: one broker, 4
 * partitions. */
#pragma once
#include <stddef.h>

struct kafka_embedded;

/* NULL: err says why. Says the bootstrap address on stderr. */
struct kafka_embedded *kafka_embedded_new(const char *topic, const char *ledger_topic, char *err,
					  size_t err_n);
const char *
kafka_embedded_bootstrap(const struct kafka_embedded *e); /* "host:port", valid until free */
void kafka_embedded_free(struct kafka_embedded *e);
