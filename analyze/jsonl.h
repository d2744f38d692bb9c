/* SPDX-License-Identifier: Apache-2.0 */
/* One call as one JSON line (docs/record.md, "JSON lines"). Always valid JSON (RFC 8259), always
 * UTF-8. */
#pragma once
#include "sink/record.h"
#include "sink/text.h"

enum jsonl_bodies {
	JSONL_BODIES_AUTO, /* "body" when it is text, else "body_base64" */
	JSONL_BODIES_BASE64, /* always "body_base64" */
	JSONL_BODIES_NONE,
};

/* Appends the line with its LF. Look at out->failed once. */
void jsonl_call(struct text *out, const struct Sidetap__V1__Call *call, enum jsonl_bodies bodies);

/* A string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void jsonl_string(struct text *out, struct bytes s);

/* Valid UTF-8 without control characters (Unicode Cc) other than TAB, LF, CR */
bool jsonl_is_text(struct bytes s);
