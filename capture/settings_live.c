/* SPDX-License-Identifier: Apache-2.0 */
/* What a running capture takes of a new configuration. */
#include <stdlib.h>
#include <string.h>

#include "capture/settings_table.h"

enum { PORTS_BYTES = SETTINGS_PORTS_MAX * sizeof(uint16_t) };
_Static_assert(offsetof(struct settings, n_ports) - offsetof(struct settings, ports) == PORTS_BYTES,
	       "the number of ports follows them");

/* How many bytes of struct settings an option of a kind that keeps its value owns */
static size_t size_of(const struct option *o)
{
	switch (o->kind) {
	case OPTION_BOOL:
	case OPTION_INTERFACE: return sizeof(bool);
	case OPTION_COUNTED:
	case OPTION_CHOICE: return sizeof(unsigned);
	case OPTION_STRING:
	case OPTION_LISTEN:
	case OPTION_ATTACH:
	case OPTION_SINK: return sizeof(char *);
	case OPTION_SHARE: return sizeof(double);
	case OPTION_NUMBER:
	case OPTION_BYTES:
	case OPTION_DURATION: return sizeof(uint64_t);
	case OPTION_RING:
	case OPTION_PAIR: return 2 * sizeof(uint64_t);
	case OPTION_PORTS: return PORTS_BYTES + sizeof(size_t); /* and how many */
	case OPTION_LIMIT: return 3 * sizeof(uint64_t);
	default: return 0;
	}
}

static void swap_bytes(void *a, void *b, size_t n)
{
	uint8_t *p = a, *q = b;
	for (; n; n--, p++, q++) {
		uint8_t t = *p;
		*p = *q;
		*q = t;
	}
}

static void swap(struct settings *a, struct settings *b, const struct option *o)
{
	swap_bytes((char *)a + o->offset, (char *)b + o->offset, size_of(o));
}

static bool same(const struct settings *a, const struct settings *b, const struct option *o)
{
	const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;
	if (option_is_text(o)) { /* what is printed has its secrets masked */
		const char *s = *(char *const *)x, *t = *(char *const *)y;
		return s && t ? strcmp(s, t) == 0 : s == t;
	}
	if (o->kind == OPTION_PORTS) {
		const size_t n = *(const size_t *)(x + PORTS_BYTES);
		return n == *(const size_t *)(y + PORTS_BYTES) &&
		       memcmp(x, y, n * sizeof(uint16_t)) == 0;
	}
	return memcmp(x, y, size_of(o)) == 0;
}

static void tell(const struct settings *s, const struct option *o,
		 void (*kept)(void *ctx, const char *name, const char *value), void *ctx)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	if (f) {
		option_print(s, o, f);
		fclose(f);
	}
	kept(ctx, o->name, text && *text ? text : "unset");
	free(text);
}

bool settings_adopt(struct settings *s, struct settings *next,
		    void (*kept)(void *ctx, const char *name, const char *value), void *ctx)
{
	char was[sizeof(s->config_hash)];
	memcpy(was, s->config_hash, sizeof(was));
	struct settings old = *s;
	*s = *next;
	*next = old;
	for (size_t i = 0; i < settings_n_options; i++) {
		const struct option *o = &settings_options[i];
		if (o->kind == OPTION_ACTION || o->live)
			continue;
		if (!same(s, next, o))
			tell(next, o, kept, ctx);
		swap(s, next, o);
	}
	s->flag_set = next->flag_set;
	settings_hash(s);
	return strcmp(was, s->config_hash) != 0;
}

enum log_level settings_log_level(const struct settings *s)
{
	return s->quiet ? LOG_WARN : s->verbose >= 2 ? LOG_DEBUG : LOG_INFO;
}
