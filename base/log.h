/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line an event on stderr: "sidetap: ..." for people, or one of two forms for machines,
 *   ts=2026-01-31T12:00:00.123Z level=info msg="..."
 *   {"ts":"2026-01-31T12:00:00.123Z","level":"info","msg":"..."}
 * Bytes that a terminal or a log reader could act on are escaped as \xNN (S5, S6) in all of them. Never blocks: a
 * full, broken or closed stderr loses the line. Any thread.
 */
#pragma once
#include <stddef.h>

#include "base/bytes.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_PLAIN, LOG_LOGFMT, LOG_JSON };

enum { LOG_LINE_MAX = 2048 }; /* bytes with the line end; a longer line is cut and ends in "..." */

/* Text of whole lines for people, each with the prefix "sidetap: ", as it is; in the forms for machines each becomes
 * an event of level info without the prefix. Lines that stderr does not take now are lost. */
void log_raw(const char *text);
void log_set_level(enum log_level level); /* default LOG_INFO */
void log_set_format(enum log_format format); /* default LOG_PLAIN */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/*
 * Text that is safe on a terminal and in one line of a log: control characters (C0, DEL, C1), bytes
 * that are no UTF-8, and characters that reorder or hide text become \xNN, byte by byte. Always
 * terminated (out_n >= 1), cut at a whole character. Returns the length written.
 */
size_t log_escape(char *out, size_t out_n, struct bytes text);
