/* SPDX-License-Identifier: Apache-2.0 */
#include "analyze/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "record.pb-c.h"
#include "sink/record.h"

void filter_init(struct filter *f)
{
	*f = (struct filter) {.outcome = -1};
}

static int outcome_of(const char *text)
{
	for (int o = 0; o <= OUTCOME_ABORTED; o++)
		if (strcasecmp(text, record_outcome_name((enum outcome)o)) == 0)
			return o;
	return -1;
}

int filter_status(struct filter *f, const char *text)
{
	int from, to, end = 0;
	char x;
	if (sscanf(text, "%d-%d%n", &from, &to, &end) == 2 && !text[end]) {
		f->status_from = from;
		f->status_to = to;
	} else if (sscanf(text, "%1d%c%*[xX]%n", &from, &x, &end) == 2 && end == 3 &&
		   (x | 32) == 'x' && !text[3]) {
		f->status_from = from * 100;
		f->status_to = from * 100 + 99;
	} else if (sscanf(text, "%d%n", &from, &end) == 1 && !text[end]) {
		f->status_from = f->status_to = from;
	} else {
		f->outcome = outcome_of(text);
		return f->outcome < 0 ? -EINVAL : 0;
	}
	f->has_status = true;
	return f->status_from <= f->status_to ? 0 : -EINVAL;
}

static int parse_ago(const char *text, uint64_t now, uint64_t *out)
{
	static const char units[] = "smhd";
	static const uint64_t seconds[] = {1, 60, 3600, 86400};
	char *end;
	errno = 0;
	double n = strtod(text, &end);
	const char *unit = *end && !end[1] ? strchr(units, *end) : NULL;
	if (end == text || !unit || errno || !(n >= 0 && n < 1e9))
		return -EINVAL;
	double ns = n * (double)seconds[unit - units] * 1e9;
	*out = ns < (double)now ? now - (uint64_t)ns : 0;
	return 0;
}

static int parse_zone(const char *p, struct tm *tm, int64_t *seconds)
{
	int hours, minutes, end = 0;
	char sign;
	if (!*p) {
		tm->tm_isdst = -1;
		*seconds = mktime(tm);
		return 0;
	}
	*seconds = timegm(tm);
	if ((*p | 32) == 'z' && !p[1])
		return 0;
	if (sscanf(p, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || p[end] ||
	    (sign != '+' && sign != '-'))
		return -EINVAL;
	*seconds -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	return 0;
}

static int parse_rfc3339(const char *text, uint64_t *out)
{
	struct tm tm = {0};
	int end = 0;
	int64_t seconds;
	uint64_t ns = 0, unit = 100000000;
	if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &end) != 3 ||
	    end != 10)
		return -EINVAL;
	const char *p = text + end;
	if ((*p | 32) == 't' || *p == ' ') {
		if (sscanf(p + 1, "%2d:%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) !=
			    3 ||
		    end != 8)
			return -EINVAL;
		p += 1 + end;
	}
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			ns += (uint64_t)(*p - '0') * unit;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 ||
	    parse_zone(p, &tm, &seconds) != 0 || seconds < 0)
		return -EINVAL;
	*out = (uint64_t)seconds * 1000000000 + ns;
	return 0;
}

static int parse_epoch(const char *text, uint64_t *out)
{
	char *end;
	errno = 0;
	long double s = strtold(text, &end);
	if (end == text || *end || errno || !(s >= 0 && s < 1.8e10L))
		return -EINVAL;
	*out = (uint64_t)(s * 1e9L);
	return 0;
}

int filter_time(const char *text, uint64_t now, uint64_t *out)
{
	if (text[0] == '@')
		return parse_epoch(text + 1, out);
	return parse_rfc3339(text, out) == 0 ? 0 : parse_ago(text, now, out);
}

static bool text_match(const char *want, const char *got)
{
	return !want || strcmp(want, got) == 0;
}

static uint64_t start_of(const Sidetap__V1__Call *c)
{
	if (c->request && c->request->start_unix_ns)
		return c->request->start_unix_ns;
	if (c->response && c->response->start_unix_ns)
		return c->response->start_unix_ns;
	return c->n_stream ? c->stream[0]->unix_ns : 0;
}

bool filter_match(const struct filter *f, const Sidetap__V1__Call *c)
{
	if (!text_match(f->protocol, c->protocol) || !text_match(f->service, c->service) ||
	    !text_match(f->method, c->method))
		return false;
	if (f->has_status && (c->status_code < f->status_from || c->status_code > f->status_to))
		return false;
	if (f->outcome >= 0 && (int)c->outcome != f->outcome)
		return false;
	uint64_t start = f->since_ns || f->until_ns ? start_of(c) : 0;
	return start >= f->since_ns && (!f->until_ns || start < f->until_ns);
}
