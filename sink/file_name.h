/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the file sink, in one directory, named by the instance that wrote them:
 *
 *   calls-INSTANCE-000001.pb.zst  sealed at 64 MiB, then the next number
 *   ledger-INSTANCE-000001.pb.zst
 *
 * Inside: zstd frames with checksum; each frame holds whole records and stands alone; each record
 * is its length as a varint, then the record (protobuf's delimited form: `zstd -dc | protoc ...`
 * tools read it). A file that is still written has the same name: readers end at its last whole
 * record.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sink/record.h"

enum {
	FILE_FRAME_BYTES = 1 << 20, /* a frame is closed at this size, or after a second */
	FILE_FRAME_MAX = RECORD_MAX_BYTES + (2 << 20), /* what a reader takes in one frame */
	FILE_NAME_MAX = 128,
};

#define FILE_SUFFIX ".pb.zst"

static inline const char *file_name_prefix(enum record_kind kind)
{
	return kind == RECORD_CALL ? "calls-" : "ledger-";
}

/* Names come from a fixed alphabet (S4). */
static inline bool file_name_safe(const char *s, size_t n)
{
	static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
	return n > 0 && n <= 64 && strspn(s, ok) >= n;
}

static inline void file_name_make(char out[FILE_NAME_MAX], enum record_kind kind,
				  const char *instance, unsigned number)
{
	snprintf(out, FILE_NAME_MAX, "%s%.64s-%06u" FILE_SUFFIX, file_name_prefix(kind), instance,
		 number);
}

static inline bool file_name_is(const char *name, enum record_kind kind)
{
	size_t n = strlen(name), prefix = strlen(file_name_prefix(kind)),
	       suffix = strlen(FILE_SUFFIX);
	return n < FILE_NAME_MAX && n > prefix + suffix &&
	       strncmp(name, file_name_prefix(kind), prefix) == 0 &&
	       strcmp(name + n - suffix, FILE_SUFFIX) == 0;
}
