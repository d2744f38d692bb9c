/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/file_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { OUT_LEVEL = 1, OUT_NUMBER_MAX = 999999 };

/* Never a file that exists: another run's, or our own after a hot restart. */
static int open_next(struct file_out *o)
{
	char name[FILE_NAME_MAX];
	while (o->number < OUT_NUMBER_MAX) {
		file_name_make(name, o->kind, o->instance, ++o->number);
		o->fd = openat(o->dir, name,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
			       0600);
		if (o->fd >= 0) {
			o->size = 0;
			return 0;
		}
		if (errno != EEXIST) {
			o->number--;
			return -errno;
		}
	}
	return -ENFILE;
}

int file_out_init(struct file_out *o, enum record_kind kind, int dir, const char *instance)
{
	*o = (struct file_out) {.kind = kind,
				.instance = instance,
				.dir = dir,
				.fd = -1,
				.seal_bytes = UINT64_C(64) << 20};
	o->zstd = ZSTD_createCCtx();
	if (!o->zstd)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, OUT_LEVEL);
	ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1);
	return open_next(o);
}

static int grow(uint8_t **p, size_t *size, size_t want)
{
	if (want <= *size)
		return 0;
	size_t n = *size ? *size : FILE_FRAME_BYTES;
	while (n < want)
		n *= 2;
	uint8_t *q = realloc(*p, n);
	if (!q)
		return -ENOMEM;
	*p = q;
	*size = n;
	return 0;
}

int file_out_add(struct file_out *o, const struct record *r)
{
	int e = grow(&o->raw, &o->raw_size, o->n + r->n + 10);
	if (e)
		return e;
	uint64_t v = r->n;
	for (; v >= 0x80; v >>= 7)
		o->raw[o->n++] = (uint8_t)(v | 0x80);
	o->raw[o->n++] = (uint8_t)v;
	memcpy(o->raw + o->n, r->data, r->n);
	o->n += r->n;
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* Takes back a frame that was written in part; a file where that fails is left as it is. */
static void take_back(struct file_out *o)
{
	if (ftruncate(o->fd, (off_t)o->size) == 0 && lseek(o->fd, (off_t)o->size, SEEK_SET) >= 0)
		return;
	close(o->fd);
	o->fd = -1;
}

static int write_frame(struct file_out *o)
{
	int e = grow(&o->packed, &o->packed_size, ZSTD_compressBound(o->n));
	if (e)
		return e;
	size_t n = ZSTD_compress2(o->zstd, o->packed, o->packed_size, o->raw, o->n);
	if (ZSTD_isError(n))
		return -ENOMEM;
	if (o->fd < 0 && (e = open_next(o)) != 0)
		return e;
	e = write_all(o->fd, o->packed, n);
	if (e) {
		take_back(o);
		return e;
	}
	o->size += n;
	o->total += n;
	return 0;
}

int file_out_flush(struct file_out *o)
{
	if (!o->n)
		return 0;
	int e = write_frame(o);
	o->n = 0;
	if (e == 0 && o->size >= o->seal_bytes)
		file_out_seal(o);
	return e;
}

void file_out_seal(struct file_out *o)
{
	if (o->fd < 0)
		return;
	bool bad = fsync(o->fd) != 0;
	bad = close(o->fd) != 0 || bad;
	o->suspect += bad;
	o->fd = -1;
	fsync(o->dir);
}

void file_out_fini(struct file_out *o)
{
	file_out_seal(o);
	ZSTD_freeCCtx(o->zstd);
	free(o->raw);
	free(o->packed);
}
