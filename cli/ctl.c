/* SPDX-License-Identifier: Apache-2.0 */
/* sidetap ctl: a running capture, asked and told over its socket. */
#include "cli/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/yaml.h"
#include "capture/settings.h"
#include "cli/cli.h"

static const char usage[] =
	"Usage: sidetap ctl [OPTION]... COMMAND\n"
	"Asks or changes a capture that is running here.\n"
	"\n"
	"  status              one screen: what is attached, traffic, sampling, losses, sink, configuration\n"
	"  ledger              every stage: in = exits + held\n"
	"  sampling            what is kept, by rule (also: sampling show)\n"
	"  sampling set FILE   sample and rules from a YAML file, at once; - is stdin. Holds until the\n"
	"                      configuration file is read again\n"
	"  reload              reads the configuration file again (also: SIGHUP, and by itself when it changes)\n"
	"  pause, resume       detaches for real: the service's packets pass no program; attaches again\n"
	"  stop                ends it as SIGTERM does\n"
	"\n"
	"      --socket PATH   of the capture (default: the only one in /run/sidetap, or for others than root\n"
	"                      in $XDG_RUNTIME_DIR/sidetap)\n"
	"      --json          the answer as one line of JSON\n"
	"      --check         ledger: exit 1 when a stage does not add up\n"
	"  -h, --help          this text\n"
	"\n"
	"Examples:\n"
	"  sidetap ctl status\n"
	"  sidetap ctl status --json | jq .config.version\n"
	"  echo 'sample: 1%' | sidetap ctl sampling set -\n"
	"  sidetap ctl ledger --check && echo adds up\n"
	"  kubectl exec POD -c sidetap -- sidetap ctl pause\n"
	"\n"
	"Exit: 0 done, 1 it was refused or nothing answers, 2 wrong usage.\n";

static const char *const names[] = {"status", "ledger", "sampling", "reload",
				    "pause",  "resume", "stop"};
enum { NAMES = sizeof(names) / sizeof(*names) };

struct request {
	const char *command, *socket, *file; /* file: of sampling set */
	bool json, check;
};

static int wrong(const char *before, const char *word, const char *after)
{
	char safe[120];
	log_escape(safe, sizeof(safe), bytes_str(word));
	fprintf(stderr, "sidetap ctl: %s%s%s\n", before, safe, after);
	return 2;
}

static int command_given(struct request *r, const char *word)
{
	for (size_t i = 0; i < NAMES; i++)
		if (strcmp(names[i], word) == 0) {
			r->command = names[i];
			return 0;
		}
	int near = nearest_name(word, names, NAMES);
	char after[120];
	snprintf(after, sizeof(after), "'%s%s%s; 'sidetap ctl --help' lists them",
		 near < 0 ? "" : ": did you mean ", near < 0 ? "" : names[near],
		 near < 0 ? "" : "?");
	return wrong("no such command: '", word, after);
}

/* What follows the command */
static int words(struct request *r, int argc, char **argv)
{
	bool sampling = strcmp(r->command, "sampling") == 0;
	if (argc == 0 || (sampling && argc == 1 && strcmp(argv[0], "show") == 0))
		return 0;
	if (sampling && argc == 2 && strcmp(argv[0], "set") == 0) {
		r->file = argv[1];
		return 0;
	}
	if (sampling && strcmp(argv[0], "set") == 0)
		return wrong("sampling set needs one FILE", "", ", or - for stdin");
	return wrong("what is '", argv[0], "'? 'sidetap ctl --help' tells what there is");
}

/* 0; -1: help was printed; 2: said what is wrong */
static int parse(struct request *r, int argc, char **argv)
{
	static const struct option longs[] = {{"socket", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, 'j'},
					      {"check", no_argument, NULL, 'c'},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int c;
	optind = 0;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 's': r->socket = optarg; break;
		case 'j': r->json = true; break;
		case 'c': r->check = true; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return wrong("'sidetap ctl --help' lists the options", "", "");
		}
	}
	if (optind == argc)
		return wrong("which command? ", "",
			     "status, ledger, sampling, reload, pause, resume, stop");
	int rc = command_given(r, argv[optind]);
	if (rc == 0)
		rc = words(r, argc - optind - 1, argv + optind + 1);
	if (rc == 0 && r->check && strcmp(r->command, "ledger") != 0)
		rc = wrong("--check is for ledger", "", "");
	return rc;
}

