/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the auditor: what audit.c gathers, audit_sum.c adds up, and audit_show.c prints. */
#pragma once
#include "analyze/audit.h"
#include "record.pb-c.h"

enum {
	AUDIT_INSTANCES_MAX = 4096,
	AUDIT_PAGE_NUMBERS = 1 << 15, /* a page is a bitmap of so many record numbers: 4 KiB */
	AUDIT_PAGES_MAX = 1 << 16, /* of all instances: 256 MiB of them */
	AUDIT_PAGE_INDEX_MAX = 1 << 20,
	AUDIT_HOLES_SHOWN = 20,
};

/* Exits whose records may have arrived after the ledger was written: what counts as lost is what is not there. */
enum { AUDIT_OPEN_EXITS = 3 };
extern const char *const audit_open_exits[AUDIT_OPEN_EXITS];

struct audit_instance {
	char *name;
	Sidetap__V1__Ledger *ledger; /* the last; NULL: none */
	uint8_t **page;
	size_t n_pages;
	uint64_t records, calls; /* distinct; calls: last parts */
	uint64_t beyond; /* numbered over the ledger's last */
	uint64_t missing;
	struct audit_hole {
		uint64_t first, last;
	} hole[AUDIT_HOLES_SHOWN];
	unsigned n_holes;
	uint64_t records_lost; /* named as lost by the ledger, and not there */
	uint64_t absent[AUDIT_OPEN_EXITS]; /* of those, by open exit */
	uint64_t duplicates; /* records that were there already */
	unsigned faults;
};

struct audit {
	struct audit_instance **instance; /* in order of appearance */
	size_t n, size;
	size_t n_pages;
	uint64_t broken;
	bool overflowed;
};

/* Sums over the instances, by name in order of appearance */
struct audit_count {
	char *name;
	uint64_t n;
	bool lost;
};
struct audit_counts {
	struct audit_count *p;
	size_t n, size;
};
struct audit_stage {
	const char *name, *unit;
	uint64_t in, held, made;
	int64_t residue;
	bool approximate;
	struct audit_counts exits;
};
struct audit_rule {
	const char *name;
	uint64_t seen, kept;
	double weight_sum;
};
struct audit_sum {
	struct audit_stage *stage;
	size_t n_stages;
	struct audit_rule *rule;
	size_t n_rules;
	struct audit_counts lost;
	uint64_t calls, gap_connections, duplicates;
	bool final, exact, failed; /* failed: no memory, numbers are missing */
};

/* Finds holes and faults of one instance. */
void audit_judge(struct audit *a, struct audit_instance *i);
int64_t audit_residue(const Sidetap__V1__Ledger__Stage *s);
void audit_sum_make(const struct audit *a, struct audit_sum *out);
void audit_sum_fini(struct audit_sum *s);
