/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of ctl: asking a running capture over its socket (capture/control.h), and showing what it answers. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/*
 * The socket of the one capture that is running, into out: path when it is given, else the only one in the default
 * directory. 0; 1: none answers; 2: several do; said on stderr, with what to do.
 */
int ctl_find(const char *path, char *out, size_t out_n);

/* Sends a request and waits for the answer, 10 s at most. NULL: one line in err. */
json_t *ctl_ask(const char *path, const json_t *request, char *err, size_t err_n);

void ctl_print_status(const json_t *answer, FILE *out);
void ctl_print_ledger(const json_t *answer, FILE *out);
void ctl_print_sampling(const json_t *answer, FILE *out);
/* A stage whose exits do not add up, its name; NULL: all of them do. By our own sum, not by what it says. */
const char *ctl_residue(const json_t *answer);
