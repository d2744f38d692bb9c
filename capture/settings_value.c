/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind of option takes, how it says no, and how its value is written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "capture/settings_table.h"

static void *field(const struct settings *s, const struct option *o)
{
	return (char *)s + o->offset;
}

static void range_text(const struct option *o, char *out, size_t n)
{
	struct units_text lo, hi;
	switch (o->kind) {
	case OPTION_NUMBER:
		lo = units_count(o->min);
		hi = units_count(o->max);
		break;
	case OPTION_DURATION:
		lo = units_duration(o->min);
		hi = units_duration(o->max);
		break;
	default:
		lo = units_bytes(o->min);
		hi = units_bytes(o->max == UINT64_MAX ? 1ull << 40 : o->max);
		break;
	}
	snprintf(out, n, "%s to %s%s", lo.s, hi.s,
		 o->kind == OPTION_BYTES && o->max == UINT64_MAX ? ", or none" : "");
}

/* What is allowed, for people */
static void allowed(const struct option *o, char *out, size_t n)
{
	char range[80];
	switch (o->kind) {
	case OPTION_BOOL: snprintf(out, n, "true or false"); return;
	case OPTION_COUNTED: snprintf(out, n, "a number from 0 to 3"); return;
	case OPTION_SHARE: snprintf(out, n, "0%% to 100%%, or 0 to 1"); return;
	case OPTION_PORTS:
		snprintf(out, n,
			 "%sports from 1 to 65535 and ranges, such as 80,8080-8090 (%d at most)",
			 o->initial ? "all, or " : "", SETTINGS_PORTS_MAX);
		return;
	case OPTION_INTERFACE: snprintf(out, n, "lo or any"); return;
	case OPTION_CHOICE: snprintf(out, n, "%s", o->arg); return;
	case OPTION_LISTEN:
		snprintf(out, n, "ADDR:PORT (127.0.0.1:9464, [::1]:9464) or unix:PATH");
		return;
	case OPTION_ATTACH:
		snprintf(out, n, "auto, cgroup[:DIR|:pid:N][,...], socket[:IFACE] or pcap[:IFACE]");
		return;
	case OPTION_SINK:
		snprintf(out, n,
			 "kafka://HOST:PORT[,...]/TOPIC[?property=value&...], kafka:embedded, "
			 "file:DIR, print: or null:");
		return;
	case OPTION_LIMIT:
		snprintf(out, n, "calls=N, bytes=SIZE and time=DURATION, each over 0");
		return;
	case OPTION_RING:
		range_text(o, range, sizeof(range));
		snprintf(out, n, "powers of two, HOT[,OVERFLOW], of %s", range);
		return;
	case OPTION_PAIR:
		range_text(o, range, sizeof(range));
		snprintf(out, n, "%s, sizes of %s, the second no smaller", o->arg, range);
		return;
	case OPTION_NUMBER:
	case OPTION_BYTES:
	case OPTION_DURATION: range_text(o, out, n); return;
	case OPTION_GROUP: snprintf(out, n, "a mapping of cpu and memory"); return;
	default: snprintf(out, n, "text"); return;
	}
}

int option_refuse(const struct option *o, const char *text, const char *why,
		  char err[OPTION_ERROR_MAX])
{
	char safe[100], what[180];
	/* properties of a sink may hold a password */
	size_t shown = o->kind == OPTION_SINK ? strcspn(text, "?") : strlen(text);
	log_escape(safe, sizeof(safe), bytes_of(text, shown));
	allowed(o, what, sizeof(what));
	snprintf(err, OPTION_ERROR_MAX, "'%s' %s: allowed is %s", safe, why, what);
	return -EINVAL;
}

static const char *number_wrong(int rc)
{
	return rc == -ERANGE ? "is out of range" : "is no such value";
}

static int parse_number(const struct option *o, const char *text, uint64_t *out)
{
	uint64_t n = 0;
	int rc = o->kind == OPTION_NUMBER     ? units_parse_count(text, &n)
		 : o->kind == OPTION_DURATION ? units_parse_ns(text, &n)
					      : units_parse_bytes(text, &n);
	if (rc == 0 && (n < o->min || n > o->max))
		rc = -ERANGE;
	if (rc == 0)
		*out = n;
	return rc;
}

static int set_number(struct settings *s, const struct option *o, const char *text, char *err)
{
	int rc = parse_number(o, text, field(s, o));
	return rc < 0 ? option_refuse(o, text, number_wrong(rc), err) : 0;
}

