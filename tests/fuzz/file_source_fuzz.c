/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file of the file sink, as they are and as the content of a whole frame. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create */
#endif
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "sink/file_in.h"

/* Reads it to the end: at most one answer for a byte of content, and it must end. */
static void read_file(const uint8_t *p, size_t n)
{
	static struct file_in in;
	struct bytes data;
	int fd = memfd_create("fuzz", MFD_CLOEXEC), e;
	if (fd < 0 || write(fd, p, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0 ||
	    file_in_init(&in) != 0)
		abort();
	file_in_start(&in, fd);
	while ((e = file_in_next(&in, &data)) == 1 || e == -EBADMSG)
		if (e == 1 && (data.n == 0 || data.n > RECORD_MAX_BYTES))
			abort();
	if (e != 0)
		abort();
	file_in_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t packed[1 << 17];
	read_file(p, n);
	if (ZSTD_compressBound(n) > sizeof(packed))
		return 0;
	read_file(packed, ZSTD_compress(packed, sizeof(packed), p, n, 1));
	return 0;
}
