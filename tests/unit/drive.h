/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds a script of two directions through the prober and framers, cut anywhere, and writes down the messages
 * as text that does not depend on the cuts. It also holds each framer to its contract: aborts when one breaks it.
 *
 * A script is text, a line a step:
 *   > GET / HTTP/1.1\r\n       bytes from the client (escapes: \r \n \t \0 \\ \xNN; all else as it is)
 *   < HTTP/1.1 200 OK\r\n      bytes from the server
 *   >* 70000 a                 the bytes behind the number, so many times
 *   >? 100    <? 5             so many bytes were lost here
 *   >! fin    <! rst           the direction ends: fin, rst, evicted, stop
 *   = ...                      a line of the expected text
 *   # ...                      comment
 *   @ http1                    no probing: begin with that framer
 *   @late http1                the same, joined late
 *   @limits 4096 8             header bytes, header count
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "rpc/framer.h"

enum { DRIVE_STEPS_MAX = 512 };

enum drive_what { DRIVE_BYTES, DRIVE_GAP, DRIVE_END };

struct drive_step {
	enum drive_what what;
	enum dir dir;
	size_t off, n; /* BYTES: in script.bytes; GAP: n */
	enum end_how how;
};

struct drive_script {
	struct buf bytes; /* of all steps, one after the other */
	struct buf expect; /* text, lines without "= " */
	struct drive_step steps[DRIVE_STEPS_MAX];
	size_t n;
	const struct framer_ops *first; /* NULL: the prober decides */
	bool late;
	struct framer_limits limits;
};

/* false: not a script (bad line, too many steps, more than max bytes). Free it in any case. */
bool drive_parse(struct drive_script *s, struct bytes text, size_t max);
bool drive_load(struct drive_script *s, const char *path);
void drive_script_fini(struct drive_script *s);

/* For scripts made by a program. */
void drive_script_init(struct drive_script *s);
void drive_add(struct drive_script *s, enum dir dir, struct bytes b);
void drive_add_gap(struct drive_script *s, enum dir dir, size_t n);
void drive_add_end(struct drive_script *s, enum dir dir, enum end_how how);

struct drive_result {
	struct buf text; /* client's direction, then the server's; NUL-terminated */
	size_t heads; /* HEAD pieces */
	size_t resyncs; /* resync() said 1 */
	size_t taken[2]; /* bytes that next() took */
};

/*
 * `cuts`: rising offsets in script.bytes; a step is cut where one lies inside it. Each part counts as one
 * sender's segment. The text is the caller's to free (drive_result_fini).
 */
struct drive_result drive_run(const struct drive_script *s, const size_t *cuts, size_t n_cuts);
/* A cut at every byte */
struct drive_result drive_run_bytes(const struct drive_script *s);
void drive_result_fini(struct drive_result *r);

/* Runs a script given as text; returns the messages (caller frees). */
char *drive_text(const char *script);

/* Small deterministic generator for tests (xorshift). */
uint32_t drive_random(uint64_t *seed);
