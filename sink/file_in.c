/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/file_in.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { IN_WINDOW_LOG_MAX = 24, IN_BROKEN_MAX = 4096 };

static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd}; /* RFC 8878 section 3.1.1 */

int file_in_init(struct file_in *f)
{
	f->fd = -1;
	f->out = NULL;
	f->out_size = 0;
	f->zstd = ZSTD_createDCtx();
	if (!f->zstd)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(f->zstd, ZSTD_d_windowLogMax, IN_WINDOW_LOG_MAX);
	file_in_start(f, -1);
	return 0;
}

void file_in_start(struct file_in *f, int fd)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	f->at = f->n = f->out_n = f->out_at = 0;
	f->frame_off = f->raw_off = 0;
	f->broken = 0;
	f->torn = f->ended = false;
}

void file_in_fini(struct file_in *f)
{
	file_in_start(f, -1);
	ZSTD_freeDCtx(f->zstd);
	free(f->out);
}

/* More compressed bytes. 1; 0: end of the file. */
static int fill(struct file_in *f)
{
	if (f->at < f->n)
		return 1;
	f->raw_off += f->n;
	f->at = f->n = 0;
	for (;;) {
		ssize_t n = read(f->fd, f->raw, sizeof(f->raw));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		f->n = (size_t)n;
		return n > 0;
	}
}

static int seek(struct file_in *f, uint64_t off)
{
	if (lseek(f->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	f->raw_off = off;
	f->at = f->n = 0;
	return 0;
}

/* Goes to the next magic at or after `off`; *zeros: nothing but zeros was passed. 1; 0: none. */
static int resync(struct file_in *f, uint64_t off, bool *zeros)
{
	size_t have = 0;
	int e = seek(f, off);
	while (e == 0 && (e = fill(f)) > 0) {
		e = 0;
		uint8_t b = f->raw[f->at++];
		*zeros = *zeros && b == 0;
		have = b == magic[have] ? have + 1 : b == magic[0];
		if (have == sizeof(magic))
			return seek(f, f->raw_off + f->at - sizeof(magic)) ?: 1;
	}
	return e;
}

static int make_room(struct file_in *f)
{
	if (f->out_n < f->out_size)
		return 0;
	if (f->out_size >= FILE_FRAME_MAX)
		return -EBADMSG;
	size_t size = f->out_size ? f->out_size * 2 : FILE_FRAME_BYTES + (1 << 17);
	if (size > FILE_FRAME_MAX)
		size = FILE_FRAME_MAX;
	uint8_t *p = realloc(f->out, size);
	if (!p)
		return -ENOMEM;
	f->out = p;
	f->out_size = size;
	return 0;
}

/* Unpacks one frame, checksum and all. 1; 0: the file ends here (torn: within the frame).
 * -EBADMSG. */
static int unpack(struct file_in *f)
{
	ZSTD_DCtx_reset(f->zstd, ZSTD_reset_session_only);
	f->out_n = f->out_at = 0;
	f->frame_off = f->raw_off + f->at;
	for (;;) {
		int e = fill(f);
		if (e <= 0) {
			f->torn = f->ended = e == 0;
			return e;
		}
		if ((e = make_room(f)) != 0)
			return e;
		ZSTD_inBuffer in = {f->raw, f->n, f->at};
		ZSTD_outBuffer out = {f->out, f->out_size, f->out_n};
		size_t left = ZSTD_decompressStream(f->zstd, &out, &in);
		f->at = in.pos;
		f->out_n = out.pos;
		if (ZSTD_isError(left))
			return -EBADMSG;
		if (left == 0)
			return 1;
	}
}

/* The next record of the unpacked frame. 1; 0: none is left. -EBADMSG: the rest makes no sense. */
static int record_in_frame(struct file_in *f, struct bytes *data)
{
	uint64_t n = 0;
	size_t at = f->out_at;
	unsigned shift = 0;
	uint8_t b = 0x80;
	while (at < f->out_n && (b & 0x80) && shift < 64) {
		b = f->out[at++];
		n |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
	}
	bool whole = f->out_at < f->out_n && !(b & 0x80) && n > 0 && n <= f->out_n - at;
	if (whole && n <= RECORD_MAX_BYTES) {
		*data = bytes_of(f->out + at, n);
		f->out_at = at + n;
		return 1;
	}
	bool rest = f->out_at < f->out_n;
	f->out_at = f->out_n;
	return rest && !f->torn ? -EBADMSG : 0;
}

int file_in_next(struct file_in *f, struct bytes *data)
{
	for (;;) {
		int e = record_in_frame(f, data);
		if (e != 0)
			return e;
		if (f->ended)
			return 0;
		e = unpack(f);
		if (e != -EBADMSG) {
			if (e < 0)
				return e;
			continue;
		}
		bool zeros = true;
		f->out_n = f->out_at = 0;
		e = resync(f, f->frame_off, &zeros);
		if (e > 0 && f->raw_off + f->at == f->frame_off) {
			zeros = false;
			e = resync(f, f->frame_off + 1, &zeros);
		}
		f->ended = e == 0 || ++f->broken == IN_BROKEN_MAX;
		if (e < 0)
			return e;
		if (!zeros || e > 0)
			return -EBADMSG;
	}
}
