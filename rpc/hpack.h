/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks of one direction of an HTTP/2 connection (RFC 7541), by nghttp2's inflater, which is fed one
 * representation at a time: so it is known where each field comes from.
 *
 * Late: blocks before ours were not seen. The table starts empty, and an index beyond it is a field from before:
 * unknown. That cannot lie: indices count from the newest entry, so an entry that was inserted before our eyes
 * is found exactly, as long as our table keeps at least what the sender's keeps; what it does not keep is
 * unknown too. Ours has 4 KiB, the default of the protocol; once an index shows that the sender's is larger, it
 * gets 64 KiB. A literal that refers to an unknown name is given to the inflater with the name "?", no token.
 *
 * A sender's table beyond 64 KiB is followed with one of 64 KiB; then it counts as late too.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/framer.h"

struct nghttp2_hd_inflater;

enum {
	HPACK_TABLE_DEFAULT = 4096,
	HPACK_TABLE_MAX = 65536,
	HPACK_LATE_TABLES_MAX = 16, /* late tables of 64 KiB in the process */
	HPACK_BLOCK_MAX = 65536, /* of a block, and of its fields when decoded */
	HPACK_FIELDS_MAX = 256,
	HPACK_UNKNOWN_MAX = 16, /* unknown entries of a block that are told apart */
};

struct hpack { /* zeroed is a fresh connection's */
	struct nghttp2_hd_inflater *inflater; /* NULL: empty as yet */
	uint64_t inserted; /* entries */
	bool late;
	bool grow; /* to 64 KiB before the next block */
	bool large; /* late, and grown */
	bool refused; /* it was not: too many are */
};

/* The fields lie in a scratch of the thread until the next block is decoded. */
struct hpack_list {
	const struct header *fields;
	size_t n;
	/* The entries from before that it names by index alone, by a number that stays theirs until hpack_reset().
	 * whole: no other field of it has an unknown name. */
	uint32_t unknown[HPACK_UNKNOWN_MAX];
	uint8_t n_unknown;
	bool unknown_whole;
	const char *cap; /* the limit that cut the list; the caller's flag is TRUNCATED */
	const char
		*late_cap; /* "hpack_late_tables": the larger table was refused, once a direction */
};

/* Memory for the scratch of this thread. -ENOMEM. */
int hpack_scratch(void);

/* Room of HPACK_BLOCK_MAX to put the fragments of a block together; not used by hpack_decode(). */
uint8_t *hpack_scratch_block(void);

/*
 * Decodes a whole block. size_max: what the receiver's SETTINGS_HEADER_TABLE_SIZE allows (UINT32_MAX: not known).
 * The list is cut at limits->header_bytes (32 a field added, RFC 9113 6.5.2) and header_count, though the rest is
 * decoded; fields that say how a call ends are kept beyond, as far as a small reserve goes.
 * -EPROTO: no block of this direction; nothing can be decoded any more until hpack_reset(). -ENOMEM.
 */
int hpack_decode(struct hpack *h, struct bytes block, uint32_t size_max,
		 const struct framer_limits *limits, struct hpack_list *out);

/* Starts over: `late` as above. */
void hpack_reset(struct hpack *h, bool late);
