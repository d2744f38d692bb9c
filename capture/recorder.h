/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a call to a record: sampling, record numbers, the connection's names, encoding, and the hand-over to
 * the sink. What was made and what became of it are counted here by record number, so that a
 * hole can be named (ledger stages `sample`, `records`).
 */
#pragma once
#include <stdint.h>

#include "base/ledger.h"
#include "capture/call.h"
#include "capture/conn.h"
#include "capture/sample.h"
#include "sink/record.h"
#include "sink/sink.h"

struct recorder_cfg {
	double connections; /* share of the connections that the kernel keeps: part of the weight; 0: all */
	double sample; /* share of the calls, until recorder_set_rules() */
	const uint16_t *proxy_ports; /* as in struct recorder_live */
	size_t n_proxy_ports;
	uint64_t seed;
	int64_t clock_offset_ns; /* packet time + this = unix time */
	struct record_capture capture; /* strings live as long as the recorder */
	const struct sink_ops *ops;
	struct sink *sink;
	uint64_t limit_calls,
		limit_bytes; /* --limit: calls beyond leave by `over_limit`; 0: none */
	/* The sink said full for the attempt-th time: true when it was given a turn and it is worth trying
	 * again, false to drop the record. */
	bool (*full)(void *ctx, unsigned attempt);
	void *ctx;
	struct remains *remains; /* where the fate of each record is written down; NULL: nowhere */
};

/* What may change while it runs. Calls that are open keep what they opened with; --limit counts from the start. */
struct recorder_live {
	uint64_t limit_calls, limit_bytes;
	uint64_t config_version,
		config_unix_ns; /* for the records of calls that open from now on */
	const char *config_hash; /* copied */
	const uint16_t
		*proxy_ports; /* servers there are the proxy: the service calls out. Borrowed */
	size_t n_proxy_ports;
};

struct recorder;
struct recorder *recorder_new(const struct recorder_cfg *cfg);
void recorder_free(struct recorder *r);

struct call_sink recorder_calls(struct recorder *r); /* for calls_new() */
void recorder_set_sink(struct recorder *r, const struct sink_ops *ops, struct sink *sink);
void recorder_set_attach(struct recorder *r, const char *name); /* static */
void recorder_set_live(struct recorder *r, const struct recorder_live *live);
void recorder_set_clock(struct recorder *r, int64_t clock_offset_ns);

/* sink_cfg.report of the sink: what became of a record; ctx = the recorder. */
sink_report_fn recorder_report;
void recorder_set_remains(struct recorder *r, struct remains *m); /* before the first call */

/*
 * Calls that open from here on go by these rules: takes *sampler, NULL then. Open ones keep the decision and the
 * rule's name of the sampler that took them, which is freed with the last of them; counters go on under the names
 * of the rules. -ENOMEM: nothing changed, *sampler is still the caller's.
 */
int recorder_set_rules(struct recorder *r, struct sampler **sampler);
/* The share of connections that is captured from now on: calls that open weigh by it. */
void recorder_set_connections(struct recorder *r, double share);
/* None of its calls will be kept by the present rules, whatever they are. protocol: of all that will come; "": not known */
bool recorder_never(const struct recorder *r, struct conn *c, const char *protocol);

/* Stages `sample` (calls) and `records` (records). */
size_t recorder_ledger(const struct recorder *r, struct ledger_stage *out, size_t max);

struct recorder_totals {
	uint64_t calls; /* recorded */
	uint64_t bytes; /* of encoded records */
	uint64_t records; /* = last record_number */
	uint64_t delivered, calls_delivered;
	const struct record_range *lost;
	size_t n_lost;
	const struct record_rule
		*rules; /* sum of seen = calls that left, of kept = calls recorded */
	size_t n_rules;
	bool limit_reached;
};
struct recorder_totals recorder_totals(const struct recorder *r);

/* Calls recorded per protocol, for the summary: name and count, until it answers false. */
bool recorder_protocol(const struct recorder *r, size_t i, const char **name, uint64_t *calls);
