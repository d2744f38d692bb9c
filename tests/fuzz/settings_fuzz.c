/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration: taken or refused with one clean line, the settings of before or
 * valid new ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/settings_text.h"

static void must(int ok)
{
	if (!ok)
		abort();
}

/* "FILE:LINE:COLUMN: ...", one line, no byte that a terminal acts on */
static void check_message(const char *said)
{
	unsigned line, column;
	size_t n = strlen(said);
	must(sscanf(said, "f:%u:%u: ", &line, &column) == 2 && line && column);
	must(n && said[n - 1] == '\n');
	for (size_t i = 0; i + 1 < n; i++)
		must((unsigned char)said[i] >= 0x20 && said[i] != 0x7f);
}

static void check_values(const struct settings *s)
{
	must(s->n_ports <= SETTINGS_PORTS_MAX);
	must(s->sample >= 0 && s->sample <= 1 && s->connections >= 0 && s->connections <= 1);
	must((s->hot_ring_bytes & (s->hot_ring_bytes - 1)) == 0 && s->hot_ring_bytes >= 4096);
	must(s->pending_bytes >= s->pending_connection_bytes && s->max_connections &&
	     s->header_count);
	must(s->attach && s->sink && strlen(s->config_hash) == 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct settings s;
	char *said = NULL;
	size_t said_n;
	settings_init(&s);
	s.flag_set = n ? data[0] & 1 : 0; /* --port was a flag, or not */
	char *before = settings_text_shown(&s);
	FILE *err = open_memstream(&said, &said_n);
	int rc = settings_load_text(&s, "f", bytes_of(data, n), err);
	fclose(err);
	char *after = settings_text_shown(&s);
	if (rc < 0) {
		must(strcmp(before, after) == 0);
		check_message(said);
	} else {
		must(said_n == 0);
		check_values(&s);
	}
	free(before);
	free(after);
	free(said);
	settings_fini(&s);
	return 0;
}
