/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process leaves of its ledger (P2): a small file mapped into memory, in the spool's directory, where
 * each record number has a byte that says what became of it. It survives kill -9, not a power cut. The next process
 * with that spool makes the final Ledger of the dead one from it: which records were lost ("killed"), which are in the
 * spool; the stages before the records as the last interval had them. No system call after open.
 */
#pragma once
#include <stdint.h>

#include "sink/record.h"

struct remains;

/* NULL: it could not be made (err says why), and a kill will cost the ledger. dir: the spool's. */
struct remains *remains_open(const char *dir, const char *instance, char *err, size_t err_n);

/* Record numbers rise by one. */
void remains_made(struct remains *m, uint64_t number);
void remains_stored(struct remains *m, uint64_t number); /* it is in the spool */
void remains_settled(struct remains *m, uint64_t number, const char *exit); /* NULL: delivered */

/* The encoded Ledger of an interval; too large a one is left out. */
void remains_ledger(struct remains *m, struct bytes encoded);

/* The end was told in a Ledger of its own: the file goes. Without it (a crash) it stays. */
void remains_close(struct remains *m, bool told);

/*
 * Final Ledgers of the processes that were killed with this directory, one a call, in any order; *cookie begins at
 * NULL. 1: *out is a record; 0: no more, and nothing is held. The files stay until remains_forget(): call it when the
 * records were delivered or stored.
 */
struct remains_found;
int remains_next(const char *dir, struct remains_found **cookie, struct record **out);
/* told: deletes the files whose ledgers were given out. Frees in any case. */
void remains_forget(struct remains_found *cookie, bool told);
