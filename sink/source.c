/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/source.h"

#include <stdio.h>

#include "sink/scheme.h"

static const struct source_ops *const kinds[] = {&source_kafka, &source_file};

struct source *source_open(const char *uri, struct source_cfg *cfg, const struct source_ops **ops,
			   char *err, size_t err_n)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		cfg->spec = scheme_spec(uri, kinds[i]->scheme);
		if (!cfg->spec)
			continue;
		*ops = kinds[i];
		return kinds[i]->open(cfg, err, err_n);
	}
	snprintf(err, err_n,
		 "no such source: '%.200s': allowed is file:DIR, kafka://HOST:PORT/TOPIC", uri);
	return NULL;
}