static int set_share(struct settings *s, const struct option *o, const char *text, char *err)
{
	int rc = units_parse_share(text, field(s, o));
	if (rc == -ERANGE)
		return option_refuse(o, text, "is more than all", err);
	return rc < 0 ? option_refuse(o, text, "is no share", err) : 0;
}

static int set_bool(struct settings *s, const struct option *o, const char *text, char *err)
{
	bool on = strcmp(text, "true") == 0;
	if (!on && strcmp(text, "false") != 0)
		return option_refuse(o, text, "is neither true nor false", err);
	*(bool *)field(s, o) = on;
	return 0;
}

static int set_counted(struct settings *s, const struct option *o, const char *text, char *err)
{
	if (text[0] < '0' || text[0] > '3' || text[1])
		return option_refuse(o, text, "is no such value", err);
	*(unsigned *)field(s, o) = (unsigned)(text[0] - '0');
	return 0;
}

/* The n-th word of "plain|logfmt|json"; empty: there is none. */
static struct bytes choice_word(const struct option *o, unsigned n)
{
	const char *at = o->arg;
	for (; n && at; n--)
		at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL;
	return at ? bytes_of(at, strcspn(at, "|")) : bytes_of(NULL, 0);
}

static int set_choice(struct settings *s, const struct option *o, const char *text, char *err)
{
	struct bytes word;
	for (unsigned i = 0; (word = choice_word(o, i)).n; i++)
		if (bytes_eq(word, bytes_str(text))) {
			*(unsigned *)field(s, o) = i;
			return 0;
		}
	return option_refuse(o, text, "is no such choice", err);
}

static int set_text(struct settings *s, const struct option *o, const char *text, char *err)
{
	char **at = field(s, o), *copy = NULL;
	const char *why = "is empty";
	int rc = 0;

	if (o->kind == OPTION_ATTACH)
		rc = spec_attach(text, &copy, &why);
	else if (o->kind == OPTION_SINK)
		rc = spec_sink(text, &copy, &why);
	else if (o->kind == OPTION_LISTEN)
		rc = spec_listen(text, &copy, &why);
	else if (!*text)
		rc = -EINVAL;
	else if (!(copy = strdup(text)))
		rc = -ENOMEM;
	if (rc == -ENOMEM)
		snprintf(err, OPTION_ERROR_MAX, "out of memory");
	if (rc < 0)
		return rc == -EINVAL ? option_refuse(o, text, why, err) : rc;
	free(*at);
	*at = copy;
	return 0;
}

static int port_number(const char *text, const char **end)
{
	size_t n = strspn(text, "0123456789");
	*end = text + n;
	unsigned long port = n && n < 6 ? strtoul(text, NULL, 10) : 0;
	return port > 65535 ? 0 : (int)port;
}

/* The field of an OPTION_PORTS */
struct port_list {
	uint16_t port[SETTINGS_PORTS_MAX];
	size_t n;
};

static const char *add_port(struct port_list *l, int port)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->port[i] == port)
			return NULL;
	if (l->n == SETTINGS_PORTS_MAX)
		return "makes too many ports";
	l->port[l->n++] = (uint16_t)port;
	return NULL;
}

/* One item, "80" or "8080-8090". NULL or what is wrong. */
static const char *add_range(struct port_list *l, const char *item)
{
	const char *end, *wrong = NULL;
	int first = port_number(item, &end), last = first;
	if (*end == '-')
		last = port_number(end + 1, &end);
	if (!first || !last || *end)
		return "is no port";
	if (last < first)
		return "is a range that runs backwards";
	for (int port = first; port <= last && !wrong; port++)
		wrong = add_port(l, port);
	return wrong;
}

/* The next item of a list, without spaces around it. False: the end. Items longer than n are
 * cut, so refused. */
static bool next_item(const char **at, char *item, size_t n)
{
	if (!*at)
		return false;
	const char *comma = strchr(*at, ',');
	size_t len = comma ? (size_t)(comma - *at) : strlen(*at);
	const char *p = *at;
	for (; len && *p == ' '; len--)
		p++;
	while (len && p[len - 1] == ' ')
		len--;
	snprintf(item, n, "%.*s", (int)(len < n ? len : n - 1), p);
	*at = comma ? comma + 1 : NULL;
	return true;
}

