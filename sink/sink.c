/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/sink.h"

#include <stdio.h>

#include "sink/scheme.h"

static const struct sink_ops *const kinds[] = {&sink_kafka, &sink_file, &sink_print, &sink_null};

struct sink *sink_open(const char *uri, struct sink_cfg *cfg, const struct sink_ops **ops,
		       char *err, size_t err_n)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		cfg->spec = scheme_spec(uri, kinds[i]->scheme);
		if (!cfg->spec)
			continue;
		*ops = kinds[i];
		return kinds[i]->open(cfg, err, err_n);
	}
	snprintf(
		err, err_n,
		"no such sink: '%.200s': allowed is kafka://HOST:PORT/TOPIC, kafka:embedded, file:DIR, "
		"print:, null:",
		uri);
	return NULL;
}
