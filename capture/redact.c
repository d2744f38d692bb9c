/* SPDX-License-Identifier: Apache-2.0 */
/* What every redactor knows by itself, and what it does with the heads of messages. */
#include "capture/redact.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/redact_state.h"

/* Header and metadata names whose values are secrets. Lists are in lower case. */
static const struct bytes secret_names[] = {
	BYTES("authorization"),
	BYTES("proxy-authorization"),
	BYTES("cookie"),
	BYTES("set-cookie"),
	BYTES("set-cookie2"),
	BYTES("x-api-key"),
	BYTES("api-key"),
	BYTES("apikey"),
	BYTES("x-auth-token"),
	BYTES("x-access-token"),
	BYTES("x-csrf-token"),
	BYTES("x-xsrf-token"),
	BYTES("x-amz-security-token"),
	BYTES("x-vault-token"),
	BYTES("x-goog-iap-jwt-assertion"),
	BYTES("x-forwarded-access-token"),
	BYTES("x-jwt-assertion"),
	BYTES("x-session-token"),
	BYTES("x-refresh-token"),
	BYTES("x-client-secret"),
	BYTES("x-secret-key"),
	BYTES("x-gitlab-token"),
	BYTES("private-token"),
	BYTES("dapr-api-token"),
	BYTES("gdpr-token"),
	BYTES("x-authorization"),
	BYTES("x-api-token"),
	BYTES("x-api-secret"),
	BYTES("x-auth-key"),
	BYTES("x-functions-key"),
};

/* Query parameters. Names that are as often no secret (token, key, code) are left to rules. */
static const struct bytes secret_params[] = {
	BYTES("access_token"),  BYTES("refresh_token"),   BYTES("id_token"),
	BYTES("auth_token"),    BYTES("api_key"),         BYTES("apikey"),
	BYTES("password"),      BYTES("passwd"),          BYTES("secret"),
	BYTES("client_secret"), BYTES("signature"),       BYTES("sessionid"),
	BYTES("assertion"),     BYTES("x-amz-signature"), BYTES("x-amz-security-token"),
};