static int set_ports(struct settings *s, const struct option *o, const char *text, char *err)
{
	char item[32];
	struct port_list *list = field(s, o), trial = *list;

	if (o->initial && strcmp(text, o->initial) == 0) {
		list->n = 0;
		return 0;
	}
	for (const char *at = text; next_item(&at, item, sizeof(item));) {
		const char *wrong = add_range(&trial, item);
		if (wrong)
			return option_refuse(o, item, wrong, err);
	}
	*list = trial;
	return 0;
}

static int set_interface(struct settings *s, const struct option *o, const char *text, char *err)
{
	bool any = strcmp(text, "any") == 0;
	if (!any && strcmp(text, "lo") != 0)
		return option_refuse(o, text, "is no such choice", err);
	s->any_interface = any;
	return 0;
}

/* "calls=10k": the field and its value */
static int limit_one(struct settings *s, const char *item)
{
	const char *value = strchr(item, '=');
	uint64_t n = 0;
	if (!value)
		return -EINVAL;
	struct bytes name = bytes_of(item, (size_t)(value++ - item));
	uint64_t *to = bytes_eq(name, BYTES("calls"))   ? &s->limit_calls
		       : bytes_eq(name, BYTES("bytes")) ? &s->limit_bytes
		       : bytes_eq(name, BYTES("time"))  ? &s->limit_ns
							: NULL;
	if (!to)
		return -EINVAL;
	int rc = to == &s->limit_calls   ? units_parse_count(value, &n)
		 : to == &s->limit_bytes ? units_parse_bytes(value, &n)
					 : units_parse_ns(value, &n);
	if (rc == 0 && (n == 0 || n == UINT64_MAX))
		rc = -ERANGE;
	if (rc == 0)
		*to = n;
	return rc;
}

static int set_limit(struct settings *s, const struct option *o, const char *text, char *err)
{
	char item[80];
	struct settings trial = {.limit_calls = s->limit_calls,
				 .limit_bytes = s->limit_bytes,
				 .limit_ns = s->limit_ns};

	for (const char *at = text; next_item(&at, item, sizeof(item));) {
		int rc = limit_one(&trial, item);
		if (rc < 0)
			return option_refuse(o, item, number_wrong(rc), err);
	}
	s->limit_calls = trial.limit_calls;
	s->limit_bytes = trial.limit_bytes;
	s->limit_ns = trial.limit_ns;
	return 0;
}

/* One or two sizes; rings are powers of two, pairs ascend. Where the second is not given it
 * stays, or grows with the first (pairs). */
static int set_sizes(struct settings *s, const struct option *o, const char *text, char *err)
{
	uint64_t *to = field(s, o), value[2] = {to[0], to[1]};
	char item[40];
	unsigned n = 0;

	for (const char *at = text; next_item(&at, item, sizeof(item)); n++) {
		uint64_t bytes = 0;
		if (n == 2)
			return option_refuse(o, text, "has more than two sizes", err);
		int rc = parse_number(o, item, &bytes);
		if (rc < 0)
			return option_refuse(o, item, number_wrong(rc), err);
		if (o->kind == OPTION_RING && (bytes & (bytes - 1)))
			return option_refuse(o, item, "is no power of two", err);
		value[n] = bytes;
	}
	if (o->kind == OPTION_PAIR && n == 2 && value[1] < value[0])
		return option_refuse(o, text, "has the larger size first", err);
	if (o->kind == OPTION_PAIR && value[1] < value[0])
		value[1] = value[0];
	memcpy(to, value, sizeof(value));
	return 0;
}

int option_set(struct settings *s, const struct option *o, const char *text,
	       char err[OPTION_ERROR_MAX])
{
	switch (o->kind) {
	case OPTION_BOOL: return set_bool(s, o, text, err);
	case OPTION_COUNTED: return set_counted(s, o, text, err);
	case OPTION_STRING:
	case OPTION_ATTACH:
	case OPTION_LISTEN:
	case OPTION_SINK: return set_text(s, o, text, err);
	case OPTION_SHARE: return set_share(s, o, text, err);
	case OPTION_NUMBER:
	case OPTION_BYTES:
	case OPTION_DURATION: return set_number(s, o, text, err);
	case OPTION_PORTS: return set_ports(s, o, text, err);
	case OPTION_INTERFACE: return set_interface(s, o, text, err);
	case OPTION_CHOICE: return set_choice(s, o, text, err);
	case OPTION_LIMIT: return set_limit(s, o, text, err);
	case OPTION_RING:
	case OPTION_PAIR: return set_sizes(s, o, text, err);
	default: return option_refuse(o, text, "is not for this option", err);
	}
}

