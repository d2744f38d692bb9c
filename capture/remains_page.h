/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of remains: the file, as remains.c writes and remains_tell.c reads it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define REMAINS_PREFIX "sidetap-"
#define REMAINS_SUFFIX ".run"

enum {
	REMAINS_INSTANCE = 16,
	REMAINS_LEDGER_MAX = 1 << 18,
	REMAINS_EXITS = 32,
	REMAINS_NUMBERS_MIN = 1 << 18, /* more than a full queue to Kafka holds records */
	REMAINS_NUMBERS_MAX = 1 << 26,
	REMAINS_RECORD_BYTES = 256, /* records are not smaller: as many fit into the spool */
};

/* REMAINS_LOST + i: by exits[i] */
enum remains_fate { REMAINS_UNMADE, REMAINS_MADE, REMAINS_STORED, REMAINS_DELIVERED, REMAINS_LOST };

/* In the byte order and layout of the machine: the file does not travel, nor outlive the next start. */
struct remains_page {
	char magic[8];
	uint64_t numbers; /* fates that are kept, a power of two; older ones are settled */
	uint64_t told; /* by a later process: the file may go */
	uint64_t made; /* last number */
	uint64_t alive_unix_ns; /* of the last interval */
	struct {
		char name[40];
		uint64_t n;
	} exits[REMAINS_EXITS];
	uint32_t ledger; /* which of the two is whole */
	uint32_t ledger_n[2];
	uint8_t ledgers[2][REMAINS_LEDGER_MAX];
	uint8_t fate[]; /* by number modulo numbers */
};

static const char remains_magic[8] = "sdtprun2";

static inline size_t remains_size(uint64_t numbers)
{
	return offsetof(struct remains_page, fate) + numbers;
}
