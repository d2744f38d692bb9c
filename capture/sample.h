/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls are kept, and what each kept one stands for. Rules are asked in order, the first that matches decides;
 * a call that none matches is kept or not by the fallback. Every call is seen and counted.
 *
 * Every decision is made with a probability that is known when it is made, and weight = 1 / that probability, so that
 * sums of weights are unbiased estimates of counts (Horvitz-Thompson), whatever the rate limits did meanwhile.
 * Randomness is consistent: the last 56 bits of the trace id (W3C level 2, OpenTelemetry OTEP 235) when there is one,
 * so that two captures keep the same traces (another form of trace id: its hash, the same everywhere); else a hash
 * of connection and the call's number as seen on it.
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
	char *text; /* owned; of a prefix without its star */
	size_t n; /* of text */
};

enum {
	SAMPLE_HEADERS_MAX = 4,
	SAMPLE_STATUS_MAX = 4,
	SAMPLE_RULES_MAX = 256,
	SAMPLE_NAME_MAX = 64,
};

enum sample_body { SAMPLE_BODY_FULL, SAMPLE_BODY_HEAD, SAMPLE_BODY_NONE };

/* Of the service: its proxy calls it, or it calls out through its proxy */
enum sample_side { SAMPLE_SIDE_ANY, SAMPLE_SIDE_INBOUND, SAMPLE_SIDE_OUTBOUND };

struct sample_rule {
	char name[SAMPLE_NAME_MAX];
	/* all that are set must match */
	struct sample_pattern protocol, service, method, path, client, server;
	struct {
		char *name; /* owned; case is folded */
		struct sample_pattern value;
	} header[SAMPLE_HEADERS_MAX]; /* of the request; of an orphan the reply's */
	size_t n_headers;
	enum sample_side side;
	/* what happens to those that match */
	bool drop;
	double probability; /* 0 .. 1 */
	double rate; /* calls kept a second; 0: no limit */
	double bytes_per_second; /* of records; 0: no limit */
	uint32_t
		first_per_method; /* these of each service and method in each minute, on top of what limits leave */
	/* tail conditions, decided at the end of the call: kept when one holds, else by the rest of the rule */
	unsigned keep_outcomes; /* bits: 1 << enum outcome */
	uint64_t keep_slower_ns; /* 0: none */
	struct {
		int32_t min, max;
	} keep_status[SAMPLE_STATUS_MAX];
	size_t n_keep_status;
	enum sample_body body;
	uint64_t body_bytes; /* of SAMPLE_BODY_HEAD */
};

/* All that is neither OK nor unknown */
enum {
	SAMPLE_ERRORS = 1 << OUTCOME_CLIENT_ERROR | 1 << OUTCOME_SERVER_ERROR |
			1 << OUTCOME_DECLARED_EXCEPTION | 1 << OUTCOME_NO_RESPONSE |
			1 << OUTCOME_ABORTED
};

void sample_rule_init(struct sample_rule *r); /* keeps all, named "" */
void sample_rule_rest(struct sample_rule *r, double share); /* of --sample: "all", or "sample" */
void sample_rule_fini(struct sample_rule *r);
int sample_rule_copy(struct sample_rule *to, const struct sample_rule *from); /* -ENOMEM: *to is an
								 initialised one */
bool sample_rule_has_tail(const struct sample_rule *r);
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
	struct bytes protocol, service, method, path;
	struct bytes client, server; /* "address:port"; may be empty unless sampler_addresses() */
	enum sample_side side; /* never ANY */
	struct bytes trace_id; /* the protocol's own; empty: by the headers */
	const struct header *headers;
	size_t n_headers;
	uint64_t connection, seen_index;
};

/* Why a call is not kept: exits of ledger stage `sample` */
enum sample_out {
	SAMPLE_OUT_CHANCE, /* by probability, or the share that a limit left */
	SAMPLE_OUT_DROP, /* by `drop` */
	SAMPLE_OUT_RATE, /* by the hard end of a limit: its like is in no weight */
	SAMPLE_OUTS
};

/* Kept in the call. */
struct sample_state {
	uint32_t rule; /* its place; n: the fallback */
	double probability; /* by which it would be kept, apart from the tail conditions */
	bool keep; /* by that */
	bool tail; /* the end decides: keep the call's bodies until then */
	bool first; /* of its method: sure, and on top of every limit */
	uint8_t out; /* enum sample_out, unless keep */
};

/* At the head. keep || tail: the call is wanted, at least until its end. */
struct sample_state sampler_head(struct sampler *s, const struct sample_call *c, uint64_t now_ns);

/* What is known of it at its end, or when its first part leaves; outcome UNKNOWN: not known then. */
struct sample_end {
	enum outcome outcome;
	int32_t status;
	uint64_t
		latency_ns; /* first byte of the request to the last byte so far; UINT64_MAX: timed out */
};

/* Kept? Then *weight. Asked once. */
bool sampler_tail(const struct sampler *s, const struct sample_state *st,
		  const struct sample_end *end, double *weight);

/* A record of so many bytes was made of it. `whole`: the bytes of all its records, with the last one; else 0. */
void sampler_made(struct sampler *s, const struct sample_state *st, uint64_t bytes, uint64_t whole);

/* The rule at this place; the fallback for any place behind them. */
const struct sample_rule *sampler_rule(const struct sampler *s, uint32_t rule);
size_t sampler_rules(const struct sampler *s); /* without the fallback */

/* Does a rule ask for client or server? */
bool sampler_addresses(const struct sampler *s);

/*
 * Surely none of the calls of a connection will be kept, whatever they are: a rule drops it by what is known of the
 * connection alone, and none before it could keep one. (By chance alone none is kept either with --sample 0, but
 * those are to be counted.) protocol empty: it may still be any.
 */
bool sampler_never(const struct sampler *s, const struct sample_call *conn);
