/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char PREFIX[] = "sidetap: ";

static enum log_level log_level = LOG_INFO;
static enum log_format log_format = LOG_PLAIN;

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_level, level, __ATOMIC_RELAXED);
}

void log_set_format(enum log_format format)
{
	__atomic_store_n(&log_format, format, __ATOMIC_RELAXED);
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

static void put(const char *line, size_t n)
{
	int saved = errno;
	if (stderr_takes() && write(STDERR_FILENO, line, n) < 0)
		errno = saved; /* lost, as promised */
	errno = saved;
}

/* "2026-01-31T12:00:00.123Z" (RFC 3339) */
static size_t stamp(char *out, size_t n)
{
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t used = strftime(out, n, "%Y-%m-%dT%H:%M:%S", &tm);
	return used + (size_t)snprintf(out + used, n - used, ".%03ldZ", now.tv_nsec / 1000000);
}

/* Quotes and backslashes of text that log_escape() made safe, within n bytes */
static size_t quote(char *out, size_t n, const char *text)
{
	size_t used = 0;
	for (; *text && used + 2 < n; text++) {
		if (*text == '"' || *text == '\\')
			out[used++] = '\\';
		out[used++] = *text;
	}
	if ((*text & 0xc0) == 0x80) { /* no half character at a cut */
		while (used && (out[used - 1] & 0xc0) == 0x80)
			used--;
		used -= used > 0;
	}
	return used;
}

/* A line of the forms for machines. `more`: text was cut. */
static size_t machine_line(char *line, enum log_format format, enum log_level level,
			   const char *text, bool more)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	static const char *const frames[][4] = {
		[LOG_LOGFMT] = {"ts=", " level=", " msg=\"", "\"\n"},
		[LOG_JSON] = {"{\"ts\":\"", "\",\"level\":\"", "\",\"msg\":\"", "\"}\n"}};
	const char *const *f = frames[format];
	char when[40];
	stamp(when, sizeof(when));
	size_t n = (size_t)snprintf(line, LOG_LINE_MAX, "%s%s%s%s%s", f[0], when, f[1],
				    names[level], f[2]);
	size_t room = LOG_LINE_MAX - n - 8;
	size_t used = quote(line + n, room, text);
	more = more || used + 2 >= room;
	n += used;
	return n + (size_t)snprintf(line + n, LOG_LINE_MAX - n, "%s%s", more ? "..." : "", f[3]);
}

static void machine_raw(enum log_format format, struct bytes text)
{
	char safe[LOG_LINE_MAX], line[LOG_LINE_MAX];
	if (bytes_starts(text, bytes_str(PREFIX)))
		text = bytes_from(text, sizeof(PREFIX) - 1);
	escape(safe, sizeof(safe), &text);
	put(line, machine_line(line, format, LOG_INFO, safe, text.n != 0));
}

void log_raw(const char *text)
{
	enum log_format format = __atomic_load_n(&log_format, __ATOMIC_RELAXED);
	while (*text) {
		const char *end = strchrnul(text, '\n');
		size_t n = (size_t)(end - text), line = n + (*end == '\n');
		if (format == LOG_PLAIN)
			put(text, line);
		else if (n)
			machine_raw(format, bytes_of(text, n));
		text += line;
	}
}

static size_t plain_line(char *line, const char *safe, bool more)
{
	size_t n = (size_t)snprintf(line, LOG_LINE_MAX, "%s%s", PREFIX, safe);
	if (more) {
		memcpy(line + n, "...", 4);
		n += 3;
	}
	line[n++] = '\n';
	return n;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (level > __atomic_load_n(&log_level, __ATOMIC_RELAXED))
		return;
	int saved = errno;
	char text[LOG_LINE_MAX], safe[LOG_LINE_MAX], line[LOG_LINE_MAX];
	enum log_format format = __atomic_load_n(&log_format, __ATOMIC_RELAXED);
	va_list args;
	va_start(args, fmt);
	int said = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (said < 0)
		return;
	struct bytes left = bytes_str(text);
	/* room for the prefix, "..." and the line end */
	escape(safe, sizeof(safe) - sizeof(PREFIX) - sizeof("..."), &left);
	bool more = left.n || said >= (int)sizeof(text);
	put(line, format == LOG_PLAIN ? plain_line(line, safe, more)
				      : machine_line(line, format, level, safe, more));
	errno = saved;
}
