/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a rule. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sample.h"

enum { PATTERNS = 6 };

static void patterns_of(struct sample_rule *r, struct sample_pattern *out[PATTERNS])
{
	struct sample_pattern *all[PATTERNS] = {&r->protocol, &r->service, &r->method,
						&r->path,     &r->client,  &r->server};
	memcpy(out, all, sizeof(all));
}

void sample_rule_init(struct sample_rule *r)
{
	*r = (struct sample_rule) {.probability = 1};
}

void sample_rule_rest(struct sample_rule *r, double share)
{
	sample_rule_init(r);
	memcpy(r->name, share >= 1 ? "all" : "sample", share >= 1 ? 4 : 7);
	r->probability = share;
}

void sample_rule_fini(struct sample_rule *r)
{
	struct sample_pattern *all[PATTERNS];
	patterns_of(r, all);
	for (size_t i = 0; i < PATTERNS; i++)
		free(all[i]->text);
	for (size_t i = 0; i < r->n_headers; i++) {
		free(r->header[i].name);
		free(r->header[i].value.text);
	}
	sample_rule_init(r);
}

static char *text_copy(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;
	*failed |= text && !copy;
	return copy;
}

int sample_rule_copy(struct sample_rule *to, const struct sample_rule *from)
{
	struct sample_pattern *all[PATTERNS];
	bool failed = false;
	*to = *from;
	patterns_of(to, all);
	for (size_t i = 0; i < PATTERNS; i++)
		all[i]->text = text_copy(all[i]->text, &failed);
	for (size_t i = 0; i < to->n_headers; i++) {
		to->header[i].name = text_copy(to->header[i].name, &failed);
		to->header[i].value.text = text_copy(to->header[i].value.text, &failed);
	}
	if (!failed)
		return 0;
	sample_rule_fini(to);
	return -ENOMEM;
}

bool sample_rule_has_tail(const struct sample_rule *r)
{
	return r->keep_outcomes || r->keep_slower_ns || r->n_keep_status;
}
