/* SPDX-License-Identifier: Apache-2.0 */
/* Redactors from the text of a configuration, and bodies through them. Include after cmocka.h. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/redact.h"
#include "capture/settings_table.h"

/* Each test takes what it needs of these. */
#pragma GCC diagnostic ignored "-Wunused-function"

static struct redact_counts rig_counts;

/* `rules`: what stands under redact:, each line indented. */
static struct redactor *rig_redactor(const char *rules)
{
	char text[8192], err[REDACT_ERROR_MAX] = "";
	struct settings s;
	snprintf(text, sizeof(text), "redact:\n%s\n", rules);
	settings_init(&s);
	assert_int_equal(settings_load_text(&s, "rules", bytes_str(text), stderr), 0);
	struct redactor *r = redactor_new(&s.redact_rules, NULL, err, sizeof(err));
	if (!r)
		fail_msg("%s", err);
	settings_fini(&s);
	return r;
}

/* What of the body may leave, as text of its own (terminated); NULL: nothing may. *changed: it was. */
static char *rig_body(struct redactor *by, const struct redact_body *b, struct bytes in, size_t *n,
		      bool *changed)
{
	struct buf out = {0};
	struct redaction r = {by, &rig_counts, NULL};
	uint8_t *copy = malloc(in.n ? in.n : 1); /* of exact size: reading past it is seen */
	if (in.n)
		memcpy(copy, in.p, in.n);
	int rc = redact_body(&r, b, bytes_of(copy, in.n), 1 << 20, &out);
	assert_true(rc <= 0 ? out.n == 0 : true);
	if (rc == 0)
		assert_int_equal(buf_append(&out, bytes_of(copy, in.n)), 0);
	free(copy);
	*n = out.n;
	*changed = rc != 0;
	assert_int_equal(buf_append(&out, bytes_of("", 1)), 0);
	if (rc < 0)
		buf_fini(&out);
	return (char *)out.p;
}

static struct redact_body rig_http(struct header *type, const char *content_type)
{
	*type = (struct header) {BYTES("Content-Type"), bytes_str(content_type),
				 PROVENANCE_LITERAL};
	return (struct redact_body) {.protocol = "http1", .headers = type, .n_headers = 1};
}

/* want NULL: dropped, and counted as `why`. */
static void rig_is(struct redactor *by, const char *content_type, const char *in, const char *want,
		   enum redact_why why)
{
	struct header type;
	struct redact_body b = rig_http(&type, content_type);
	uint64_t dropped = rig_counts.dropped[why];
	bool changed;
	size_t n;
	char *got = rig_body(by, &b, bytes_str(in), &n, &changed);
	if (!want) {
		if (got)
			fail_msg("%s became %s, and was not dropped", in, got);
		assert_int_equal(rig_counts.dropped[why], dropped + 1);
		return;
	}
	if (!got)
		fail_msg("%s was dropped", in);
	if (n != strlen(want) || memcmp(got, want, n) != 0)
		fail_msg("%s became %s, not %s", in, got, want);
	assert_int_equal(changed, strcmp(in, want) != 0);
	free(got);
}

/* However the body is cut, no four bytes of the secret leave; the whole of it keeps what is not secret. */
static void rig_no_prefix_leaks(struct redactor *by, const struct redact_body *how, struct bytes in,
				const char *secret)
{
	struct redact_body b = *how;
	size_t n;
	bool changed;
	for (size_t cut = 0; cut <= in.n; cut++) {
		b.cut = cut < in.n;
		char *got = rig_body(by, &b, bytes_head(in, cut), &n, &changed);
		for (size_t i = 0; got && i + 4 <= strlen(secret); i++)
			if (memmem(got, n, secret + i, 4))
				fail_msg("cut at %zu: '%.4s' of the secret left", cut, secret + i);
		free(got);
	}
}
