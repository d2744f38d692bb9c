/* SPDX-License-Identifier: Apache-2.0 */
/* Is this TTHeader, and where does a frame begin? Pure. */
#pragma once
#include "rpc/ttheader_head.h"

enum ttheader_said { TTHEADER_SAID_NOTHING, TTHEADER_SAID_REQUEST, TTHEADER_SAID_REPLY };

/*
 * Does a frame begin with `in`, beyond doubt: a header that parses whole, and either a frame of a stream, or a payload
 * that is a message, or a second frame where the first one ends. 1: yes, *said tells whose words these are; 0: needs
 * more; -EPROTO: no. The answer for a prefix is 0 or the same.
 */
int ttheader_find_verify(struct bytes in, const struct framer_limits *limits,
			 enum ttheader_said *said);

/* The first place where one begins. 1: at *skip; 0: not before *skip, what lies behind needs more. */
int ttheader_find(struct bytes in, const struct framer_limits *limits, size_t *skip,
		  enum ttheader_said *said);

/* framer_ops.probe and probe_late */
enum probe_answer ttheader_find_probe(struct bytes request, struct bytes response);
enum probe_answer ttheader_find_probe_late(struct bytes request, struct bytes response);
