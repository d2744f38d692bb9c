/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/sink.h"

#include <stdio.h>
#include <string.h>

static const struct sink_ops *const kinds[] = {&sink_kafka, &sink_file, &sink_print, &sink_null};

struct sink *sink_open(const char *uri, struct sink_cfg *cfg, const struct sink_ops **ops,
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
	snprintf(
		err, err_n,
		"no such sink: '%.200s': allowed is kafka://HOST:PORT/TOPIC, kafka:embedded, file:DIR, "
		"print:, null:",
		uri);
	return NULL;
}
