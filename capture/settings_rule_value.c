/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/settings_rule_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "capture/settings_table.h"
#include "rpc/protocols.h"
#include "sink/record.h"

enum { OUTCOMES = OUTCOME_ABORTED + 1, NUMBER_TEXT = 40 };

static int set_name(struct sample_rule *r, const char *text)
{
	if (!*text || strlen(text) >= sizeof(r->name))
		return -EINVAL;
	snprintf(r->name, sizeof(r->name), "%s", text);
	return 0;
}

static int set_drop(struct sample_rule *r, const char *text)
{
	r->drop = strcmp(text, "true") == 0;
	return r->drop || strcmp(text, "false") == 0 ? 0 : -EINVAL;
}

static int set_probability(struct sample_rule *r, const char *text)
{
	return units_parse_share(text, &r->probability);
}

/* "100/s" */
static int set_rate(struct sample_rule *r, const char *text)
{
	char number[NUMBER_TEXT];
	uint64_t n = 0;
	size_t len = strlen(text);
	if (len < 3 || len >= sizeof(number) || strcmp(text + len - 2, "/s") != 0)
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)(len - 2), text);
	int err = units_parse_count(number, &n);
	if (err == 0 && n == 0)
		err = -ERANGE;
	r->rate = (double)n;
	return err;
}

static int set_bytes(struct sample_rule *r, const char *text)
{
	uint64_t n = 0;
	int err = units_parse_bytes(text, &n);
	if (err == 0 && (n == 0 || n == UINT64_MAX))
		err = -ERANGE;
	r->bytes_per_second = (double)n;
	return err;
}

static int set_first(struct sample_rule *r, const char *text)
{
	uint64_t n = 0;
	int err = units_parse_count(text, &n);
	if (err == 0 && (n == 0 || n > 1000000))
		err = -ERANGE;
	r->first_per_method = (uint32_t)n;
	return err;
}

static int set_body(struct sample_rule *r, const char *text)
{
	uint64_t n = 0;
	if (strcmp(text, "full") == 0) {
		r->body = SAMPLE_BODY_FULL;
	} else if (strcmp(text, "none") == 0) {
		r->body = SAMPLE_BODY_NONE;
	} else if (strncmp(text, "head:", 5) == 0) {
		int err = units_parse_bytes(text + 5, &n);
		if (err < 0 || n == 0 || n == UINT64_MAX)
			return err == -EINVAL ? err : -ERANGE;
		r->body = SAMPLE_BODY_HEAD;
		r->body_bytes = n;
	} else {
		return -EINVAL;
	}
	return 0;
}

/* A name that no call can have would match nothing, unseen. */
static int set_protocol(struct sample_rule *r, const char *text)
{
#define PROTOCOL_NAME(p) framer_##p.name,
	const char *const names[] = {PROTOCOLS(PROTOCOL_NAME) "grpc"};
#undef PROTOCOL_NAME
	bool known = strpbrk(text, "*?") != NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		known |= strcmp(names[i], text) == 0;
	return known ? sample_pattern_set(&r->protocol, text) : -EINVAL;
}

#define PATTERN(field)                                                                             \
	static int set_##field(struct sample_rule *r, const char *text)                            \
	{                                                                                          \
		return sample_pattern_set(&r->field, text);                                        \
	}
PATTERN(service)
PATTERN(method)
PATTERN(path)
PATTERN(client)
PATTERN(server)

static int set_header(struct sample_rule *r, const char *text)
{
	return sample_pattern_set(&r->header[r->n_headers - 1].value, text);
}

static int set_side(struct sample_rule *r, const char *text)
{
	bool in = strcmp(text, "inbound") == 0;
	r->side = in ? SAMPLE_SIDE_INBOUND : SAMPLE_SIDE_OUTBOUND;
	return in || strcmp(text, "outbound") == 0 ? 0 : -EINVAL;
}

/* "500", "500-599" */
static int status_range(const char *text, int32_t *min, int32_t *max)
{
	char *end;
	size_t n = strspn(text, "0123456789");
	if (!n)
		return -EINVAL;
	long from = strtol(text, &end, 10), to = from;
	if (*end == '-') {
		text = end + 1;
		n = strspn(text, "0123456789");
		to = strtol(text, &end, 10);
	}
	if (!n || *end)
		return -EINVAL;
	if (from < 1 || to > INT32_MAX || to < from)
		return -ERANGE;
	*min = (int32_t)from;
	*max = (int32_t)to;
	return 0;
}

