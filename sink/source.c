/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/source.h"

#include <stdio.h>
#include <string.h>

static const struct source_ops *const kinds[] = {&source_kafka, &source_file};

struct source *source_open(const char *uri, struct source_cfg *cfg, const struct source_ops **ops,
			   char *err, size_t err_n)
{
	size_t n = strcspn(uri, ":");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (uri[n] != ':' || strlen(kinds[i]->scheme) != n ||
		    memcmp(uri, kinds[i]->scheme, n) != 0)
			continue;
		*ops = kinds[i];
		cfg->spec = uri + n + 1;
		return kinds[i]->open(cfg, err, err_n);
	}
	snprintf(err, err_n,
		 "no such source: '%.200s': allowed is file:DIR, kafka://HOST:PORT/TOPIC", uri);
	return NULL;
}
