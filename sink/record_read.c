/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of records: protobuf-c with an allocator that counts, so that a small hostile record
 * (millions of empty headers) cannot ask for gigabytes. The schema does not contain itself, so
 * depth is bounded by it; groups are refused by protobuf-c.
 */
#include <stdlib.h>

#include "record.pb-c.h"
#include "sink/record.h"

enum { READ_BUDGET_BASE = 1 << 20, READ_BUDGET_FACTOR = 16, READ_BUDGET_MAX = 64 << 20 };

struct budget {
	size_t left;
};

static void *budget_alloc(void *ctx, size_t n)
{
	struct budget *b = ctx;
	if (n > b->left)
		return NULL;
	b->left -= n;
	return malloc(n ? n : 1);
}

static void budget_free(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

static size_t budget_for(struct bytes data)
{
	size_t n = READ_BUDGET_BASE + data.n * READ_BUDGET_FACTOR;
	return n < READ_BUDGET_MAX ? n : READ_BUDGET_MAX;
}

struct Sidetap__V1__Call *record_decode(struct bytes data)
{
	struct budget b = {budget_for(data)};
	ProtobufCAllocator a = {budget_alloc, budget_free, &b};
	return data.n > RECORD_MAX_BYTES ? NULL : sidetap__v1__call__unpack(&a, data.n, data.p);
}

struct Sidetap__V1__Ledger *record_decode_ledger(struct bytes data)
{
	struct budget b = {budget_for(data)};
	ProtobufCAllocator a = {budget_alloc, budget_free, &b};
	return data.n > RECORD_MAX_BYTES ? NULL : sidetap__v1__ledger__unpack(&a, data.n, data.p);
}