static int set_status(struct sample_rule *r, const char *text)
{
	int32_t min, max;
	if (strcmp(text, "error") == 0) {
		r->keep_outcomes |= SAMPLE_ERRORS;
		return 0;
	}
	int err = status_range(text, &min, &max);
	if (err < 0)
		return err;
	if (r->n_keep_status == SAMPLE_STATUS_MAX)
		return -E2BIG;
	r->keep_status[r->n_keep_status].min = min;
	r->keep_status[r->n_keep_status++].max = max;
	return 0;
}

static int set_outcome(struct sample_rule *r, const char *text)
{
	for (int i = OUTCOME_OK; i < OUTCOMES; i++)
		if (strcmp(record_outcome_name((enum outcome)i), text) == 0) {
			r->keep_outcomes |= 1u << i;
			return 0;
		}
	return -EINVAL;
}

static int set_slower(struct sample_rule *r, const char *text)
{
	int err = units_parse_ns(text, &r->keep_slower_ns);
	return err == 0 && (r->keep_slower_ns == 0 || r->keep_slower_ns == UINT64_MAX) ? -ERANGE
										       : err;
}

#define TEXTS "text, text* for what begins so, or a pattern with * and ?"
#define SHARE "0% to 100%, or 0 to 1"
/* clang-format off */
const struct rule_key rule_keys[] = {
	{RULE_NAME, RULE_GROUP_RULE, "name", set_name, false, "text of 1 to 63 bytes"},
	{RULE_MATCH, RULE_GROUP_RULE, "match", NULL, false, "a mapping"},
	{RULE_DROP, RULE_GROUP_RULE, "drop", set_drop, false, "true or false"},
	{RULE_PROBABILITY, RULE_GROUP_RULE, "probability", set_probability, false, SHARE},
	{RULE_RATE, RULE_GROUP_RULE, "rate", set_rate, false, "calls a second, such as 100/s"},
	{RULE_BYTES, RULE_GROUP_RULE, "bytes_per_second", set_bytes, false, "a size over 0, such as 1MiB"},
	{RULE_FIRST, RULE_GROUP_RULE, "first_per_method", set_first, false, "1 to 1,000,000"},
	{RULE_KEEP_IF, RULE_GROUP_RULE, "keep_if", NULL, false, "a mapping"},
	{RULE_BODY, RULE_GROUP_RULE, "body", set_body, false, "full, none, or head:SIZE such as head:4KiB"},
	{RULE_PROTOCOL, RULE_GROUP_MATCH, "protocol", set_protocol, false,
	 "http1, http2, grpc, thrift, ttheader, kitex_protobuf, theader, dubbo2, brpc, opaque, or a pattern"},
	{RULE_SERVICE, RULE_GROUP_MATCH, "service", set_service, false, TEXTS},
	{RULE_METHOD, RULE_GROUP_MATCH, "method", set_method, false, TEXTS},
	{RULE_PATH, RULE_GROUP_MATCH, "path", set_path, false, TEXTS},
	{RULE_HEADER, RULE_GROUP_MATCH, "header", set_header, false, "a mapping of at most 4 names to patterns"},
	{RULE_CLIENT, RULE_GROUP_MATCH, "client", set_client, false, "ADDRESS:PORT, " TEXTS},
	{RULE_SERVER, RULE_GROUP_MATCH, "server", set_server, false, "ADDRESS:PORT, " TEXTS},
	{RULE_SIDE, RULE_GROUP_MATCH, "side", set_side, false, "inbound or outbound"},
	{RULE_STATUS, RULE_GROUP_KEEP_IF, "status", set_status, true,
	 "error, a status such as 503, or a range such as 500-599, four at most"},
	{RULE_OUTCOME, RULE_GROUP_KEEP_IF, "outcome", set_outcome, true,
	 "OK, CLIENT_ERROR, SERVER_ERROR, DECLARED_EXCEPTION, NO_RESPONSE or ABORTED"},
	{RULE_SLOWER, RULE_GROUP_KEEP_IF, "slower_than", set_slower, false, "a time over 0, such as 200ms"},
	{.name = NULL},
};
/* clang-format on */

