/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of settings: a YAML file being read, item by item; errors name the place. */
#pragma once
#include "base/yaml.h"
#include "capture/settings_table.h"

enum { SETTINGS_KEY_MAX = 80 };

struct settings_file {
	struct settings *s; /* the copy being filled */
	struct yaml_doc *yaml;
	struct yaml_item item;
	const char *name;
	const char *const *keys; /* the only ones; NULL: all of the table */
	FILE *err;
	uint64_t seen; /* keys, by their place in the table */
	char error[OPTION_ERROR_MAX + 80];
};

/* 1: f->item; 0: the end; -EINVAL said */
int settings_file_next(struct settings_file *f);

/* Says "FILE:LINE:COLUMN: KEY: WHAT" with the place of f->item, key escaped. -EINVAL */
int settings_file_fail(struct settings_file *f, const char *key, const char *what);
int settings_file_fail_at(struct settings_file *f, unsigned line, unsigned column, const char *key,
			  const char *what);

/* Is the scalar at f->item an empty or null one? */
bool settings_file_is_null(const struct settings_file *f);

/* `rules:`, whose value begins at f->item, into f->s. 0, or -EINVAL said. */
int settings_rules_read(struct settings_file *f);

/* `redact:` as a mapping, which is at f->item, into f->s (capture/settings_redact.c) */
int settings_redact(struct settings_file *f);
