/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of redact: the compiled rules, and what each engine does with them. */
#pragma once
#include "capture/redact.h"

#define REDACT_MASKED "[redacted]"

/* ---- tokens (redact_token.c) ---- */

enum { REDACT_KEY_MIN = 16, REDACT_KEY_MAX = 4096, REDACT_TOKEN = 36 }; /* "[h:" 32 hex "]" */

struct redact_token {
	void *mac; /* EVP_MAC_CTX; NULL: no rule hashes */
	uint8_t key[REDACT_KEY_MAX];
	size_t key_n;
	char text[REDACT_TOKEN];
};

/* Reads the key, or draws the process's when a rule hashes; before: as redactor_new. */
int redact_token_init(struct redact_token *t, const struct redact_rules *rules,
		      const struct redactor *before, char *err, size_t err_n);
void redact_token_fini(struct redact_token *t);
/* HMAC-SHA-256 cut to 128 bits. False: it cannot be had, mask instead. */
bool redact_token_hash(struct redact_token *t, struct bytes secret, uint8_t out[16]);
/* What stands for the secret; valid until the next call. */
struct bytes redact_token_text(struct redact_token *t, enum redact_action action,
			       struct bytes secret);

/* ---- names (redact_name.c) ---- */

struct redact_name {
	struct bytes name;
	enum redact_action action;
	bool glob, listed; /* listed: of a built-in list */
};

enum { REDACT_STARTS = 48 };

struct redact_names {
	struct redact_name *list; /* rules in their order, then what is listed and not allowed */
	size_t n;
	bool globs;
	/* Which first letters (a bit each) a name of each length has: most are told by this alone. */
	uint32_t starts[REDACT_STARTS];
};

/* Rules of `kind`, and the names of `listed` that no glob of `allow` fits. -ENOMEM. */
int redact_names_init(struct redact_names *n, const struct redact_rules *rules,
		      enum redact_kind kind, const struct bytes *listed, size_t n_listed);
void redact_names_fini(struct redact_names *n);
const struct redact_name *redact_names_find(const struct redact_names *n, struct bytes name);
/* Without the prefix under which ByteDance's frameworks carry a caller's values */
struct bytes redact_plain_name(struct bytes name);
/* '*' is any text, '?' any byte; case folded. Time: the product of the lengths at most. */
bool redact_name_fits(struct bytes glob, struct bytes name);
/* Names with their %XX (plus: and '+') read, into out. Empty when it is longer than out_n. */
struct bytes redact_name_decode(struct bytes in, bool plus, uint8_t *out, size_t out_n);

/* ---- paths into bodies ---- */

enum { REDACT_PATH_STEPS = 16, REDACT_PATHS_MAX = 64, REDACT_DEPTH_MAX = 100 };

enum redact_step_kind {
	REDACT_STEP_NAME, /* a member; any element of an array on the way passes */
	REDACT_STEP_INDEX,
	REDACT_STEP_ANY,
	REDACT_STEP_DEEP_NAME, /* a member at any depth */
	REDACT_STEP_DEEP_ANY,
	REDACT_STEP_FIELD, /* by number: Thrift, protobuf */
};

struct redact_step {
	enum redact_step_kind kind;
	uint32_t number;
	struct bytes name;
};

struct redact_path {
	const struct redact_rule *rule;
	struct bytes call; /* of this method only: "Method" or "/Service/Method"; empty: of any */
	struct redact_step step[REDACT_PATH_STEPS];
	unsigned n;
};

struct redact_paths {
	struct redact_path *list;
	size_t n;
};

/* Where in each path a place of a body is: bit i of word p says that the first i steps of path p led here; bit n: it
 * is what the rule names. */
typedef uint32_t redact_mask;

/* Syntax: "$.user..token[*]['a b'][0]" and "Method:1.2.*". Spans of `text`. -EINVAL and why. */
int redact_json_path_parse(const char *text, struct redact_path *out, const char **why);
int redact_field_path_parse(const char *text, struct redact_path *out, const char **why);

/* The rules that hold for a body, as the first words of masks. None: false. */
bool redact_paths_start(const struct redact_paths *p, const struct redact_body *b,
			redact_mask *masks);
