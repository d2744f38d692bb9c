/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment of the spool as bytes: writer and reader of the format together. No files here.
 *
 * A segment is a header of 64 bytes, then entries, each a multiple of 8 bytes: a fixed part of 88 bytes, the record's
 * bytes, zeros. Numbers are in the byte order of the machine, which the header names: a spool does not travel.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sink/record.h"

enum { SPOOL_HEADER_BYTES = 64, SPOOL_ENTRY_BYTES = 88, SPOOL_VERSION = 1, SPOOL_INSTANCE = 16 };

/* out: SPOOL_HEADER_BYTES */
void spool_segment_header(uint8_t *out, uint64_t segment, const char *instance);

/* -ENOTSUP: a whole header of another version or byte order: the file is not ours to touch (D12). 0: ours, or so
 * broken that its entries have to speak for themselves. */
int spool_segment_check(struct bytes file);

/* The entry of a record, without the record's own bytes and zeros, which follow it: `pad` of them. */
size_t spool_segment_entry(uint8_t out[SPOOL_ENTRY_BYTES], const struct record *r,
			   const char *instance, size_t *pad);

struct spool_segment_found {
	struct bytes data; /* of the record, in the file's bytes */
	enum record_kind kind;
	uint64_t number, unix_ns;
	bool last_part;
	bool maybe_there; /* an attempt to send it may have arrived */
	char instance[SPOOL_INSTANCE + 1];
	struct record_span spans[4]; /* key, protocol, service, method */
};

/*
 * The next whole entry at or after *at, which moves behind it. False: there is none. What lies between is passed over;
 * *broken grows by one for each run of bytes that is no entry (a flipped bit, a hole of zeros, a torn tail).
 */
bool spool_segment_next(struct bytes file, size_t *at, struct spool_segment_found *out,
			uint64_t *broken);

/* As record_encode() makes them. NULL: no memory. */
struct record *spool_segment_record(const struct spool_segment_found *f);
