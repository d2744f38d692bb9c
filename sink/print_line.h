/* SPDX-License-Identifier: Apache-2.0 */
/* A call as a line for people. */
#pragma once
#include "sink/record.h"
#include "sink/text.h"

struct print_style {
	bool colour, headers, bodies;
};

/* first: part 0 of the call, or `last` itself; last: the part with its end. Time is shown in local
 * time. */
void print_line(struct text *out, const struct Sidetap__V1__Call *first,
		const struct Sidetap__V1__Call *last, const struct print_style *style);
