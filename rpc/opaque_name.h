/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for connections that nobody reads: RESP (redis), the MySQL handshake, Kafka, Tars, SOFA Bolt, MongoDB,
 * PostgreSQL. Their signatures are weak, so both directions must agree: on ids, versions or turns. A wrong name is
 * worse than none.
 */
#pragma once
#include <stdbool.h>

#include "rpc/framer.h"

/* First bytes of a direction that are looked at; nothing waits for more. */
enum { OPAQUE_NAME_HEAD = 96 };

/*
 * What the first bytes of the two directions are, for sure: a static name, or NULL. `first` is the direction that was
 * read first, with all that it had when the other one began (where a server greets, the client's may be read first
 * all the same, with what it had when the prober decided: then the cuts of its bytes may decide whether there is a name,
 * never which). *more: NULL may become a name when more is there; never when `final`.
 */
const char *opaque_name(struct bytes request, struct bytes response, enum dir first, bool final,
			bool *more);
