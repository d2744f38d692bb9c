/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <stdbool.h>

struct Sidetap__V1__Call;

/* Moves what `from`, the next part, adds into `to`; `from` stays a whole object, to->part says which
 * was last. A stream message that was split over parts becomes one again. -ENOMEM: in part. */
int parts_join(struct Sidetap__V1__Call *to, struct Sidetap__V1__Call *from);

/* Adds a flag unless it is there. -ENOMEM */
int parts_flag(struct Sidetap__V1__Call *call, const char *flag);
