/* SPDX-License-Identifier: Apache-2.0 */
/* The auditor's findings as JSON and as a table. */
#include <inttypes.h>
#include <string.h>

#include "analyze/audit_sum.h"
#include "analyze/jsonl.h"

static const struct {
	unsigned fault;
	const char *name, *text;
} faults[] = {
	{AUDIT_RESIDUE, "residue", "a stage does not balance"},
	{AUDIT_MISSING, "missing", "records are missing that no exit names"},
	{AUDIT_NOT_FINAL, "not_final", "no final ledger: not provable after the last one"},
	{AUDIT_NO_LEDGER, "no_ledger", "no ledger of this instance: not provable"},
	{AUDIT_UNPROVABLE, "unprovable",
	 "not provable: the sink drops what it acknowledged, or there is too much to check"},
	{AUDIT_BEYOND, "beyond", "records are numbered beyond the final ledger"},
	{AUDIT_BROKEN, "broken", "some records could not be read"},
};

enum { FAULTS = sizeof(faults) / sizeof(*faults) };

static void put_counts(struct text *out, const struct audit_counts *c)
{
	text_put_str(out, "{");
	for (size_t i = 0; i < c->n; i++) {
		text_put_str(out, i ? "," : "");
		jsonl_string(out, bytes_str(c->p[i].name));
		text_printf(out, ":%" PRIu64, c->p[i].n);
	}
	text_put_str(out, "}");
}

static void put_faults(struct text *out, unsigned bits)
{
	bool first = true;
	text_put_str(out, "\"faults\":[");
	for (size_t i = 0; i < FAULTS; i++) {
		if (!(bits & faults[i].fault))
			continue;
		text_printf(out, "%s\"%s\"", first ? "" : ",", faults[i].name);
		first = false;
	}
	text_put_str(out, "]");
}

static void put_instance(struct text *out, const struct audit_instance *i)
{
	const Sidetap__V1__Ledger *l = i->ledger;
	text_put_str(out, "{\"instance\":");
	jsonl_string(out, bytes_str(i->name));
	text_put_str(out, ",\"attach\":");
	jsonl_string(out, bytes_str(l ? l->attach : ""));
	text_printf(out, ",\"final\":%s,\"exact\":%s,\"killed\":%s",
		    l && l->final ? "true" : "false", l && l->exact ? "true" : "false",
		    l && l->killed ? "true" : "false");
	text_printf(out, ",\"last_record_number\":%" PRIu64, l ? l->last_record_number : 0);
	text_printf(out, ",\"records_delivered\":%" PRIu64 ",\"calls_delivered\":%" PRIu64,
		    i->records, i->calls);
	text_printf(out,
		    ",\"records_lost\":%" PRIu64 ",\"records_missing\":%" PRIu64
		    ",\"duplicates\":%" PRIu64,
		    i->records_lost, i->missing, i->duplicates);
	text_put_str(out, ",\"holes\":[");
	for (unsigned k = 0; k < i->n_holes; k++)
		text_printf(out, "%s[%" PRIu64 ",%" PRIu64 "]", k ? "," : "", i->hole[k].first,
			    i->hole[k].last);
	text_put_str(out, "],");
	put_faults(out, i->faults);
	text_put_str(out, "}");
}

static void put_stage(struct text *out, const struct audit_stage *s)
{
	text_put_str(out, "{\"name\":");
	jsonl_string(out, bytes_str(s->name));
	text_put_str(out, ",\"unit\":");
	jsonl_string(out, bytes_str(s->unit));
	text_printf(out, ",\"in\":%" PRIu64 ",\"exits\":", s->in);
	put_counts(out, &s->exits);
	text_printf(out, ",\"held\":%" PRIu64, s->held);
	if (s->made)
		text_printf(out, ",\"made\":%" PRIu64, s->made);
	if (s->approximate)
		text_put_str(out, ",\"approximate\":true");
	text_printf(out, ",\"residue\":%" PRId64 "}", s->residue);
}

static void put_rule(struct text *out, const struct audit_rule *r)
{
	text_put_str(out, "{\"name\":");
	jsonl_string(out, bytes_str(r->name));
	text_printf(out, ",\"seen\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"weight_sum\":%.17g}",
		    r->seen, r->kept, r->weight_sum - r->weight_sum == 0 ? r->weight_sum : 0);
}

void audit_json(const struct audit *a, struct text *out)
{
	struct audit_sum s;
	unsigned bits = audit_faults(a);
	audit_sum_make(a, &s);
	text_put_str(out, "{\"instances\":[");
	for (size_t i = 0; i < a->n; i++) {
		text_put_str(out, i ? "," : "");
		put_instance(out, a->instance[i]);
	}
	text_put_str(out, "],\"stages\":[");
	for (size_t i = 0; i < s.n_stages; i++) {
		text_put_str(out, i ? "," : "");
		put_stage(out, &s.stage[i]);
	}
	text_put_str(out, "],\"rules\":[");
	for (size_t i = 0; i < s.n_rules; i++) {
		text_put_str(out, i ? "," : "");
		put_rule(out, &s.rule[i]);
	}
	text_put_str(out, "],\"lost\":");
	put_counts(out, &s.lost);
	text_printf(out,
		    ",\"calls_delivered\":%" PRIu64 ",\"duplicates\":%" PRIu64
		    ",\"gap_connections\":%" PRIu64,
		    s.calls, s.duplicates, s.gap_connections);
	text_printf(out, ",\"final\":%s,\"exact\":%s,", s.final ? "true" : "false",
		    s.exact ? "true" : "false");
	put_faults(out, bits);
	text_put_str(out, "}\n");
	out->failed = out->failed || s.failed;
	audit_sum_fini(&s);
}

