/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of settings: the keys of a rule of sampling, what each takes, and how a rule is written. */
#pragma once
#include <stdio.h>

#include "capture/sample.h"

enum rule_group { RULE_GROUP_RULE, RULE_GROUP_MATCH, RULE_GROUP_KEEP_IF };

enum rule_key_id {
	RULE_NAME,
	RULE_MATCH,
	RULE_DROP,
	RULE_PROBABILITY,
	RULE_RATE,
	RULE_BYTES,
	RULE_FIRST,
	RULE_KEEP_IF,
	RULE_BODY,
	RULE_PROTOCOL,
	RULE_SERVICE,
	RULE_METHOD,
	RULE_PATH,
	RULE_HEADER,
	RULE_CLIENT,
	RULE_SERVER,
	RULE_SIDE,
	RULE_STATUS,
	RULE_OUTCOME,
	RULE_SLOWER,
	RULE_KEYS_MAX
};

struct rule_key {
	enum rule_key_id id;
	unsigned group;
	const char *name;
	/* From text that is no null. -EINVAL: no such value; -ERANGE; -E2BIG: one too many; -ENOMEM. Of header: the
	 * value of the last one. */
	int (*set)(struct sample_rule *r, const char *text);
	bool list; /* several values may be given */
	const char *allowed;
};

extern const struct rule_key rule_keys[]; /* ends with a NULL name */

/* A new line and an item of a YAML list */
void rule_print(const struct sample_rule *r, FILE *out);
