/* SPDX-License-Identifier: Apache-2.0 */
/* Which protocol a connection speaks, by its first bytes. */
#pragma once
#include "rpc/framer.h"

extern const struct framer_ops *const prober_table[]; /* rpc/protocols.h, NULL-terminated */

/* Bytes of one direction after which no answer means opaque. */
enum { PROBER_HEAD_MAX = 4096 };

struct prober_verdict {
	const struct framer_ops *ops; /* NULL: needs more bytes */
	bool reversed; /* client and server are the other way round */
	bool sure; /* joined late: proved by the bytes alone, whatever came before them */
};

/*
 * Asks the table in order; the first YES wins, unless an earlier entry still wants more. TLS is opaque
 * at once. A server that speaks first decides nothing: the client's bytes are waited for, until the
 * server has sent PROBER_HEAD_MAX. `final`: no more bytes will come (close, or both heads are full):
 * never NULL then. framer_opaque when nobody wants it. `skip_proxy`: a PROXY preamble was read already.
 */
struct prober_verdict prober_ask(struct bytes request, struct bytes response, bool final,
				 bool skip_proxy);

/* The same on a connection joined in the middle: framer_ops.probe_late. */
struct prober_verdict prober_ask_late(struct bytes request, struct bytes response);
