/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as text: read, and shown again. */
#pragma once
#include <stdio.h>

#include "capture/settings_table.h"

/* As the file "f.yaml"; `said`: what went to err. */
static inline int settings_text_load(struct settings *s, const char *text, char *said, size_t n)
{
	FILE *err = fmemopen(said, n, "w");
	int rc = settings_load_text(s, "f.yaml", bytes_str(text), err);
	fclose(err);
	return rc;
}

/* Everything that settings_print shows, to compare before and after; malloc'ed */
static inline char *settings_text_shown(const struct settings *s)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	settings_print(s, f);
	fclose(f);
	return text;
}
