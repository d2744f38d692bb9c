/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/prober.h"

#include "rpc/protocols.h"

#define PROBER_ENTRY(name) &framer_##name,
const struct framer_ops *const prober_table[] = {PROTOCOLS(PROBER_ENTRY) NULL};
#undef PROBER_ENTRY

/* A TLS record header (RFC 8446 section 5.1). No protocol of the table is looked for behind one. */
static enum probe_answer tls_record(struct bytes b)
{
	if (b.n == 0 || b.p[0] < 0x14 || b.p[0] > 0x17 || (b.n > 1 && b.p[1] != 3) ||
	    (b.n > 2 && b.p[2] > 4))
		return PROBE_NO;
	return b.n < 3 ? PROBE_MORE : PROBE_YES;
}

static enum probe_answer ask(const struct framer_ops *ops, bool late, struct bytes request,
			     struct bytes response)
{
	return late && ops->probe_late ? ops->probe_late(request, response)
				       : ops->probe(request, response);
}

static struct prober_verdict table_ask(struct bytes request, struct bytes response, bool final,
				       bool skip_proxy, bool late)
{
	const struct prober_verdict more = {0}, opaque = {.ops = &framer_opaque};
	bool wait = false;

	request = bytes_head(request, PROBER_HEAD_MAX);
	response = bytes_head(response, PROBER_HEAD_MAX);
	if (request.n == 0 && !final && !late)
		return response.n < PROBER_HEAD_MAX ? more : opaque;
	if (tls_record(request) == PROBE_YES)
		return opaque;
	if (tls_record(request) == PROBE_MORE && !final)
		return more;
	for (const struct framer_ops *const *ops = prober_table; *ops; ops++) {
		if (skip_proxy && *ops == &framer_proxy)
			continue;
		enum probe_answer a = ask(*ops, late, request, response);
		if (a == PROBE_MORE && !final) {
			wait = true;
		} else if (a >= PROBE_YES) {
			/* Late, a YES was verified, and a MORE may stand for ever */
			if (wait && (!late || *ops == &framer_opaque))
				return more;
			return (struct prober_verdict) {.ops = *ops,
							.reversed = a == PROBE_REVERSED,
							.sure = a == PROBE_SURE ||
								(*ops)->late_sure};
		}
	}
	return wait ? more : opaque;
}

struct prober_verdict prober_ask(struct bytes request, struct bytes response, bool final,
				 bool skip_proxy)
{
	return table_ask(request, response, final, skip_proxy, false);
}

struct prober_verdict prober_ask_late(struct bytes request, struct bytes response)
{
	return table_ask(request, response, false, false, true);
}
