/* SPDX-License-Identifier: Apache-2.0 */
/* A sink that keeps what it was given, decoded, and can refuse; and a recorder with calls in front of it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "capture/call.h"
#include "capture/recorder.h"
#include "record.pb-c.h"

struct records {
	Sidetap__V1__Call **list; /* in the order of submit */
	size_t n, cap;
	size_t largest; /* bytes of one record */
	uint64_t bytes;
	/* Refuses the record numbers first .. last with this exit; NULL: says full. */
	uint64_t refuse_first, refuse_last;
	const char *refuse_exit;
	bool count_only; /* keep none */
	bool late_reports; /* reports wait for records_report() */
	uint64_t *unreported;
	size_t n_unreported;
	struct recorder *recorder; /* of the reports */
};

extern const struct sink_ops records_ops;
void records_fini(struct records *s);
/* What became of the i-th unreported record. */
void records_report(struct records *s, size_t i, const char *exit);

/* The whole call, its parts joined: bodies and streams appended, heads of the first part that has them. Free it
 * with records_free_call. NULL: there is none of this id. */
struct joined {
	const Sidetap__V1__Call *first, *last; /* parts */
	const Sidetap__V1__Message *req_head,
		*resp_head; /* the parts' messages that carry headers */
	struct buf req, resp; /* bodies */
	size_t n_parts, n_stream;
	struct {
		int dir;
		struct buf body;
		uint64_t body_bytes;
		bool compressed;
	} stream[64];
};
struct joined records_join(const struct records *s, const char *id);
void records_unjoin(struct joined *j);

bool records_flag(const Sidetap__V1__Call *c, const char *flag);
/* "a,b" in the order of the record; "" for none. Static. */
const char *records_flags(const Sidetap__V1__Call *c);
const char *records_attribute(const Sidetap__V1__Call *c, const char *name); /* NULL: not there */
/* Whole calls in order of submit: the i-th record that is a last part. NULL: no more. */
const Sidetap__V1__Call *records_last(const struct records *s, size_t i);

/* Aborts the test when sequence, record_number or parts have holes, or a record is over 900 KiB. */
void records_check(const struct records *s);
/* Aborts the test when a stage does not balance. */
void stages_check(size_t n, const struct ledger_stage *stages);
