/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one file of the file sink, frame by frame (sink/file_name.h). Hostile files are met by
 * caps. */
#pragma once
#include <zstd.h>

#include "base/bytes.h"
#include "sink/file_name.h"

struct file_in {
	int fd;
	ZSTD_DCtx *zstd;
	uint8_t raw[1 << 16]; /* compressed bytes: raw[at .. n) are not used yet */
	size_t at, n;
	uint64_t frame_off; /* where the frame being read begins */
	uint64_t raw_off; /* of raw[0] */
	uint8_t *out; /* the frame's content */
	size_t out_n, out_size, out_at;
	unsigned broken; /* frames */
	bool torn, ended;
};

/* NULL-safe pair around any number of files. -ENOMEM. */
int file_in_init(struct file_in *f);
void file_in_fini(struct file_in *f);

/* Begins to read fd, which it owns from now on. */
void file_in_start(struct file_in *f, int fd);

/* 1: *data is the next record, valid until the next call. 0: the end, also of a torn or zero-filled
 * tail. -EBADMSG: a frame (or the rest of one) was broken and skipped, go on; after 4,096 of them
 * the file is given up. -errno of read. */
int file_in_next(struct file_in *f, struct bytes *data);