/* Headers whose value is a request target, a URL or an authority. */
static const struct bytes url_names[] = {
	BYTES(":path"),
	BYTES(":authority"),
	BYTES("host"),
	BYTES("referer"),
	BYTES("location"),
	BYTES("content-location"),
	BYTES("x-original-url"),
	BYTES("x-rewrite-url"),
	BYTES("x-forwarded-uri"),
	BYTES("x-original-uri"),
	BYTES("x-envoy-original-path"),
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static bool is_url(struct bytes name)
{
	/* their lengths, a bit each */
	static const uint32_t lengths = 1u << 4 | 1u << 5 | 1u << 7 | 1u << 8 | 1u << 10 |
					1u << 13 | 1u << 14 | 1u << 15 | 1u << 16 | 1u << 21;
	if (name.n > 21 || !(lengths >> name.n & 1))
		return false;
	for (size_t i = 0; i < COUNT(url_names); i++)
		if (url_names[i].n == name.n && bytes_caseeq(name, url_names[i]))
			return true;
	return false;
}

static bool is_cookie(struct bytes name, bool *set)
{
	*set = name.n > 6;
	return (name.n == 6 && bytes_caseeq(name, BYTES("cookie"))) ||
	       (name.n == 10 && bytes_caseeq(name, BYTES("set-cookie"))) ||
	       (name.n == 11 && bytes_caseeq(name, BYTES("set-cookie2")));
}

/*
 * ByteDance's frameworks carry a caller's values under a prefix, in HTTP with '-' (bytedance/gopkg cloud/metainfo): the
 * name behind it is what tells.
 */
struct bytes redact_plain_name(struct bytes name)
{
	enum { PREFIX = 12 };
	static const char *const prefixes[] = {"rpc_transit_", "rpc_persist_", "rpc-transit-",
					       "rpc-persist-"};
	if (name.n <= PREFIX || (name.p[PREFIX - 1] != '_' && name.p[PREFIX - 1] != '-'))
		return name;
	for (size_t i = 0; i < COUNT(prefixes); i++)
		if (bytes_caseeq(bytes_head(name, PREFIX), bytes_str(prefixes[i])))
			return bytes_from(name, PREFIX);
	return name;
}

struct bytes redact_value(const struct redaction *r, enum redact_kind kind,
			  enum redact_action action, struct bytes secret)
{
	redact_count(r->counts, kind);
	if (action == REDACT_DROP)
		return bytes_of("", 0);
	struct bytes text = redact_token_text(&r->by->token, action, secret);
	if (action == REDACT_MASK)
		return text;
	text = arena_copy(r->arena, text);
	return text.n ? text : BYTES(REDACT_MASKED);
}

bool redact_text(const struct redaction *r, enum redact_on on, struct bytes *text)
{
	const struct redact_regex *x =
		on == REDACT_ON_PATH ? &r->by->path_regex : &r->by->header_regex;
	struct redact_matches *m = &r->by->matches;
	if (!x->n || !text->n)
		return false;
	if (redact_regex_find(x, *text, m) < 0) {
		*text = redact_value(r, REDACT_REGEX, REDACT_MASK, *text);
		return true;
	}
	if (!m->n)
		return false;
	uint8_t *out = arena_alloc(r->arena, text->n + m->n * REDACT_TOKEN);
	size_t n = 0, done = 0;
	for (size_t i = 0; out && i < m->n; i++) {
		struct redact_match at = m->list[i];
		struct bytes secret = bytes_of(text->p + at.from, at.to - at.from);
		struct bytes with = redact_value(r, REDACT_REGEX, at.action, secret);
		memcpy(out + n, text->p + done, at.from - done);
		n += at.from - done;
		if (with.n)
			memcpy(out + n, with.p, with.n);
		n += with.n;
		done = at.to;
	}
	if (out)
		memcpy(out + n, text->p + done, text->n - done);
	*text = out ? bytes_of(out, n + text->n - done) : BYTES(REDACT_MASKED);
	return true;
}

/* True: its value changed. *gone: the header goes. */
static bool header_redact(const struct redaction *r, struct header *h, bool *gone)
{
	const struct redactor *by = r->by;
	bool set_cookie, any = false;
	struct bytes name = redact_plain_name(h->name);
	const struct redact_name *rule = redact_names_find(&by->headers, name);
	if (h->provenance == PROVENANCE_UNKNOWN && h->name.n == 0) {
		h->value = redact_value(r, REDACT_UNKNOWN_NAME, REDACT_MASK, h->value);
		return true;
	}
	if (by->cookies.n && (!rule || rule->listed) && is_cookie(name, &set_cookie)) {
		any = redact_cookies(r, set_cookie, &h->value, gone);
	} else if (rule) {
		*gone = rule->action == REDACT_DROP;
		h->value = redact_value(r, REDACT_HEADER, rule->action, h->value);
		return true;
	} else if (is_url(name)) {
		any = redact_path(r, &h->value);
	}
	return redact_text(r, REDACT_ON_HEADER, &h->value) || any;
}

bool redact_headers(const struct redaction *r, struct header *headers, size_t *n)
{
	bool any = false;
	size_t kept = 0;
	for (size_t i = 0; i < *n; i++) {
		bool gone = false;
		any |= header_redact(r, &headers[i], &gone);
		if (!gone && kept++ != i)
			headers[kept - 1] = headers[i];
	}
	*n = kept;
	return any;
}

bool redact_attributes(const struct redaction *r, struct attribute *attributes, size_t n)
{
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		struct attribute *a = &attributes[i];
		const struct redact_name *rule =
			redact_names_find(&r->by->headers, bytes_str(a->name));
		if (rule && a->value.n) {
			a->value = redact_value(r, REDACT_HEADER, rule->action, a->value);
			any = true;
		} else {
			any |= redact_text(r, REDACT_ON_HEADER, &a->value);
		}
	}
	return any;
}

/* ---- making one ---- */

static int paths_init(struct redact_paths *p, const struct redact_rules *rules,
		      enum redact_kind kind, char *err, size_t err_n)
{
	const char *why = NULL;
	p->list = calloc(rules->n ? rules->n : 1, sizeof(*p->list));
	if (!p->list)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n; i++) {
		const struct redact_rule *rule = &rules->list[i];
		if (rule->kind != kind)
			continue;
		struct redact_path *to = &p->list[p->n++];
		int rc = kind == REDACT_JSON ? redact_json_path_parse(rule->what, to, &why)
					     : redact_field_path_parse(rule->what, to, &why);
		if (rc == 0 && p->n > REDACT_PATHS_MAX) {
			why = "is one path too many";
			rc = -E2BIG;
		}
		if (rc < 0) {
			snprintf(err, err_n, "redact: %s: '%s' %s", redact_kind_key(kind),
				 rule->what, why);
			return rc;
		}
		to->rule = rule;
	}
	return 0;
}

