/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the driver: pieces written down, bytes escaped as in a script. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "rpc/framer.h"

/* A broken contract ends the program: a test or a fuzzer sees it. */
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "drive: contract broken: %s (line %d)\n", #cond,           \
				__LINE__);                                                         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

void drive_print(struct buf *b, struct bytes s);
void drive_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void drive_print_escaped(struct buf *b, struct bytes s);
void drive_print_flags(struct buf *b, unsigned flags);
void drive_print_list(struct buf *b, const char *mark, const struct header *h, size_t n);
void drive_print_head(struct buf *b, const struct piece *p, const char *protocol);
/* What an END adds to its message's head; an ABORT of both messages of a call. */
void drive_print_end(struct buf *b, const struct piece *p);
void drive_print_both(struct buf *b, const struct piece *p);
