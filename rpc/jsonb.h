/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSONB of fastjson2 (alibaba/fastjson2 JSONB.Constants): the strings and whole numbers of Dubbo's attachments, read
 * where they lie. Nothing else is read: no objects, no references.
 */
#pragma once
#include "base/bytes.h"

enum { JSONB_OBJECT_END = 0xa5, JSONB_OBJECT = 0xa6, JSONB_NULL = 0xaf };

/* A string in ASCII or UTF-8, or null (empty). false: another value, or a cut one; the cursor may have moved. */
bool jsonb_string(struct cursor *c, struct bytes *s);
bool jsonb_int(struct cursor *c, int64_t *v);
