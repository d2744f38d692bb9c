/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size line of a chunk (RFC 9112 section 7.1): chunk-size [ chunk-ext ] CRLF. Strict: at least one hex
 * digit, a size below 2^63, extensions by their grammar (whitespace where BWS is allowed), CRLF; no more
 * than HTTP1_CHUNK_LINE_MAX bytes.
 */
#pragma once
#include <stdint.h>

#include "base/bytes.h"

enum { HTTP1_CHUNK_LINE_MAX = 4096 };

/* n > 0: the line is n bytes long and *size stands; 0: not whole yet, *seen bytes hold no LF; -EPROTO. */
int64_t http1_body_chunk(struct bytes in, uint32_t *seen, uint64_t *size);