static int names_init(struct redactor *r)
{
	const struct redact_rules *rules = &r->rules;
	int rc = redact_names_init(&r->headers, rules, REDACT_HEADER, secret_names,
				   COUNT(secret_names));
	if (rc == 0)
		rc = redact_names_init(&r->params, rules, REDACT_QUERY, secret_params,
				       COUNT(secret_params));
	if (rc == 0)
		rc = redact_names_init(&r->cookies, rules, REDACT_COOKIE, NULL, 0);
	if (rc == 0)
		rc = redact_names_init(&r->form, rules, REDACT_FORM, NULL, 0);
	return rc;
}

static int compile(struct redactor *r, const struct redactor *before, char *err, size_t err_n)
{
	const struct redact_rules *rules = &r->rules;
	int rc = names_init(r);
	if (rc == 0)
		rc = paths_init(&r->json, rules, REDACT_JSON, err, err_n);
	if (rc == 0)
		rc = paths_init(&r->thrift, rules, REDACT_THRIFT, err, err_n);
	if (rc == 0)
		rc = paths_init(&r->protobuf, rules, REDACT_PROTOBUF, err, err_n);
	if (rc == 0)
		rc = redact_regex_init(&r->header_regex, rules, REDACT_ON_HEADER, err, err_n);
	if (rc == 0)
		rc = redact_regex_init(&r->path_regex, rules, REDACT_ON_PATH, err, err_n);
	if (rc == 0)
		rc = redact_regex_init(&r->body_regex, rules, REDACT_ON_BODY, err, err_n);
	r->bodies = r->json.n || r->form.n || r->thrift.n || r->protobuf.n || r->body_regex.n;
	if (rc == 0)
		rc = redact_token_init(&r->token, rules, before, err, err_n);
	r->masks = rc == 0 && r->json.n
			   ? calloc((REDACT_DEPTH_MAX + 2) * r->json.n, sizeof(*r->masks))
			   : NULL;
	return rc == 0 && r->json.n && !r->masks ? -ENOMEM : rc;
}

static void redactor_free(struct redactor *r)
{
	redact_names_fini(&r->headers);
	redact_names_fini(&r->params);
	redact_names_fini(&r->cookies);
	redact_names_fini(&r->form);
	free(r->json.list);
	free(r->thrift.list);
	free(r->protobuf.list);
	redact_regex_fini(&r->header_regex);
	redact_regex_fini(&r->path_regex);
	redact_regex_fini(&r->body_regex);
	redact_token_fini(&r->token);
	redact_rules_fini(&r->rules);
	free(r->matches.list);
	free(r->masks);
	buf_fini(&r->text);
	free(r);
}

struct redactor *redactor_new(const struct redact_rules *rules, const struct redactor *before,
			      char *err, size_t err_n)
{
	static const struct redact_rules none;
	struct redactor *r = calloc(1, sizeof(*r));
	snprintf(err, err_n, "redact: out of memory");
	if (!r)
		return NULL;
	r->refs = 1;
	if (redact_rules_copy(&r->rules, rules ? rules : &none) == 0 &&
	    compile(r, before, err, err_n) == 0) {
		if (err_n)
			err[0] = '\0';
		return r;
	}
	redactor_free(r);
	return NULL;
}

struct redactor *redactor_ref(struct redactor *r)
{
	if (r)
		r->refs++;
	return r;
}

void redactor_unref(struct redactor *r)
{
	if (r && --r->refs == 0)
		redactor_free(r);
}

bool redactor_has_body_rules(const struct redactor *r)
{
	return r->bodies;
}

void redact_ledger(const struct redact_counts *c, struct ledger_stage out[REDACT_STAGES])
{
	static const char *const names[REDACT_WHYS] = {
		[REDACT_ENCODING] = "encoding",     [REDACT_INVALID] = "invalid",
		[REDACT_LATER_PART] = "later_part", [REDACT_CUT] = "cut",
		[REDACT_GROWN] = "grown",           [REDACT_SLOW] = "slow",
		[REDACT_DROPPED] = "dropped",       [REDACT_NO_MEMORY] = "no_memory",
	};
	out[0] = (struct ledger_stage) {.name = "redact", .unit = "bodies", .in = c->bodies};
	ledger_exit_add(&out[0], "unchanged", c->unchanged, false);
	ledger_exit_add(&out[0], "redacted", c->changed, false);
	for (int i = 0; i < REDACT_WHYS; i++)
		ledger_exit_add(&out[0], names[i], c->dropped[i], false);
	out[1] = (struct ledger_stage) {.name = "secrets", .unit = "values", .in = c->secrets};
	for (int k = 0; k < REDACT_KINDS; k++)
		ledger_exit_add(&out[1], redact_kind_name((enum redact_kind)k), c->values[k],
				false);
}
