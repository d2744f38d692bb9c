/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls are kept, and what each kept one stands for. Rules are asked in order, the first that matches decides;
 * a call that none matches is kept or not by the default rule. Every call is seen and counted.
 *
 * Every decision is made with a probability that is known when it is made, and weight = 1 / that probability, so that
 * sums of weights are unbiased estimates of counts (Horvitz-Thompson), whatever the rate limits did meanwhile.
 * Randomness is consistent: the last 56 bits of the trace id (W3C level 2, OpenTelemetry OTEP 235) when there is one,
 * so that two captures keep the same traces; else a hash of connection and the call's number as seen on it.
 *
 * Time is an argument. No I/O.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "rpc/framer.h"

enum sample_pattern_kind { PATTERN_ANY, PATTERN_EXACT, PATTERN_PREFIX, PATTERN_GLOB };

/* "text" exact, "text*" prefix, other uses of * and ? a glob; matched in time linear in text times pattern. */
struct sample_pattern {
	enum sample_pattern_kind kind;
	char *text; /* owned */
};

enum { SAMPLE_HEADERS_MAX = 4, SAMPLE_RULES_MAX = 256, SAMPLE_NAME_MAX = 64 };

enum sample_body { SAMPLE_BODY_FULL, SAMPLE_BODY_HEAD, SAMPLE_BODY_NONE };

struct sample_rule {
	char name[SAMPLE_NAME_MAX];
	/* all that are set must match */
	struct sample_pattern protocol, service, method, path, client, server;
	struct {
		char *name; /* owned; case is folded */
		struct sample_pattern value;
	} header[SAMPLE_HEADERS_MAX];
	size_t n_headers;
	/* what happens to those that match */
	bool drop;
	double probability; /* 0 .. 1 */
	double rate; /* calls kept a second; 0: no limit */
	double bytes_per_second; /* of records; 0: no limit */
	uint32_t
		first_per_method; /* these of each service and method in each minute, whatever else is said */
	/* tail conditions, decided at the end of the call: kept when one holds, else by the rest of the rule */
	bool keep_errors; /* outcome other than OK */
	uint64_t keep_slower_ns; /* 0: none */
	int32_t keep_status_min, keep_status_max; /* max 0: none */
	enum sample_body body;
	uint64_t body_bytes; /* of SAMPLE_BODY_HEAD */
};

void sample_rule_init(struct sample_rule *r); /* keeps all, named "" */
void sample_rule_fini(struct sample_rule *r);
/* From its written form. -ENOMEM. */
int sample_pattern_set(struct sample_pattern *p, const char *text);
bool sample_pattern_match(const struct sample_pattern *p, struct bytes text);

struct sampler;

/* Takes the rules (their memory too, also on failure). `fallback`: for calls that no rule matches. NULL: no memory. */
struct sampler *sampler_new(struct sample_rule *rules, size_t n, struct sample_rule *fallback,
			    uint64_t seed);
void sampler_free(struct sampler *s);

/* What is known of a call when its first head is there. All borrowed. */
struct sample_call {
	struct bytes protocol, service, method, path, client, server;
	struct bytes trace_id; /* 32 hex digits, or empty */
	const struct header *headers;
	size_t n_headers;
	uint64_t connection, seen_index;
};

/* Kept in the call; 16 bytes. */
struct sample_state {
	uint32_t rule; /* its place; n: the fallback */
	float probability; /* by which it would be kept, apart from the tail conditions */
	bool keep; /* by that */
	bool tail; /* the end decides: keep the call's bodies until then */
	uint8_t body; /* enum sample_body */
};

/* At the head. keep || tail: the call is wanted, at least until its end. */
struct sample_state sampler_head(struct sampler *s, const struct sample_call *c, uint64_t now_ns);

/* At the end (or with the first part that leaves): kept? Then *weight. bytes: of its record, about. */
bool sampler_tail(struct sampler *s, const struct sample_state *st, enum outcome outcome,
		  int32_t status, uint64_t latency_ns, uint64_t bytes, double *weight);

const struct sample_rule *sampler_rule(const struct sampler *s, uint32_t rule);

/* Per rule, the fallback last, since the sampler was made; false: no more. `capped`: the hard limit behind a rate cut
 * them, their like is not in the weights. */
struct sample_count {
	const char *rule;
	uint64_t seen, kept, capped;
	double weight_sum;
};
bool sampler_count(const struct sampler *s, size_t i, struct sample_count *out);