void option_reset(struct settings *s, const struct option *o)
{
	char err[OPTION_ERROR_MAX];
	const char *initial = o->initial;

	if (o->kind == OPTION_PORTS)
		((struct port_list *)field(s, o))->n = 0;
	else if (o->kind == OPTION_RULES)
		settings_rules_fini(s);
	else if (o->kind == OPTION_LIMIT)
		s->limit_calls = s->limit_bytes = s->limit_ns = 0;
	else if (o->kind == OPTION_BOOL)
		*(bool *)field(s, o) = o->negative;
	else if (o->kind == OPTION_COUNTED || o->kind == OPTION_CHOICE)
		*(unsigned *)field(s, o) = 0;
	if (!option_is_text(o)) {
		if (initial)
			option_set(s, o, initial, err);
		return;
	}
	char **at = field(s, o);
	free(*at);
	*at = NULL;
	if (o->env && !(initial = getenv(o->env)))
		initial = "";
	if (initial)
		*at = strdup(initial);
}

static void print_ports(const struct settings *s, const struct option *o, FILE *out)
{
	const struct port_list *l = field(s, o);
	if (l->n == 0 && o->initial)
		fputs(o->initial, out);
	for (size_t i = 0; i < l->n; i++)
		fprintf(out, "%s%u", i ? "," : "", l->port[i]);
}

static void print_limit(const struct settings *s, FILE *out)
{
	const char *comma = "";
	if (s->limit_calls) {
		fprintf(out, "calls=%llu", (unsigned long long)s->limit_calls);
		comma = ",";
	}
	if (s->limit_bytes) {
		fprintf(out, "%sbytes=%llu", comma, (unsigned long long)s->limit_bytes);
		comma = ",";
	}
	if (s->limit_ns)
		fprintf(out, "%stime=%lluns", comma, (unsigned long long)s->limit_ns);
}

/* A single-quoted YAML scalar */
void option_print_text(const char *text, FILE *out)
{
	char safe[1024];
	log_escape(safe, sizeof(safe), bytes_str(text));
	fputc('\'', out);
	for (const char *p = safe; *p; p++)
		fprintf(out, *p == '\'' ? "''" : "%c", *p);
	fputc('\'', out);
}

void option_print(const struct settings *s, const struct option *o, FILE *out)
{
	const void *at = field(s, o);
	const uint64_t *n = at;
	switch (o->kind) {
	case OPTION_BOOL:
		if (at == &s->redact && s->redact && !redact_rules_empty(&s->redact_rules))
			redact_rules_print(&s->redact_rules, out);
		else
			fprintf(out, "%s", *(const bool *)at ? "true" : "false");
		return;
	case OPTION_COUNTED: fprintf(out, "%u", *(const unsigned *)at); return;
	case OPTION_STRING:
	case OPTION_LISTEN:
	case OPTION_ATTACH:
		if (*(char *const *)at)
			option_print_text(*(char *const *)at, out);
		return;
	case OPTION_SINK:
		if (*(char *const *)at)
			spec_print_sink(*(char *const *)at, out);
		return;
	case OPTION_SHARE: fprintf(out, "%.17g", *(const double *)at); return;
	case OPTION_PORTS: print_ports(s, o, out); return;
	case OPTION_RULES: settings_rules_print(s, out); return;
	case OPTION_GROUP: return;
	case OPTION_CHOICE: {
		struct bytes word = choice_word(o, *(const unsigned *)at);
		fprintf(out, "%.*s", (int)word.n, (const char *)word.p);
		return;
	}
	case OPTION_INTERFACE: fprintf(out, "%s", s->any_interface ? "any" : "lo"); return;
	case OPTION_LIMIT: print_limit(s, out); return;
	case OPTION_RING:
	case OPTION_PAIR:
		fprintf(out, "%llu,%llu", (unsigned long long)n[0], (unsigned long long)n[1]);
		return;
	case OPTION_DURATION:
		fprintf(out, *n == UINT64_MAX ? "none" : "%lluns", (unsigned long long)*n);
		return;
	default: fprintf(out, *n == UINT64_MAX ? "none" : "%llu", (unsigned long long)*n); return;
	}
}
