/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/kafka_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { SECRET_MAX = 64 << 10 };

/* Bytes read, at most max; -errno. */
static ssize_t read_some(const char *path, char *out, size_t max)
{
	size_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ssize_t r = 1;
	while (n < max && r > 0) {
		r = read(fd, out + n, max - n);
		if (r < 0 && errno == EINTR)
			r = 1;
		else if (r > 0)
			n += (size_t)r;
	}
	int e = r < 0 ? -errno : 0;
	close(fd);
	return e < 0 ? e : (ssize_t)n;
}

static char *from_file(const char *property, const char *path, char *err, size_t err_n)
{
	CLEANUP_FREE char *text = malloc(SECRET_MAX + 2);
	if (!text)
		return NULL;
	ssize_t n = read_some(path, text, SECRET_MAX + 1);
	if (n < 0 || n > SECRET_MAX) {
		snprintf(err, err_n, "kafka: %s: cannot read %.200s: %s", property, path,
			 n < 0 ? strerror((int)-n) : "it is larger than 64 KiB");
		return NULL;
	}
	if (n > 0 && text[n - 1] == '\n')
		n--;
	if (n > 0 && text[n - 1] == '\r')
		n--;
	text[n] = 0;
	if (n > 0 && strlen(text) == (size_t)n)
		return take_ptr(text);
	snprintf(err, err_n, "kafka: %s: %.200s is %s", property, path,
		 n ? "no text: it holds a zero byte" : "empty");
	return NULL;
}

char *kafka_secret(const char *property, const char *value, char *err, size_t err_n)
{
	if (strncmp(value, "file:", 5) == 0)
		return from_file(property, value + 5, err, err_n);
	if (strncmp(value, "env:", 4) != 0)
		return strdup(value);
	const char *found = getenv(value + 4);
	if (found)
		return strdup(found);
	snprintf(err, err_n, "kafka: %s: the environment variable %.200s is not set", property,
		 value + 4);
	return NULL;
}
