/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a spool: who may use it, and its files. No state. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { SPOOL_NAME = 40 };

/* Makes, checks and locks it: the descriptor, which holds the lock; -errno with err filled. */
int spool_dir_open(const char *path, char *err, size_t err_n);

void spool_dir_name(char out[SPOOL_NAME], uint64_t segment);

struct spool_file {
	uint64_t segment, bytes;
};

/* Our files, oldest first; malloc'ed. Links, directories, pipes and other names are passed over. -errno. */
int spool_dir_list(int dir, struct spool_file **out, size_t *n);

/* A new file, which was not there. The descriptor, -errno. */
int spool_dir_create(int dir, uint64_t segment);

/* The whole file, at most max bytes (-EFBIG). -errno. */
int spool_dir_read(int dir, uint64_t segment, uint64_t max, struct buf *out);

/* The word in "sidetap.cluster": out of 64 bytes; "" when there is none, or it is none. Written whole or not at all. */
enum { SPOOL_WORD = 64 };
void spool_dir_word(int dir, char out[SPOOL_WORD]);
int spool_dir_keep_word(int dir, const char *word);

int spool_dir_remove(int dir, uint64_t segment);
