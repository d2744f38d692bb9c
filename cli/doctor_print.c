/* SPDX-License-Identifier: Apache-2.0 */
/* One screen: a label, then facts, then what to change. */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "base/version.h"
#include "cli/doctor.h"

enum { PORTS_SHOWN = 10, WHY_COLUMN = 21, SCREEN = 100 };

struct screen {
	FILE *out;
	bool colour;
};

static const char *paint(const struct screen *s, const char *code)
{
	return s->colour ? code : "";
}

static void label(const struct screen *s, const char *name)
{
	fprintf(s->out, "%s%-11s%s ", paint(s, "\033[1m"), name, paint(s, "\033[0m"));
}

static void verdict(const struct screen *s, bool yes)
{
	fprintf(s->out, "%s%-3s%s", paint(s, yes ? "\033[32m" : "\033[31m"), yes ? "yes" : "no",
		paint(s, "\033[0m"));
}

/* Words of text, wrapped, each line from the column on; the cursor is there already. */
static void wrap(const struct screen *s, const char *text, int column)
{
	int at = column;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (at > column && at + 1 + (int)n > SCREEN) {
			fprintf(s->out, "\n%*s", column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', s->out);
			at++;
		}
		fprintf(s->out, "%.*s", (int)n, text);
		at += (int)n;
		text += n + (text[n] == ' ');
	}
	fputc('\n', s->out);
}

/* Those it has on one line; each other one with what it would be for */
static void capabilities(const struct screen *s, const struct doctor_host *h)
{
	unsigned have = 0;
	label(s, "");
	for (size_t i = 0; i < DOCTOR_CAPS; i++) {
		if (!doctor_has_cap(h, doctor_caps[i].number))
			continue;
		if (have++ == 0)
			verdict(s, true);
		fprintf(s->out, " %s", doctor_caps[i].name);
	}
	fputs(have ? "\n" : "no capability that matters here\n", s->out);
	for (size_t i = 0; i < DOCTOR_CAPS; i++) {
		if (doctor_has_cap(h, doctor_caps[i].number))
			continue;
		label(s, "");
		verdict(s, false);
		fprintf(s->out, " %-11s %s\n", doctor_caps[i].name, doctor_caps[i].what_for);
	}
}

static void host(const struct screen *s, const struct doctor_host *h)
{
	static const char *const seccomp[] = {"unknown", "off", "strict", "a filter"};
	label(s, "system");
	fprintf(s->out, "Linux %s %s, 5.8 or later: ", h->release, h->machine);
	verdict(s, !doctor_kernel_before(h, 5, 8));
	fprintf(s->out, ", BTF: %s (not needed)\n", h->btf ? "yes" : "no");
	label(s, "privileges");
	fprintf(s->out, "uid %u, seccomp: %s, no_new_privs: %s", h->uid,
		seccomp[h->seccomp < 0 || h->seccomp > 2 ? 0 : h->seccomp + 1],
		h->no_new_privs ? "yes" : "no");
	if (doctor_kernel_before(h, 5, 11))
		fprintf(s->out, ", memory lock limit: %s", units_bytes(h->memlock_bytes).s);
	fputc('\n', s->out);
	capabilities(s, h);
	label(s, "cgroup");
	if (*h->cgroup2)
		fprintf(s->out, "v2 at %s, own group %s\n", h->cgroup2,
			*h->own_cgroup ? h->own_cgroup : "unknown");
	else
		fprintf(s->out, "v2 is not mounted\n");
}

static void pod(const struct screen *s, const struct doctor_pod *p)
{
	label(s, p->kubernetes ? "pod" : "namespace");
	fprintf(s->out, "%u processes visible, PID 1 is %s; %u share our network", p->processes,
		*p->first_process ? p->first_process : "unknown", p->same_network);
	if (p->other_cgroup)
		fprintf(s->out, "; %u in other cgroups, %u reachable", p->other_cgroup,
			p->reachable);
	fputc('\n', s->out);
}

