/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a call belongs to, as its headers say: W3C traceparent, or b3 in one header or in two. */
#pragma once
#include "rpc/framer.h"

struct trace {
	struct bytes trace_id, span_id; /* hex, within the headers; both empty: none */
};

struct trace trace_of(const struct header *headers, size_t n);
