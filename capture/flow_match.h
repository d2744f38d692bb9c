/* SPDX-License-Identifier: Apache-2.0 */
/* Which flow and direction a packet belongs to, under address translation too (flow.h). */
#pragma once
#include "capture/flow_table.h"

struct flow_found {
	struct flow_node *node; /* open or closed; NULL: none */
	enum dir dir;
	bool certain; /* no flow: the direction is from a SYN or a listening socket */
	struct flow_node *
		crowd; /* the oldest of too many flows of this client's port: leave with it first */
};

/* Without a flow, dir is the direction that a new one would give the packet. */
struct flow_found flow_match_find(const struct flow_table *t, const struct packet *p);

/* Notes the addresses and ports that a packet of this flow shows. */
void flow_match_learn(struct flow_node *n, enum dir dir, const struct packet *p);
