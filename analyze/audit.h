/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges whether a topic or directory is complete: each instance alone, by its last ledger and by
 * the record numbers that are there. What `sidetap ledger` prints and checks.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink/text.h"

struct Sidetap__V1__Call;
struct Sidetap__V1__Ledger;

struct audit;

struct audit *audit_new(void); /* NULL: no memory */

/* Notes that a record is there; order and repetition do not matter. -ENOMEM; -E2BIG: more instances
 * or wider scattered numbers than are held in memory: nothing is provable. */
int audit_call(struct audit *a, const struct Sidetap__V1__Call *call);

/* Takes the ledger: *ledger is NULL then. The last one of each instance counts. */
int audit_ledger(struct audit *a, struct Sidetap__V1__Ledger **ledger);

/* A record that could not be read: with any of them nothing is provable. */
void audit_broken(struct audit *a);

/* What is wrong, as bits */
enum audit_fault {
	AUDIT_RESIDUE =
		1 << 0, /* a stage does not balance, or still holds something in a final ledger */
	AUDIT_MISSING = 1 << 1, /* a record is neither there nor named as lost */
	AUDIT_NOT_FINAL = 1 << 2, /* no final ledger: not provable after the last one */
	AUDIT_NO_LEDGER =
		1 << 3, /* records without any ledger of their instance; or nothing at all */
	AUDIT_UNPROVABLE = 1 << 4, /* the sink says so, or the auditor could not keep up */
	AUDIT_BEYOND = 1 << 5, /* records numbered beyond the final ledger's last */
	AUDIT_BROKEN = 1 << 6, /* records that could not be read */
};

/* Everything that is wrong with any instance; 0: complete, or what was lost is named. */
unsigned audit_faults(const struct audit *a);

/* Units lost by exits that count as a loss, over all instances; libpcap's own losses among them. Records named as
 * spooled, killed or possibly persisted are lost when they are not there. */
uint64_t audit_lost(const struct audit *a);

/* Some process was killed: what it held in memory then (open calls, the probe's rings) nobody counted. */
bool audit_killed(const struct audit *a);

void audit_json(const struct audit *a, struct text *out); /* one line, as docs/record.md says */
void audit_table(const struct audit *a, struct text *out); /* for people; names escaped */
void audit_free(struct audit *a);
