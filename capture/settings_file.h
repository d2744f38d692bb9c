/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of settings: a configuration file being read, for those that read a part of it. */
#pragma once
#include "base/yaml.h"
#include "capture/settings_table.h"

enum { SETTINGS_KEY_MAX = 80 };

struct settings_file {
	struct settings *s; /* the copy being filled */
	struct yaml_doc *yaml;
	struct yaml_item item; /* the one read last */
	const char *name;
	FILE *err;
	uint64_t seen; /* keys, by their place in the table */
};

/* 1: f->item; 0: the end; -EINVAL said */
int settings_file_next(struct settings_file *f);

/* "FILE:LINE:COLUMN: KEY: WHAT" of f->item, or of a place; key may be "". -EINVAL. */
int settings_file_fail(struct settings_file *f, const char *key, const char *what);
int settings_file_fail_at(struct settings_file *f, unsigned line, unsigned column, const char *key,
			  const char *what);

bool settings_file_is_null(const struct yaml_item *i);

/* `redact:` as a mapping, which is at f->item, into f->s (capture/settings_redact.c) */
int settings_redact(struct settings_file *f);
