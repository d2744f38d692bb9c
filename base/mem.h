/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership idioms: a cleanup attribute for owning locals, and take_ptr to leave with them. */
#pragma once
#include <stdlib.h>

static inline void mem_freep(void *pp)
{
	free(*(void **)pp);
}
#define CLEANUP_FREE __attribute__((cleanup(mem_freep)))

/* The pointer, with its owner emptied: `return take_ptr(p);` */
#define take_ptr(p)                                                                                \
	({                                                                                         \
		__auto_type taken_ = (p);                                                          \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
