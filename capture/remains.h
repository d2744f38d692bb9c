/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process leaves of its ledger (P2): a small file mapped into memory, in the spool's directory, where
 * each record number has a byte that says what became of it. It survives kill -9, not a power cut. The next process
 * with that spool makes the final Ledger of the dead one from it: which records were lost and by which exit, which
 * were under way ("killed"), which are in the spool; the stages before the records as the last interval had them,
 * what they held then as "killed". No system call between open and close.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "sink/record.h"

struct remains;

/* Bytes of all such files beside a spool of this size, ours and what is kept of dead ones: part of what the directory may
 * hold. */
uint64_t remains_bytes(uint64_t spool_bytes);

/* NULL: it could not be made (err says why), and a kill will cost the ledger. dir: the spool's. */
struct remains *remains_open(const char *dir, const char *instance, uint64_t spool_bytes, char *err,
			     size_t err_n);

/* Record numbers rise by one. */
void remains_made(struct remains *m, uint64_t number);
void remains_stored(struct remains *m, uint64_t number); /* it is in the spool */
void remains_settled(struct remains *m, uint64_t number, const char *exit); /* NULL: delivered */

/* The encoded Ledger of an interval; too large a one is left out. */
void remains_ledger(struct remains *m, struct bytes encoded);

/* The end was told in a Ledger of its own: the file goes. Without it (a crash) it stays. */
void remains_close(struct remains *m, bool told);

/*
 * The processes that were killed with this directory: their final Ledgers, one a call, in any order; *found begins at
 * NULL. 1: *out is a record, whose number is for remains_told(); 0: no more. What was told before is deleted here.
 * At most REMAINS_DEAD_MAX in one run; the others wait for the next.
 */
enum { REMAINS_DEAD_MAX = 64 };
struct remains_found;
int remains_next(const char *dir, struct remains_found **found, struct record **out);

/*
 * The Ledger of that number was delivered, or is in the spool, from where it may yet be evicted: that is enough only when
 * there are more than REMAINS_KEPT. Then its file goes at remains_forget(), or at the next start. No system call: for the
 * loop.
 */
enum { REMAINS_KEPT = 2 };
void remains_told(struct remains_found *f, uint64_t number, bool delivered);
void remains_forget(struct remains_found *f);
