/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hessian 2.0 (hessian.caucho.com/doc/hessian-serialization.html): reads strings and small numbers where they
 * lie, and steps over every other value. Nothing is instantiated, allocated, or followed: references and class
 * names are bytes like others. No recursion; depth, classes and steps are bounded (R12).
 *
 * A string counts UTF-16 units; both the surrogates of Java's writer (three bytes each) and plain UTF-8 of
 * four bytes (two units) occur.
 */
#pragma once
#include "base/bytes.h"

enum { HESSIAN_DEPTH_MAX = 64, HESSIAN_CLASSES_MAX = 64, HESSIAN_STEPS_MAX = 1 << 15 };

struct hessian {
	struct cursor c;
	uint32_t steps;
	uint16_t n_classes;
	uint16_t fields[HESSIAN_CLASSES_MAX]; /* of each class definition seen */
	bool over; /* a limit was reached: nothing more is read */
};

struct hessian hessian_of(struct bytes in);

/* The tag of the next value; -1 at the end. */
int hessian_peek(const struct hessian *h);

/* A string in one chunk, or null (empty). false: another value, a string in chunks, or a broken one. */
bool hessian_string(struct hessian *h, struct bytes *s);
/* The first chunk of a string, however many follow. Nothing can be read behind it. */
bool hessian_string_start(struct hessian *h, struct bytes *s);
bool hessian_int(struct hessian *h, int32_t *v);
/* An int or a long. */
bool hessian_number(struct hessian *h, int64_t *v);

/* Steps into a map. false: another value. Its keys and values follow, then hessian_map_end(). */
bool hessian_map(struct hessian *h);
bool hessian_map_end(struct hessian *h);

/* Steps over one value. false: broken, cut, or over a limit. */
bool hessian_skip(struct hessian *h);

/* Of an object that begins here with its class definition (a Java exception): its string field detailMessage. */
bool hessian_exception_text(struct hessian *h, struct bytes *s);