/* ---- writing ---- */

static void pattern_text_print(const struct sample_pattern *p, FILE *out)
{
	char text[1024];
	snprintf(text, sizeof(text), "%s%s", p->text, p->kind == PATTERN_PREFIX ? "*" : "");
	option_print_text(text, out);
}

static void pattern_print(const char **before, const char *key, const struct sample_pattern *p,
			  FILE *out)
{
	if (p->kind == PATTERN_ANY)
		return;
	fprintf(out, "%s%s: ", *before, key);
	pattern_text_print(p, out);
	*before = ", ";
}

static void headers_print(const char **before, const struct sample_rule *r, FILE *out)
{
	if (!r->n_headers)
		return;
	fprintf(out, "%sheader: {", *before);
	for (size_t i = 0; i < r->n_headers; i++) {
		fputs(i ? ", " : "", out);
		option_print_text(r->header[i].name, out);
		fputs(": ", out);
		pattern_text_print(&r->header[i].value, out);
	}
	fputc('}', out);
	*before = ", ";
}

static void match_print(const struct sample_rule *r, FILE *out)
{
	const char *before = ", match: {";
	pattern_print(&before, "protocol", &r->protocol, out);
	pattern_print(&before, "service", &r->service, out);
	pattern_print(&before, "method", &r->method, out);
	pattern_print(&before, "path", &r->path, out);
	headers_print(&before, r, out);
	pattern_print(&before, "client", &r->client, out);
	pattern_print(&before, "server", &r->server, out);
	if (r->side != SAMPLE_SIDE_ANY)
		fprintf(out, "%sside: %s", before,
			r->side == SAMPLE_SIDE_INBOUND ? "inbound" : "outbound");
	if (r->side != SAMPLE_SIDE_ANY || strcmp(before, ", ") == 0)
		fputc('}', out);
}

static void outcomes_print(const char **before, unsigned outcomes, FILE *out)
{
	const char *comma = "outcome: [";
	if (!outcomes)
		return;
	fputs(*before, out);
	for (int i = OUTCOME_OK; i < OUTCOMES; i++)
		if (outcomes >> i & 1) {
			fprintf(out, "%s%s", comma, record_outcome_name((enum outcome)i));
			comma = ", ";
		}
	fputc(']', out);
	*before = ", ";
}

static void statuses_print(const char **before, const struct sample_rule *r, FILE *out)
{
	if (!r->n_keep_status)
		return;
	fprintf(out, "%sstatus: [", *before);
	for (size_t i = 0; i < r->n_keep_status; i++)
		fprintf(out, "%s%d-%d", i ? ", " : "", r->keep_status[i].min,
			r->keep_status[i].max);
	fputc(']', out);
	*before = ", ";
}

static void keep_if_print(const struct sample_rule *r, FILE *out)
{
	const char *before = ", keep_if: {";
	outcomes_print(&before, r->keep_outcomes, out);
	statuses_print(&before, r, out);
	if (r->keep_slower_ns)
		fprintf(out, "%sslower_than: %lluns", before,
			(unsigned long long)r->keep_slower_ns);
	if (sample_rule_has_tail(r))
		fputc('}', out);
}

void rule_print(const struct sample_rule *r, FILE *out)
{
	fputs("\n  - {name: ", out);
	option_print_text(r->name, out);
	match_print(r, out);
	if (r->drop)
		fputs(", drop: true", out);
	else
		fprintf(out, ", probability: %.17g", r->probability);
	if (r->rate > 0)
		fprintf(out, ", rate: %.0f/s", r->rate);
	if (r->bytes_per_second > 0)
		fprintf(out, ", bytes_per_second: %.0f", r->bytes_per_second);
	if (r->first_per_method)
		fprintf(out, ", first_per_method: %u", r->first_per_method);
	keep_if_print(r, out);
	if (r->body == SAMPLE_BODY_HEAD)
		fprintf(out, ", body: 'head:%llu'", (unsigned long long)r->body_bytes);
	else if (r->body == SAMPLE_BODY_NONE)
		fputs(", body: none", out);
	fputc('}', out);
}
