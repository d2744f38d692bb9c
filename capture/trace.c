/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/trace.h"

/* An id: hex, and not all zeroes (W3C Trace Context) */
static bool is_id(struct bytes b)
{
	bool zero = true;
	for (size_t i = 0; i < b.n; i++) {
		uint8_t c = b.p[i], low = c | 0x20;
		if (!(c >= '0' && c <= '9') && !(low >= 'a' && low <= 'f'))
			return false;
		zero &= c == '0';
	}
	return !zero;
}

/* The first that is valid stands. */
static void trace_set(struct trace *t, struct bytes trace, struct bytes span)
{
	if (!t->trace_id.n && is_id(trace) && is_id(span))
		*t = (struct trace) {trace, span};
}

/* VERSION-TRACE-PARENT-FLAGS of 2, 32, 16 and 2 digits; later versions may have more behind. */
static void traceparent_read(struct trace *t, struct bytes v)
{
	if (v.n >= 55 && v.p[2] == '-' && v.p[35] == '-' && v.p[52] == '-' &&
	    (v.n == 55 || v.p[55] == '-'))
		trace_set(t, bytes_of(v.p + 3, 32), bytes_of(v.p + 36, 16));
}

/* b3 in one header: TRACE-SPAN[-...] */
static void b3_read(struct trace *t, struct bytes v)
{
	const uint8_t *dash = v.n ? memchr(v.p, '-', v.n) : NULL;
	size_t n = dash ? (size_t)(dash - v.p) : 0;
	if ((n == 32 || n == 16) && v.n >= n + 17 && (v.n == n + 17 || v.p[n + 17] == '-'))
		trace_set(t, bytes_of(v.p, n), bytes_of(v.p + n + 1, 16));
}

struct trace trace_of(const struct header *h, size_t n)
{
	struct trace t = {0};
	struct bytes b3_trace = {0}, b3_span = {0};
	for (size_t i = 0; i < n; i++) {
		struct bytes v = h[i].value, name = h[i].name;
		if (name.n == 11 && bytes_caseeq(name, BYTES("traceparent")))
			traceparent_read(&t, v);
		else if (name.n == 2 && bytes_caseeq(name, BYTES("b3")))
			b3_read(&t, v);
		else if (name.n == 12 && bytes_caseeq(name, BYTES("x-b3-traceid")))
			b3_trace = v;
		else if (name.n == 11 && bytes_caseeq(name, BYTES("x-b3-spanid")))
			b3_span = v;
	}
	if ((b3_trace.n == 32 || b3_trace.n == 16) && b3_span.n == 16)
		trace_set(&t, b3_trace, b3_span);
	return t;
}