static void attach(const struct screen *s, const struct doctor *d)
{
	const struct doctor_attach *choice = doctor_choice(d);
	for (size_t i = 0; i < DOCTOR_BACK_ENDS; i++) {
		const struct doctor_attach *a = &d->attach[i];
		label(s, i ? "" : "attach");
		verdict(s, a->works);
		fprintf(s->out, " %-6s ", a->name);
		if (!a->works)
			wrap(s, a->why, WHY_COLUMN + 2);
		else
			fprintf(s->out, "%s%s\n",
				a->exact ? "losses are known exactly" : "losses are estimates",
				a == choice ? "; --attach auto takes it" : "");
	}
}

static void port(const struct screen *s, const struct doctor_port *p)
{
	char outside[40] = "";
	if (p->outside)
		snprintf(outside, sizeof(outside), "  and %u from other hosts", p->outside);
	fprintf(s->out, "%12s%5u  %-24.24s %11s %10s%s\n", "", p->port,
		*p->process ? p->process : "?", units_count(p->connections).s,
		p->bytes ? units_bytes(p->bytes).s : "-", outside);
}

static void ports(const struct screen *s, const struct doctor_traffic *t)
{
	size_t shown = t->n_ports < PORTS_SHOWN ? t->n_ports : PORTS_SHOWN;
	label(s, "listening");
	if (!t->known)
		fprintf(s->out, "not known: %s\n", t->why);
	else if (!t->n_ports)
		fprintf(s->out, "no TCP port in this network namespace\n");
	if (shown)
		fprintf(s->out, "%5s  %-24s %11s %10s\n", "port", "process", "loopback", "bytes");
	for (size_t i = 0; i < shown; i++)
		port(s, &t->ports[i]);
	if (t->n_ports + t->more_ports > shown)
		fprintf(s->out, "%12sand %zu more (--json shows up to %d)\n", "",
			t->n_ports + t->more_ports - shown, DOCTOR_PORTS);
}

static const char *plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

/* What no packet hook sees */
static void unseen(const struct screen *s, const struct doctor_traffic *t)
{
	const struct snapshot_unix *u = &t->unix_use;
	unsigned pairs = (u->connected + 1) / 2;
	label(s, "unseen");
	fprintf(s->out, "%u UNIX stream connection%s", pairs, plural(pairs));
	for (size_t i = 0; i < SNAPSHOT_UNIX_TOP && u->top[i].n; i++)
		fprintf(s->out, "%s%s %u", i ? ", " : " (", u->top[i].path, u->top[i].n);
	fputs(u->top[0].n ? ")\n" : "\n", s->out);
	label(s, "");
	if (t->sockmaps < 0)
		fprintf(s->out, "sockmaps: not known (%s)", strerror(-t->sockmaps));
	else
		fprintf(s->out, "%d sockmap%s", t->sockmaps, plural((unsigned)t->sockmaps));
	fprintf(s->out, ", %u local connection%s without a byte over TCP so far\n", t->silent,
		plural(t->silent));
}

void doctor_print(const struct doctor *d, FILE *out, bool colour)
{
	struct screen s = {out, colour};
	const struct doctor_traffic *t = &d->traffic;

	fprintf(out, "sidetap %s: what this machine and these privileges allow\n\n",
		SIDETAP_VERSION);
	host(&s, &d->host);
	pod(&s, &d->pod);
	attach(&s, d);
	ports(&s, t);
	unseen(&s, t);
	if (d->kafka.asked) {
		label(&s, "kafka");
		verdict(&s, d->kafka.ok);
		fputc(' ', out);
		wrap(&s, d->kafka.text, 16);
	}
	if (d->n_advice) {
		fprintf(out, "\n%sto change%s\n", paint(&s, "\033[1m"), paint(&s, "\033[0m"));
		for (size_t i = 0; i < d->n_advice; i++) {
			fputs("  - ", out);
			wrap(&s, d->advice[i], 4);
		}
	}
	if (doctor_choice(d) && t->n_ports && t->ports[0].bytes)
		fprintf(out, "\nnext: sidetap capture -p %u\n", t->ports[0].port);
	else if (doctor_choice(d))
		fprintf(out, "\nnext: sidetap capture\n");
}