static void pad_to(struct text *out, size_t start, size_t width)
{
	do
		text_put(out, " ", 1);
	while (out->n - start < width && !out->failed);
}

static void table_stage(struct text *out, const struct audit_stage *s)
{
	size_t start = out->n;
	text_escape(out, bytes_str(s->name));
	pad_to(out, start, 14);
	text_escape(out, bytes_str(s->unit));
	pad_to(out, start, 24);
	text_printf(out, "%12" PRIu64 "  held %" PRIu64, s->in, s->held);
	for (size_t i = 0; i < s->exits.n; i++) {
		if (!s->exits.p[i].n)
			continue;
		text_put_str(out, s->exits.p[i].lost ? ", !" : ", ");
		text_escape(out, bytes_str(s->exits.p[i].name));
		text_printf(out, " %" PRIu64, s->exits.p[i].n);
	}
	if (s->made)
		text_printf(out, "; made %" PRIu64, s->made);
	if (s->residue)
		text_printf(out, "; RESIDUE %" PRId64, s->residue);
	text_put_str(out, s->approximate ? " (approximate)\n" : "\n");
}

static void table_instance(struct text *out, const struct audit_instance *i)
{
	const Sidetap__V1__Ledger *l = i->ledger;
	text_put_str(out, "instance ");
	text_escape(out, bytes_str(i->name[0] ? i->name : "(unnamed)"));
	if (l && l->attach[0]) {
		text_put_str(out, " by ");
		text_escape(out, bytes_str(l->attach));
	}
	text_printf(out,
		    ": %" PRIu64 " calls delivered; records: made %" PRIu64 ", there %" PRIu64
		    ", lost by name %" PRIu64 ", missing %" PRIu64 "\n",
		    i->calls, l ? l->last_record_number : 0, i->records, i->records_lost,
		    i->missing);
	if (i->duplicates)
		text_printf(out,
			    "  there twice: %" PRIu64 " (one id each: readers keep the first)\n",
			    i->duplicates);
	if (l && l->killed)
		text_put_str(
			out,
			"  killed: its last ledger was made by the next process; what its memory "
			"held then nobody counted\n");
	for (unsigned k = 0; k < i->n_holes; k++)
		text_printf(out, "  missing: %" PRIu64 " - %" PRIu64 "\n", i->hole[k].first,
			    i->hole[k].last);
	for (size_t k = 0; k < FAULTS; k++)
		if (i->faults & faults[k].fault)
			text_printf(out, "  %s\n", faults[k].text);
}

static void table_sums(struct text *out, const struct audit_sum *s)
{
	if (s->n_stages)
		text_put_str(out, "\nstage         unit                in  exits (! is a loss)\n");
	for (size_t i = 0; i < s->n_stages; i++)
		table_stage(out, &s->stage[i]);
	if (s->n_rules)
		text_put_str(out, "\nrule                  seen        kept  sum of weights\n");
	for (size_t i = 0; i < s->n_rules; i++) {
		size_t start = out->n;
		text_escape(out, bytes_str(s->rule[i].name));
		pad_to(out, start, 14);
		text_printf(out, "%12" PRIu64 "%12" PRIu64 "  %.1f\n", s->rule[i].seen,
			    s->rule[i].kept, s->rule[i].weight_sum);
	}
	text_put_str(out, s->lost.n ? "\nlost:" : "\nlost: nothing\n");
	for (size_t i = 0; i < s->lost.n; i++) {
		text_put_str(out, i ? ", " : " ");
		text_escape(out, bytes_str(s->lost.p[i].name));
		text_printf(out, " %" PRIu64 "%s", s->lost.p[i].n, i + 1 == s->lost.n ? "\n" : "");
	}
	if (s->gap_connections)
		text_printf(out, "connections with gaps: %" PRIu64 "\n", s->gap_connections);
	if (!s->exact)
		text_put_str(out, "approximate: libpcap cannot prove what it lost\n");
}

void audit_table(const struct audit *a, struct text *out)
{
	struct audit_sum s;
	unsigned bits = audit_faults(a);
	audit_sum_make(a, &s);
	for (size_t i = 0; i < a->n; i++)
		table_instance(out, a->instance[i]);
	table_sums(out, &s);
	if (a->broken)
		text_printf(out, "%" PRIu64 " records could not be read\n", a->broken);
	text_put_str(out, bits ? "verdict: not proved complete\n"
			       : "verdict: complete; every loss is named\n");
	out->failed = out->failed || s.failed;
	audit_sum_fini(&s);
}
