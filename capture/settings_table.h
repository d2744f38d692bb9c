/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of settings: the table of options, and what each kind of value can do. */
#pragma once
#include "base/bytes.h"
#include "capture/settings.h"

enum option_kind {
	OPTION_ACTION, /* help, version */
	OPTION_BOOL, /* "idle"; with `negative` the flag is --no-NAME and the default is true */
	OPTION_COUNTED, /* -v, -vv */
	OPTION_STRING,
	OPTION_SHARE, /* double */
	OPTION_NUMBER, /* uint64_t within min, max */
	OPTION_BYTES, /* uint64_t within min, max; "none" when max is UINT64_MAX */
	OPTION_DURATION, /* uint64_t of ns within min, max */
	OPTION_PORTS,
	OPTION_INTERFACE,
	OPTION_ATTACH,
	OPTION_SINK,
	OPTION_LIMIT, /* "calls=N,bytes=SIZE,time=DURATION", or a mapping */
	OPTION_RING, /* "HOT[,OVERFLOW]" */
	OPTION_PAIR, /* "CONNECTION[,ALL]": two sizes, the second no smaller */
	OPTION_CHOICE, /* unsigned: the place of the word in arg, "plain|logfmt|json" */
	OPTION_LISTEN, /* ADDR:PORT or unix:PATH */
	OPTION_RULES, /* a list of mappings (settings_rules.c) */
	OPTION_GROUP, /* a mapping whose members are the options NAME-MEMBER */
};

struct option {
	const char *group; /* heading of --help; NULL: the group of the one before */
	char letter; /* 0: long only */
	const char *name; /* long name and key of the file */
	enum option_kind kind;
	size_t offset; /* of the (first) field in struct settings */
	const char *arg; /* of --help; NULL: takes none */
	const char *initial; /* its default, as written; NULL: zero */
	uint64_t min, max;
	const char *env; /* a string's default comes from this variable */
	bool negative;
	bool flag_only; /* no key of the file */
	bool live; /* may change while it runs: settings_adopt() */
	bool file_only; /* no flag */
	const char *help;
};

extern const struct option settings_options[];
extern const size_t settings_n_options;

enum { OPTION_ERROR_MAX = 400 };

/*
 * Sets the option from text (ports and limit add to what is there). -EINVAL and *s unchanged: err
 * says "'1.5' is more than all: allowed is ...", with text escaped. -ENOMEM likewise.
 */
int option_set(struct settings *s, const struct option *o, const char *text,
	       char err[OPTION_ERROR_MAX]);

/* To its default; for a list: empty. */
void option_reset(struct settings *s, const struct option *o);

/* The present value as the file would say it, secrets masked. */
void option_print(const struct settings *s, const struct option *o, FILE *out);

/* Text as a quoted YAML scalar */
void option_print_text(const char *text, FILE *out);

/* Of OPTION_RULES: free; copy (-ENOMEM: none in *to); print as YAML, from the next line on. */
void settings_rules_fini(struct settings *s);
int settings_rules_copy(struct settings *to, const struct settings *from);
void settings_rules_print(const struct settings *s, FILE *out);

/* "wrong: allowed is ..." for this option */
int option_refuse(const struct option *o, const char *text, const char *why,
		  char err[OPTION_ERROR_MAX]);

/* Syntax of --attach and --sink (settings_spec.c). 0 and *out malloc'ed in its normal form; else
 * *why. */
int spec_attach(const char *text, char **out, const char **why);
int spec_sink(const char *text, char **out, const char **why);
int spec_listen(const char *text, char **out, const char **why); /* --metrics */
/* A sink without the values of its secret properties. */
void spec_print_sink(const char *sink, FILE *out);

/* Finds by long name, "no-NAME" too for booleans (*on false then). NULL: none. */
const struct option *settings_find(struct bytes name, bool *on);
const char *settings_nearest(const char *name, bool keys_only); /* NULL: nothing is near */

/* Applies a whole file that is in memory; `name` is for messages. As settings_load. */
int settings_load_text(struct settings *s, const char *name, struct bytes text, FILE *err);

/* Its value is malloc'ed text: field is a char *. */
static inline bool option_is_text(const struct option *o)
{
	return o->kind == OPTION_STRING || o->kind == OPTION_ATTACH || o->kind == OPTION_SINK ||
	       o->kind == OPTION_LISTEN;
}
void settings_hash(struct settings *s);
void settings_help(FILE *out);
