/* SPDX-License-Identifier: Apache-2.0 */
/* One growing series of files of the file sink (sink/file_name.h). For the writer thread. */
#pragma once
#include <zstd.h>

#include "sink/file_name.h"
#include "sink/record.h"

struct file_out {
	enum record_kind kind;
	const char *instance;
	int dir, fd; /* fd -1: the next frame opens a new file */
	unsigned number;
	uint64_t size; /* of the open file: whole frames */
	uint64_t total; /* bytes of frames in all files */
	uint8_t *raw; /* the frame being gathered */
	size_t n, raw_size;
	uint8_t *packed;
	size_t packed_size;
	ZSTD_CCtx *zstd;
	uint64_t seal_bytes; /* 64 MiB */
	uint64_t suspect; /* files whose fsync or close failed: never tried twice (D2) */
};

/* Opens the first file. -errno. file_out_fini() is due in any case. */
int file_out_init(struct file_out *o, enum record_kind kind, int dir, const char *instance);

/* Adds a record to the frame. -ENOMEM: it is not in the frame. */
int file_out_add(struct file_out *o, const struct record *r);

/* Compresses and writes the frame. On -errno nothing of it stands in the file (or the file was left
 * for a new one), and the frame is gone. */
int file_out_flush(struct file_out *o);

/* fsync and close; the next frame opens the next file. Failures are counted in `suspect`. */
void file_out_seal(struct file_out *o);
void file_out_fini(struct file_out *o);
