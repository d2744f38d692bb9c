/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says of redaction, as text with a place each (capture/settings_redact.c reads it, docs/operating.md
 * tells its syntax); capture/redact.c makes a redactor of it. Holds no secret: of a key only where it is.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What a rule names; also what counters count by. */
enum redact_kind {
	REDACT_HEADER, /* headers, trailers, metadata, attributes by name */
	REDACT_QUERY, /* parameters of a path or URL */
	REDACT_COOKIE,
	REDACT_JSON,
	REDACT_FORM, /* application/x-www-form-urlencoded, multipart/form-data */
	REDACT_THRIFT,
	REDACT_PROTOBUF,
	REDACT_REGEX,
	REDACT_RULES, /* how many kinds a rule may have; those behind are only counted */
	REDACT_USERINFO = REDACT_RULES, /* "user:password@" of a URL or authority */
	REDACT_UNKNOWN_NAME, /* a header whose name a late join cannot know */
	REDACT_STATUS_TEXT, /* the text of an exception whose body was redacted */
	REDACT_KINDS
};

enum redact_action {
	REDACT_MASK, /* [redacted], or the type's zero */
	REDACT_HASH, /* [h:...]: the same secret, the same token */
	REDACT_DROP, /* the field, parameter, cookie or header goes */
};

enum redact_on {
	REDACT_ON_HEADER = 1 << 0,
	REDACT_ON_PATH = 1 << 1,
	REDACT_ON_BODY = 1 << 2,
	REDACT_ON_REQUEST = 1 << 3,
	REDACT_ON_RESPONSE = 1 << 4,
	REDACT_ON_N = 5,
	REDACT_ON_ALL = (1 << REDACT_ON_N) - 1,
};

struct redact_rule {
	enum redact_kind kind;
	enum redact_action action;
	unsigned on; /* a sum of enum redact_on */
	char *what; /* name or glob, path, pattern; malloc'ed */
};

struct redact_rules {
	struct redact_rule *list; /* in the order of the file: the first that fits acts */
	size_t n, cap;
	char **allow; /* names or globs that the built-in lists do not hold */
	size_t n_allow, cap_allow;
	char *key; /* "file:PATH" or "env:NAME"; NULL: random, of this process */
};

enum { REDACT_RULES_MAX = 256, REDACT_WHAT_MAX = 4096 };

void redact_rules_fini(struct redact_rules *r);
int redact_rules_copy(struct redact_rules *to, const struct redact_rules *from); /* -ENOMEM */
/* Copies `what`. -ENOMEM; -E2BIG: over REDACT_RULES_MAX. */
int redact_rules_add(struct redact_rules *r, enum redact_kind kind, enum redact_action action,
		     unsigned on, const char *what);
int redact_rules_allow(struct redact_rules *r, const char *name);
bool redact_rules_empty(const struct redact_rules *r);

/* As a YAML flow mapping on one line, which reads back to the same rules. */
void redact_rules_print(const struct redact_rules *r, FILE *out);

/* "headers" of REDACT_HEADER: the key of the file. */
const char *redact_kind_key(enum redact_kind kind);
/* "header": the name of a counter. */
const char *redact_kind_name(enum redact_kind kind);
/* "name", "path" or "pattern": what the file calls redact_rule.what of this kind. */
const char *redact_kind_member(enum redact_kind kind);
/* Which bits of `on` such a rule may choose from; 0: none. Those that it does not choose from are all set. */
unsigned redact_kind_on(enum redact_kind kind);
const char *redact_on_name(unsigned bit); /* of 0 .. REDACT_ON_N - 1: "header" ... */
const char *redact_action_name(enum redact_action action);

/* Is `what` of a rule right? 0, or -EINVAL and what is wrong with it and what is allowed in err. */
enum { REDACT_ERROR_MAX = 300 };
int redact_rule_check(enum redact_kind kind, const char *what, char err[REDACT_ERROR_MAX]);
/* The same of a key: its syntax only. */
int redact_key_check(const char *key, char err[REDACT_ERROR_MAX]);
