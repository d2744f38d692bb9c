/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a record: read, joined, printed as a line and as JSON, audited. */
#include <stddef.h>
#include <stdint.h>

#include "analyze/audit.h"
#include "analyze/jsonl.h"
#include "analyze/parts.h"
#include "record.pb-c.h"
#include "sink/print_line.h"
#include "sink/record.h"

static void on_emit(void *ctx, const Sidetap__V1__Call *call)
{
	jsonl_call(ctx, call, JSONL_BODIES_AUTO);
}

static void fuzz_call(struct bytes data, struct text *out, struct audit *audit)
{
	const struct parts_cfg cfg = {1 << 16, 4, 16, on_emit, out};
	const struct print_style style = {true, true, true};
	struct parts *parts = parts_new(&cfg);
	for (int i = 0; i < 2 && parts; i++) {
		Sidetap__V1__Call *c = record_decode(data);
		if (!c)
			break;
		print_line(out, c, c, &style);
		audit_call(audit, c);
		c->part += (uint32_t)i; /* the second one is the next part */
		parts_push(parts, &c);
		sidetap__v1__call__free_unpacked(c, NULL);
	}
	if (parts)
		parts_flush(parts);
	parts_free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct text out = {0};
	struct audit *audit = audit_new();
	if (!audit)
		return 0;
	fuzz_call(bytes_of(p, n), &out, audit);
	Sidetap__V1__Ledger *l = record_decode_ledger(bytes_of(p, n));
	if (l)
		audit_ledger(audit, &l);
	sidetap__v1__ledger__free_unpacked(l, NULL);
	audit_json(audit, &out);
	audit_table(audit, &out);
	audit_free(audit);
	text_fini(&out);
	return 0;
}
