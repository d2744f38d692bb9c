/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation of many calls of one connection, several in flight and answered out of order, as whole connections
 * (conn_wire.h): joined late at any byte, or with segments lost at random. What comes of it is judged: nothing wrong,
 * and what says nothing of a loss is exact.
 */
#pragma once
#include "base/buf.h"
#include "rpc/framer.h"

/* Call number i, encoded; its parts hold the text of lossy_token(i). */
struct lossy_call {
	struct buf wire[2];
	size_t body_off[2]; /* the record's body is the rest from here on */
	const char *service;
	char method[24];
	int32_t status;
	enum outcome outcome;
	bool oneway; /* wire[1] is not sent */
};

struct lossy_protocol {
	const char *name;
	/* `size`: about so many bytes of payload each way. Only wire is not empty before. */
	void (*make)(unsigned i, size_t size, struct lossy_call *c);
	unsigned in_flight; /* 1: one after the other */
	bool order_only; /* ids prove nothing: a wrong pair is allowed where it says late_join */
};

const char *lossy_token(unsigned i); /* static */

struct lossy_share {
	unsigned long sent,
		exact; /* calls that were wholly behind the attach point; of those, exact ones */
	unsigned long records;
};

/* `calls` calls, attached at each `step`-th byte of the conversation. */
struct lossy_share lossy_late(const struct lossy_protocol *p, unsigned calls, size_t step);

/* `runs` conversations with so many segments of a million lost. */
struct lossy_share lossy_drops(const struct lossy_protocol *p, unsigned calls, unsigned runs,
			       unsigned per_million);

/* What every protocol with ids must hold: joined late at every byte, with 4 in flight, and at every third byte with one
 * at a time (90 %); with 0, 0.1, 1 and 5 % of the segments lost (100, 98, 85, 50 %). */
void lossy_hold_late(const struct lossy_protocol *several, const struct lossy_protocol *serial);
void lossy_hold_drops(const struct lossy_protocol *several);

/* Prints the share, and holds it to be at least so much. */
void lossy_print(const char *what, const struct lossy_protocol *p, struct lossy_share s,
		 double least);
