/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where records go. One table per kind; the loop thread calls everything here, nothing blocks it.
 * Calls and Ledgers come through the same submit: a Kafka sink has a second topic for Ledgers, a file
 * sink a second file.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ledger.h"
#include "sink/record.h"

/* What became of a record that submit had taken: sink tells once for each, on the loop thread, from
 * service() or drain(); the null sink from submit(). exit NULL: delivered; else the name of the ledger exit it was lost by. */
typedef void sink_report_fn(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
			    const char *exit);

struct sink_cfg {
	const char *spec; /* what follows the scheme: "HOST:PORT/TOPIC?..", "DIR", "" */
	const char *instance; /* of this run: names files, client.id */
	const char *spool; /* directory for what Kafka does not take now; NULL or "": none */
	uint64_t spool_bytes;
	unsigned verbose; /* print: 1 headers (-v), 2 bodies (-x) */
	bool bodies;
	sink_report_fn *report;
	void *report_ctx;
	/* A record is safe on disk and will be reported later. May be NULL. */
	void (*stored)(void *ctx, enum record_kind kind, uint64_t number);
	/* A local TCP port of a connection of sidetap's own is about to be used (in_use true), so that
	 * the probe leaves it out; may be called from librdkafka's threads. May be NULL. */
	void (*own_port)(void *ctx, uint16_t port, bool in_use);
	void *own_port_ctx;
};

struct sink; /* each kind's own */

struct sink_ops {
	const char *scheme; /* "kafka", "file", "print", "null" */
	/* Checks what can be checked now (topics, directory). On error: one line for the user in err, NULL. */
	struct sink *(*open)(const struct sink_cfg *cfg, char *err, size_t err_n);
	/*
	 * 0: taken, *r is NULL now, report() will tell. -EAGAIN: full, *r still the caller's, and *exit may name what is
	 * full. Any other negative: refused, *r still the caller's, and *exit (static) names why. Never blocks.
	 */
	int (*submit)(struct sink *s, struct record **r, const char **exit);
	int (*fd)(struct sink *s); /* readable when service() has something to do; -1: none */
	void (*service)(struct sink *s); /* delivery reports, events */
	/* At the end: waits until all is delivered or the deadline (ms from now) passes; then reports each
	 * record left as lost by its exit. 0, -ETIMEDOUT, or why the sink ended before. */
	int (*drain)(struct sink *s, int timeout_ms);
	bool (*held)(struct sink *s, uint64_t *records,
		     uint64_t *bytes); /* taken and not reported */
	const char *(*status)(
		struct sink *s); /* one line for the summary: "acknowledged 4,012, ..."; "" */
	bool (*ledger_provable)(
		struct sink *s); /* false: kafka:embedded over its 4 MB; NULL: true */
	/* True: nobody will read what it is given (stdout closed), the capture may end. NULL: never. */
	bool (*finished)(struct sink *s);
	void (*close)(struct sink *s);
};

/* Finds the table for "kafka://..", "kafka:embedded", "file:DIR", "print:", "null:" and opens it. */
struct sink *sink_open(const char *uri, struct sink_cfg *cfg, const struct sink_ops **ops,
		       char *err, size_t err_n);

extern const struct sink_ops sink_kafka, sink_file, sink_print, sink_null;
