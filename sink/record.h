/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record sidetap.v1.Call (sink/record.proto, contract in docs/record.md): its writer and its
 * reader, and the Ledger record. The writer is an append-only protobuf encoder of our own, the
 * reader is protobuf-c; tests/unit/record_test.c holds them and protoc against each other.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/ledger.h"
#include "rpc/framer.h"

/* One message of a call, as the writer takes it. All borrowed. */
struct record_message {
	bool present;
	uint64_t start_unix_ns, end_unix_ns;
	const struct header *headers;
	size_t n_headers;
	const struct header *trailers;
	size_t n_trailers;
	struct bytes body;
	uint64_t
		body_bytes; /* full length, also when the body was cut; only in the last part else 0 */
	uint64_t wire_bytes;
};

struct record_stream_message {
	enum dir dir;
	uint64_t unix_ns;
	struct bytes body;
	uint64_t body_bytes;
	bool compressed;
};

/* Constant over a run */
struct record_capture {
	const char *instance, *version, *attach, *host, *pod, *namespace_, *container,
		*service_name, *config_hash;
	uint64_t config_version; /* 1, 2, 3 ... of the run; in force when the call opened */
	uint64_t config_unix_ns; /* since when */
};

/* One part of a call, as the writer takes it. All borrowed; empty strings are left out. */
struct record_call {
	struct bytes connection_id; /* id = connection_id ":" sequence is made by the writer */
	uint64_t sequence, record_number;
	uint32_t part;
	bool last_part;
	const char *protocol, *transport;
	struct bytes service, method, path;
	enum call_type type;
	int32_t status;
	enum outcome outcome;
	struct bytes status_text;
	struct record_message request, response;
	const struct record_stream_message *stream;
	size_t n_stream;
	struct bytes client, server, original_destination; /* "address:port" */
	struct bytes client_process, server_process;
	struct bytes trace_id, span_id;
	double weight;
	struct bytes rule;
	unsigned flags; /* enum call_flag */
	const struct attribute *attributes;
	size_t n_attributes;
	const struct record_capture *capture;
};

enum record_kind { RECORD_CALL, RECORD_LEDGER };

/*
 * One encoded record. `data` is malloc'ed so that a sink may hand it to librdkafka as it is; the
 * struct itself lies behind the n bytes in the same block: free(data) frees both. The Kafka key and
 * header values are spans of `data` (offset, length): no second copy of them.
 */
struct record {
	enum record_kind kind;
	uint8_t *data;
	size_t n;
	uint64_t number; /* record_number; 0 for a Ledger */
	bool last_part;
	uint64_t unix_ns; /* Kafka's timestamp: start of the request */
	struct record_span {
		uint32_t off, n;
	} key, protocol, service, method;
	struct record *next; /* for the queue of whoever owns it, and */
	const char *exit; /* what became of it there */
	/* Of a Kafka sink: */
	uint64_t token; /* of the spool that it came from; 0: from the capture */
	bool foreign; /* of an earlier process: nobody here waits for its fate */
	bool maybe_there; /* an attempt may have reached the topic: the next one may be a duplicate */
};

enum { RECORD_MAX_BYTES = 16 << 20 }; /* of one encoded record, for writer and readers */

/*
 * Two passes (size, then write) into one malloc of exactly that size. Bytes that are no UTF-8, and
 * NUL, become the text \xNN in string fields; header values and bodies are bytes, as they were.
 * `call_type` is written in part 0 only. -ENOMEM, -E2BIG.
 */
int record_encode(const struct record_call *call, struct record **out);
void record_free(struct record *r);
static inline void record_freep(struct record **r)
{
	record_free(*r);
}

static inline struct bytes record_bytes(const struct record *r, struct record_span s)
{
	return bytes_of(r->data + s.off, s.n);
}

/* Range of record numbers that were made but not delivered, with the name of their exit. */
struct record_range {
	uint64_t first, last;
	const char *exit;
};

struct record_rule {
	const char *name;
	uint64_t seen, kept;
	double weight_sum;
};

struct record_ledger {
	const char *instance, *version, *attach;
	uint64_t start_unix_ns, end_unix_ns; /* of this interval; the counters are since start */
	bool final, exact; /* exact: false with libpcap */
	bool unprovable; /* sink_ops.ledger_provable() says false */
	bool killed; /* made by the next process (capture/remains.h) */
	const struct ledger_stage *stages;
	size_t n_stages;
	uint64_t last_record_number;
	const struct record_range *lost;
	size_t n_lost;
	const struct record_rule *rules;
	size_t n_rules;
	const struct bytes *gap_connections; /* connection ids, at most 1,000 */
	size_t n_gap_connections;
	uint64_t more_gap_connections; /* beyond those */
	/* In force at the end of the interval, since when; and the reloads so far that were taken and refused */
	uint64_t config_version, config_unix_ns, reloads, reloads_refused;
	const char *config_hash;
};

int record_encode_ledger(const struct record_ledger *ledger, struct record **out);

/* Reader: the protobuf-c structs of build/gen/record.pb-c.h (Sidetap__V1__Call, ...). Free with
 * sidetap__v1__call__free_unpacked(). NULL: broken record, or nested or larger than the caps. */
struct Sidetap__V1__Call;
struct Sidetap__V1__Ledger;
struct Sidetap__V1__Call *record_decode(struct bytes data);
struct Sidetap__V1__Ledger *record_decode_ledger(struct bytes data);

const char *record_flag_name(unsigned bit); /* 0 .. FLAG_N - 1 */
const char *record_outcome_name(enum outcome o); /* "OK" ... */
const char *record_call_type_name(enum call_type t); /* "unary" ... */
