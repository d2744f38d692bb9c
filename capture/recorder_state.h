/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of recorder: its state, and what its files ask of each other. */
#pragma once
#include "base/hash.h"
#include "capture/recorder.h"

/* Ranges of lost record numbers are merged; beyond this many the nearest two become one, which then names
 * delivered records between them too. */
enum { LOST_MAX = 4096, PROTOCOLS_MAX = 32, EXITS_MAX = 32 };
/* Names of rules that the ledger tells, over all reloads; those beyond count together under the last. */
enum { RULES_MAX = 512 };

struct rule_set; /* a sampler, and the open calls that it decides about */

/* Configurations whose hash is remembered, for the calls that opened under them */
enum { VERSIONS = 64 };

struct recorder_version {
	uint64_t number, unix_ns;
	char hash[17];
};

struct recorder {
	struct recorder_cfg cfg;
	char prefix[64]; /* "INSTANCE-" */
	uint64_t version; /* of the configuration in force */
	struct recorder_version versions[VERSIONS]; /* by number modulo VERSIONS */
	struct rule_set *rules; /* for the next call */
	struct rule_set *sets; /* that one, and those that open calls still need */
	struct record_rule rule[RULES_MAX + 1];
	char rule_name[RULES_MAX + 1][SAMPLE_NAME_MAX];
	size_t n_rules;
	uint64_t sampled_out[SAMPLE_OUTS];
	uint64_t calls_in, undone, over_limit, encode_failed, calls_recorded, made, bytes;
	uint64_t calls_begun; /* their part 0 was made */
	uint64_t delivered, calls_delivered, in_sink;
	struct {
		const char *name;
		uint64_t n;
	} exits[EXITS_MAX];
	struct record_range lost[LOST_MAX];
	size_t n_lost;
	struct {
		const char *name;
		uint64_t n;
	} protocols[PROTOCOLS_MAX];
	struct record_stream_message *stream;
	size_t cap_stream;
};

/* A record number is lost by this exit (static). */
void recorder_lost(struct recorder *r, uint64_t number, const char *exit);

/* The texts of a connection, made once. False: no memory. */
bool recorder_names(const struct recorder *r, struct conn *c);

/* call_sink.sample */
void recorder_sample(void *ctx, struct call *c, const struct piece *p, uint64_t now_ns);
/* Whether it is kept is settled now, if it was not: c->sampled, c->weight. */
void recorder_decide(struct call *c);
/* A record of so many bytes was made of it. */
void recorder_rule_made(struct call *c, uint64_t bytes, bool last);
/* It left: counted under its rule, and its rules are held for it no more. */
void recorder_rule_done(struct recorder *r, struct call *c, bool recorded);
/* Why a call that is not wanted leaves without a record */
uint64_t *recorder_rule_exit(struct recorder *r, const struct call *c);
void recorder_rules_fini(struct recorder *r);
