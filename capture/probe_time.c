/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/probe_time.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INFO_MAX = 1024 };

void probe_time_open(struct probe_time *t, const int *programs, size_t n)
{
	char path[64];
	t->n = 0;
	for (size_t i = 0; i < n && t->n < PROBE_TIME_MAX; i++) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", programs[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			t->fd[t->n++] = fd;
	}
}

static uint64_t number_behind(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

bool probe_time_read(const struct probe_time *t, uint64_t *ns)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < t->n; i++) {
		char text[INFO_MAX];
		ssize_t n = pread(t->fd[i], text, sizeof(text) - 1, 0);
		if (n <= 0)
			return false;
		text[n] = 0;
		sum += number_behind(text, "run_time_ns:");
	}
	if (!sum)
		return false;
	*ns = sum;
	return true;
}

void probe_time_close(struct probe_time *t)
{
	for (size_t i = 0; i < t->n; i++)
		close(t->fd[i]);
	t->n = 0;
}