static int read_file(const char *path, struct buf *out)
{
	char chunk[4096];
	size_t n;
	if (strcmp(path, "-") != 0)
		return yaml_doc_read(path, SETTINGS_FILE_MAX, out);
	while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		if (out->n + n > SETTINGS_FILE_MAX || buf_append(out, bytes_of(chunk, n)) < 0)
			return -E2BIG;
	return ferror(stdin) ? -EIO : 0;
}

/* NULL: said what is wrong */
static json_t *request_of(const struct request *r)
{
	json_t *out = json_pack("{s:s}", "command", r->command);
	struct buf text = {0};
	if (!r->file)
		return out;
	int rc = read_file(r->file, &text);
	json_t *set = rc == 0 ? json_stringn((const char *)text.p, text.n) : NULL;
	buf_fini(&text);
	if (set) {
		json_object_set_new(out, "set", set);
		json_object_set_new(out, "name",
				    json_string(strcmp(r->file, "-") == 0 ? "stdin" : r->file));
		return out;
	}
	wrong("", r->file,
	      rc == 0         ? ": is no UTF-8 text"
	      : rc == -EINVAL ? ": is no regular file"
	      : rc == -E2BIG  ? ": is larger than 1 MiB"
			      : ": cannot be read");
	json_decref(out);
	return NULL;
}

static void show_change(const json_t *a, FILE *out)
{
	long long version = json_integer_value(json_object_get(a, "version"));
	bool changed = json_is_true(json_object_get(a, "changed"));
	fprintf(out,
		changed ? "taken: configuration version %lld\n"
			: "nothing changed: configuration version %lld\n",
		version);
}

static void show(const struct request *r, const json_t *a)
{
	if (r->json) {
		json_dumpf(a, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (strcmp(r->command, "status") == 0) {
		ctl_print_status(a, stdout);
	} else if (strcmp(r->command, "ledger") == 0) {
		ctl_print_ledger(a, stdout);
	} else if (json_object_get(a, "version")) {
		show_change(a, stdout);
	} else if (strcmp(r->command, "sampling") == 0) {
		ctl_print_sampling(a, stdout);
	}
}

/* The exit code */
static int judge(const struct request *r, const json_t *a)
{
	char safe[900];
	if (!json_is_true(json_object_get(a, "ok"))) {
		const char *why = json_string_value(json_object_get(a, "error"));
		log_escape(safe, sizeof(safe), bytes_str(why ? why : "refused"));
		fprintf(stderr, "sidetap ctl: %s\n", safe);
		return json_integer_value(json_object_get(a, "code")) == 2 ? 2 : 1;
	}
	show(r, a);
	const char *residue = r->check ? ctl_residue(a) : NULL;
	if (residue)
		return wrong("the ledger does not add up: stage ", residue, "") - 1;
	return 0;
}

int cli_ctl(int argc, char **argv)
{
	struct request r = {0};
	char path[512], err[500];
	int rc = parse(&r, argc, argv);
	if (rc)
		return rc < 0 ? 0 : rc;
	json_t *request = request_of(&r);
	if (!request)
		return 2;
	rc = ctl_find(r.socket, path, sizeof(path));
	json_t *answer = rc == 0 ? ctl_ask(path, request, err, sizeof(err)) : NULL;
	if (rc == 0 && !answer) {
		fprintf(stderr, "sidetap ctl: %s\n", err);
		rc = 1;
	} else if (answer) {
		rc = judge(&r, answer);
	}
	json_decref(answer);
	json_decref(request);
	return rc;
}
