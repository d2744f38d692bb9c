/* SPDX-License-Identifier: Apache-2.0 */
/* The first answer of a fresh framer. Include after cmocka.h. */
#pragma once
#include <stdlib.h>

#include "rpc/framer.h"

struct first_piece {
	int64_t r;
	struct piece p;
	size_t need;
};

static inline struct first_piece first_piece_limited(const struct framer_ops *ops, enum dir dir,
						     struct bytes in, struct framer_limits limits)
{
	void *c = calloc(1, ops->state_size);
	struct first_piece f;

	assert_int_equal(ops->init(c, &limits, false), 0);
	f.r = ops->next(c, dir, in, &f.p, &f.need);
	ops->fini(c);
	free(c);
	return f;
}

static inline struct first_piece first_piece(const struct framer_ops *ops, enum dir dir,
					     struct bytes in)
{
	return first_piece_limited(ops, dir, in,
				   (struct framer_limits) {65536, 256, 1024, 64 << 20});
}