/* From the place of `from` to its field `number`; true when a rule names it: *hit. */
bool redact_paths_field(const struct redact_paths *p, const redact_mask *from, uint32_t number,
			redact_mask *to, const struct redact_rule **hit);
bool redact_mask_any(const redact_mask *m, size_t n);

/* ---- bodies: each appends what may leave to out ---- */

/* An answer of an engine: 0 nothing changed (out may hold a part, to be cut off); 1 changed; else why it must go. */
struct redact_job {
	const struct redaction *r;
	const struct redact_body *body;
	struct bytes in;
	struct buf *out;
	size_t from; /* of `in`, up to where it is in out */
	size_t room; /* of out->n */
	bool changed;
	int failed; /* 0, or -1 - enum redact_why */
};

int redact_json(struct redact_job *j);
int redact_events(struct redact_job *j); /* text/event-stream: JSON in its data lines */
int redact_form(struct redact_job *j);
int redact_multipart(struct redact_job *j, struct bytes content_type);
int redact_thrift(struct redact_job *j);
int redact_protobuf(struct redact_job *j);
int redact_dubbo(struct redact_job *j);
int redact_regex_body(struct redact_job *j, bool same_length);

/* For them (redact_body.c) */
int redact_job_fail(struct redact_job *j, enum redact_why why);
void redact_job_put(struct redact_job *j, struct bytes b); /* appends; fails by room and memory */
void redact_job_copy(struct redact_job *j, size_t to); /* in up to here goes as it is */
void redact_job_skip(struct redact_job *j, size_t to); /* ... does not go */
/* Up to `from` as it is, and what stands for [from, to) by this action. secret: what to hash. */
void redact_job_replace(struct redact_job *j, enum redact_kind kind, enum redact_action action,
			size_t from, size_t to, struct bytes secret, struct bytes before,
			struct bytes after);
void redact_job_count(struct redact_job *j, enum redact_kind kind);

/* ---- regular expressions (redact_regex.c) ---- */

struct redact_re2;
struct redact_regex {
	struct redact_re2 **list; /* one a rule */
	const struct redact_rule **rules;
	size_t n;
	struct redact_re2 *any; /* all of them as one, where there are several */
};

struct redact_match {
	size_t from, to;
	enum redact_action action;
};

/* Patterns with any bit of `on`. -EINVAL: err. */
int redact_regex_init(struct redact_regex *x, const struct redact_rules *rules, unsigned on,
		      char *err, size_t err_n);
void redact_regex_fini(struct redact_regex *x);
int redact_regex_check(const char *pattern, char err[REDACT_ERROR_MAX]);
/* Places to redact, rising, apart from each other; *n of them until the next call. -1: no answer, fail closed. */
struct redact_matches {
	struct redact_match *list;
	size_t n, cap;
};
int redact_regex_find(const struct redact_regex *x, struct bytes text, struct redact_matches *out);

/* ---- URLs and cookies ---- */

/* Text of names and values: what it is made of. */
bool redact_cookies(const struct redaction *r, bool set_cookie, struct bytes *value, bool *gone);
/* A value's stand-in in the arena, counted; drop: empty. */
struct bytes redact_value(const struct redaction *r, enum redact_kind kind,
			  enum redact_action action, struct bytes secret);

/* The next parameter of a query or form from `at` on: offsets of its name and value. */
struct redact_param {
	size_t name, name_end, value, end;
};
bool redact_param_next(struct bytes q, size_t at, const char *ends, struct redact_param *p);
const struct redact_name *redact_param_secret(const struct redact_names *names, struct bytes q,
					      bool plus, const struct redact_param *p);

struct redactor {
	unsigned refs;
	struct redact_rules rules;
	struct redact_token token;
	struct redact_names headers, params, cookies, form;
	struct redact_paths json, thrift, protobuf;
	struct redact_regex header_regex, path_regex, body_regex;
	struct redact_matches matches;
	bool bodies; /* a rule is about bodies */
	redact_mask *masks; /* of the JSON engine, REDACT_DEPTH_MAX + 2 levels */
	struct buf text; /* scratch: decoded text */
};
