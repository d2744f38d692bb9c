/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls are wanted: what export, report and replay take as options. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct Sidetap__V1__Call;

struct filter {
	const char *protocol, *service, *method; /* exact; borrowed; NULL: any */
	int32_t status_from, status_to; /* both included */
	bool has_status;
	int outcome; /* enum outcome; -1: any */
	uint64_t since_ns, until_ns; /* start of the request: since <= start < until; 0: open */
};

void filter_init(struct filter *f);

/* "200", "500-599", "5xx", or an outcome's name ("SERVER_ERROR", any case). -EINVAL */
int filter_status(struct filter *f, const char *text);

/*
 * A time: RFC 3339 ("2026-03-01T12:00:00.5Z", "...+02:00"; without a zone: local time; without a
 * time: midnight), "@SECONDS" since 1970, or how long ago ("90s", "10m", "2h", "3d"). -EINVAL
 */
int filter_time(const char *text, uint64_t now_unix_ns, uint64_t *out);

bool filter_match(const struct filter *f, const struct Sidetap__V1__Call *call);
