/* SPDX-License-Identifier: Apache-2.0 */
/* Reading records back: from a Kafka topic (and its ledger topic) or a directory of the file sink. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "sink/record.h"

struct source;

struct source_cfg {
	const char *spec;
	bool calls, ledgers; /* which records are wanted */
	bool follow; /* Kafka: do not end at the offsets that were the end at open */
};

struct source_ops {
	const char *scheme;
	struct source *(*open)(const struct source_cfg *cfg, char *err, size_t err_n);
	/* 1: *data is the next record, valid until the next call. 0: the end. -EBADMSG: one broken record
	 * was skipped, go on. Any other negative: cannot go on; err says why. */
	int (*next)(struct source *s, struct bytes *data, enum record_kind *kind, char *err,
		    size_t err_n);
	void (*close)(struct source *s);
};

/* "file:DIR" or "kafka://HOST:PORT/TOPIC" */
struct source *source_open(const char *uri, struct source_cfg *cfg, const struct source_ops **ops,
			   char *err, size_t err_n);

extern const struct source_ops source_kafka, source_file;
