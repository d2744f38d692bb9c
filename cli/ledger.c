/* SPDX-License-Identifier: Apache-2.0 */
/* sidetap ledger: what was seen, kept and lost, by name; proves that a topic or directory is
 * complete. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "analyze/audit.h"
#include "cli/cli.h"
#include "record.pb-c.h"
#include "sink/record.h"
#include "sink/source.h"

static const char usage[] =
	"Usage: sidetap ledger -i SOURCE [OPTION]...\n"
	"What was seen, kept and lost, by name; and whether everything that was recorded is there.\n"
	"\n"
	"  -i, --source SOURCE  file:DIR, or kafka://HOST:PORT[,HOST:PORT...]/TOPIC[?property=value&...]\n"
	"      --json           one line of JSON in place of the table\n"
	"      --check          exit 1 when a stage does not balance, a record is missing that no exit names,\n"
	"                       or nothing can be proved (no final ledger)\n"
	"      --lossless       exit 1 when anything was lost, even if it is accounted for: also what is named as\n"
	"                       spooled and is not there, and whatever a killed process held\n"
	"  -h, --help\n"
	"\n"
	"Examples:\n"
	"  sidetap ledger -i file:/var/lib/sidetap\n"
	"  sidetap ledger -i kafka://127.0.0.1:9092/sidetap --check && echo complete\n"
	"  sidetap ledger -i file:/var/lib/sidetap --json | jq .lost\n";

struct options {
	const char *source;
	bool json, check, lossless;
};

/* 0; 1: --help was printed; -EINVAL: said what is wrong. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"source", required_argument, NULL, 'i'}, {"json", no_argument, NULL, 'j'},
		{"check", no_argument, NULL, 'c'},        {"lossless", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	int c;
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:h", longs, NULL)) != -1) {
		switch (c) {
		case 'i': o->source = optarg; break;
		case 'j': o->json = true; break;
		case 'c': o->check = true; break;
		case 'l': o->lossless = true; break;
		case 'h': fputs(usage, stdout); return 1;
		default: fputs("Try 'sidetap ledger --help'.\n", stderr); return -EINVAL;
		}
	}
	if (o->source && optind == argc)
		return 0;
	if (o->source)
		fprintf(stderr, "sidetap: ledger: what is '%s'? Try 'sidetap ledger --help'.\n",
			argv[optind]);
	else
		fputs("sidetap: ledger: -i SOURCE is needed: file:DIR or kafka://HOST:PORT/TOPIC\n",
		      stderr);
	return -EINVAL;
}

static void take_call(struct audit *a, struct bytes data)
{
	Sidetap__V1__Call *c = record_decode(data);
	if (!c)
		audit_broken(a);
	else
		audit_call(a, c);
	sidetap__v1__call__free_unpacked(c, NULL);
}

static void take_ledger(struct audit *a, struct bytes data)
{
	Sidetap__V1__Ledger *l = record_decode_ledger(data);
	if (!l)
		audit_broken(a);
	else
		audit_ledger(a, &l);
	sidetap__v1__ledger__free_unpacked(l, NULL);
}

static int read_all(struct audit *a, const struct options *o, char *err, size_t err_n)
{
	struct source_cfg cfg = {.calls = true, .ledgers = true};
	const struct source_ops *ops = NULL;
	struct source *s = source_open(o->source, &cfg, &ops, err, err_n);
	struct bytes data;
	enum record_kind kind;
	int e;
	if (!s)
		return ops ? -EIO : -EINVAL; /* no such scheme */
	while ((e = ops->next(s, &data, &kind, err, err_n)) == 1 || e == -EBADMSG) {
		if (e == -EBADMSG)
			audit_broken(a);
		else if (kind == RECORD_CALL)
			take_call(a, data);
		else
			take_ledger(a, data);
	}
	ops->close(s);
	return e;
}

/* The exit code */
static int show(const struct audit *a, const struct options *o)
{
	struct text out = {0};
	if (o->json)
		audit_json(a, &out);
	else
		audit_table(a, &out);
	bool failed = out.failed;
	if (fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout) != 0)
		failed = failed || errno != EPIPE;
	text_fini(&out);
	if (failed) {
		fprintf(stderr, "sidetap: ledger: writing the result failed\n");
		return 1;
	}
	unsigned faults = audit_faults(a);
	if (o->check && faults) {
		fprintf(stderr, "sidetap: ledger: %s\n",
			faults & (AUDIT_RESIDUE | AUDIT_MISSING | AUDIT_BEYOND) ? "check failed"
										: "not provable");
		return 1;
	}
	bool killed = audit_killed(a);
	if (o->lossless && (audit_lost(a) || faults || killed)) {
		fprintf(stderr, "sidetap: ledger: not lossless%s\n",
			killed ? ": a process was killed, and what its memory held is not known"
			       : "");
		return 1;
	}
	return 0;
}

int cli_ledger(int argc, char **argv)
{
	struct options o = {.source = NULL};
	char err[512] = "";
	int e = parse_options(&o, argc, argv);
	if (e)
		return e < 0 ? 2 : 0;
	signal(SIGPIPE, SIG_IGN);
	struct audit *a = audit_new();
	if (!a) {
		fprintf(stderr, "sidetap: ledger: no memory\n");
		return 1;
	}
	e = read_all(a, &o, err, sizeof(err));
	if (e)
		fprintf(stderr, "sidetap: %s\n", err);
	int code = e == -EINVAL ? 2 : e ? 1 : show(a, &o);
	audit_free(a);
	return code;
}
