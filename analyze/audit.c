/* SPDX-License-Identifier: Apache-2.0 */
#include "analyze/audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/audit_sum.h"
#include "base/mem.h"

enum { INSTANCE_CHARS = 16 /* 64 bits in hex */ };

struct audit *audit_new(void)
{
	return calloc(1, sizeof(struct audit));
}

static struct audit_instance *find(const struct audit *a, const char *name, size_t n)
{
	for (size_t i = a->n; i-- > 0;)
		if (strlen(a->instance[i]->name) == n && memcmp(a->instance[i]->name, name, n) == 0)
			return a->instance[i];
	return NULL;
}

static struct audit_instance *add(struct audit *a, const char *name, size_t n)
{
	if (a->n == a->size) {
		size_t size = a->size ? a->size * 2 : 8;
		void *p = realloc(a->instance, size * sizeof(*a->instance));
		if (!p || a->n == AUDIT_INSTANCES_MAX) {
			a->instance = p ? p : a->instance;
			return NULL;
		}
		a->instance = p;
		a->size = size;
	}
	struct audit_instance *i = calloc(1, sizeof(*i));
	if (!i || !(i->name = strndup(name, n))) {
		free(i);
		return NULL;
	}
	return a->instance[a->n++] = i;
}

static struct audit_instance *find_or_add(struct audit *a, const char *name, size_t n)
{
	struct audit_instance *i = find(a, name, n);
	if (!i)
		i = add(a, name, n);
	a->overflowed = a->overflowed || !i;
	return i;
}

/* Part 0 names its instance; of the others the connection's id begins with it. */
static struct audit_instance *instance_of(struct audit *a, const Sidetap__V1__Call *c)
{
	if (c->capture && c->capture->instance[0])
		return find_or_add(a, c->capture->instance, strlen(c->capture->instance));
	for (size_t i = a->n; i-- > 0;) {
		const char *name = a->instance[i]->name;
		if (name[0] && strncmp(c->connection_id, name, strlen(name)) == 0)
			return a->instance[i];
	}
	return find_or_add(a, c->connection_id, strnlen(c->connection_id, INSTANCE_CHARS));
}

static uint8_t *page_of(struct audit *a, struct audit_instance *i, uint64_t index)
{
	if (index >= AUDIT_PAGE_INDEX_MAX)
		return NULL;
	if (index >= i->n_pages) {
		size_t n = i->n_pages ? i->n_pages : 16;
		while (n <= index)
			n *= 2;
		uint8_t **p = realloc(i->page, n * sizeof(*p));
		if (!p)
			return NULL;
		memset(p + i->n_pages, 0, (n - i->n_pages) * sizeof(*p));
		i->page = p;
		i->n_pages = n;
	}
	if (!i->page[index] && a->n_pages < AUDIT_PAGES_MAX) {
		i->page[index] = calloc(1, AUDIT_PAGE_NUMBERS / 8);
		a->n_pages += i->page[index] != NULL;
	}
	return i->page[index];
}

int audit_call(struct audit *a, const Sidetap__V1__Call *c)
{
	struct audit_instance *i = instance_of(a, c);
	uint64_t n = c->record_number;
	uint8_t *page = i ? page_of(a, i, n / AUDIT_PAGE_NUMBERS) : NULL;
	if (!page) {
		a->overflowed = true;
		return -E2BIG;
	}
	uint8_t bit = (uint8_t)(1u << n % 8), *byte = &page[n % AUDIT_PAGE_NUMBERS / 8];
	if (*byte & bit) {
		i->duplicates++;
		return 0;
	}
	*byte |= bit;
	i->records++;
	i->calls += c->last_part != 0;
	return 0;
}

int audit_ledger(struct audit *a, Sidetap__V1__Ledger **ledger)
{
	Sidetap__V1__Ledger *l = *ledger;
	struct audit_instance *i = find_or_add(a, l->instance, strlen(l->instance));
	if (!i)
		return -E2BIG;
	*ledger = NULL;
	bool later = !i->ledger || l->end_unix_ns > i->ledger->end_unix_ns ||
		     (l->end_unix_ns == i->ledger->end_unix_ns && l->final >= i->ledger->final);
	if (i->ledger && i->ledger->final != l->final)
		later = l->final;
	if (later) {
		Sidetap__V1__Ledger *old = i->ledger;
		i->ledger = l;
		l = old;
	}
	sidetap__v1__ledger__free_unpacked(l, NULL);
	return 0;
}

void audit_broken(struct audit *a)
{
	a->broken++;
}

unsigned audit_faults(const struct audit *a)
{
	unsigned faults = a->n ? 0 : AUDIT_NO_LEDGER;
	for (size_t i = 0; i < a->n; i++) {
		audit_judge((struct audit *)a, a->instance[i]);
		faults |= a->instance[i]->faults;
	}
	return faults | (a->broken ? AUDIT_BROKEN : 0) | (a->overflowed ? AUDIT_UNPROVABLE : 0);
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < a->instance[i]->n_pages; k++)
			free(a->instance[i]->page[k]);
		sidetap__v1__ledger__free_unpacked(a->instance[i]->ledger, NULL);
		free(a->instance[i]->page);
		free(a->instance[i]->name);
		free(a->instance[i]);
	}
	free(a->instance);
	free(a);
}
