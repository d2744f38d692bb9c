/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char PREFIX[] = "sidetap: ";

static enum log_level log_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_level, level, __ATOMIC_RELAXED);
}

/* RFC 3629: length of the character at t.p and its code; 0 when none begins there. */
static size_t character(struct bytes t, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t c = t.p[0];
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (n == 0 || n > t.n)
		return 0;
	*code = n == 1 ? c : c & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((t.p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (t.p[i] & 0x3f);
	}
	bool bad = *code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000);
	return bad ? 0 : n;
}

/* Controls, bidirectional overrides, separators and invisible characters */
static bool unsafe(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || c == 0x180e ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

/* What does not fit stays in *text. */
static size_t escape(char *out, size_t out_n, struct bytes *text)
{
	size_t used = 0;

	while (text->n) {
		uint32_t code = 0;
		size_t n = character(*text, &code);
		bool escape = n == 0 || unsafe(code);
		if (n == 0)
			n = 1;
		if (used + (escape ? 4 * n : n) >= out_n)
			break;
		for (size_t i = 0; i < n; i++) {
			if (escape)
				used += (size_t)snprintf(out + used, 5, "\\x%02x", text->p[i]);
			else
				out[used++] = (char)text->p[i];
		}
		*text = bytes_from(*text, n);
	}
	out[used] = 0;
	return used;
}

size_t log_escape(char *out, size_t out_n, struct bytes text)
{
	return escape(out, out_n, &text);
}

/* Writable without waiting. A pipe that says so takes PIPE_BUF (4096) bytes, more than a line. */
static bool stderr_takes(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && !(p.revents & (POLLERR | POLLNVAL));
}

void log_raw(const char *text)
{
	int saved = errno;
	while (*text) {
		const char *end = strchrnul(text, '\n');
		size_t n = (size_t)(end - text) + (*end == '\n');
		if (!stderr_takes() || write(STDERR_FILENO, text, n) < 0)
			break;
		text += n;
	}
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (level > __atomic_load_n(&log_level, __ATOMIC_RELAXED))
		return;
	int saved = errno;
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
	va_list args;
	va_start(args, fmt);
	int said = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	struct bytes left = bytes_str(text);
	size_t n = sizeof(PREFIX) - 1;
	memcpy(line, PREFIX, n);
	n += escape(line + n, sizeof(line) - n - sizeof("..."), &left);
	if (left.n || said >= (int)sizeof(text)) {
		memcpy(line + n, "...", 3);
		n += 3;
	}
	line[n++] = '\n';
	if (said >= 0 && stderr_takes() && write(STDERR_FILENO, line, n) < 0)
		errno = saved; /* lost, as promised */
	errno = saved;
}
