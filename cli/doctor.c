/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

struct request {
	bool json;
	const char *kafka; /* "kafka://..."; NULL */
};

static void help(void)
{
	fputs("Usage: sidetap doctor [--json] [-o kafka://HOST:PORT/TOPIC]\n"
	      "What this machine and these privileges allow, and what to change, in one screen.\n\n"
	      "      --json        the same facts as one JSON object\n"
	      "  -o, --sink URI    ask these brokers too, for 2 s at most\n"
	      "  -h, --help        this text\n\n"
	      "Examples:\n"
	      "  sidetap doctor\n"
	      "  sidetap doctor --json | jq -r .choice\n"
	      "  sidetap doctor -o kafka://kafka:9092/rpc\n\n"
	      "Exit: 0 something can attach, 2 wrong usage, 3 nothing can attach.\n",
	      stdout);
}

static int refuse(const char *word, const char *why)
{
	char safe[120];
	log_escape(safe, sizeof(safe), bytes_of(word, strcspn(word, "?")));
	fprintf(stderr, "sidetap doctor: '%s' %s\n", safe, why);
	return 2;
}

/* -1: go on; else the exit code */
static int sink_given(struct request *r, const char *uri)
{
	if (!uri)
		return refuse("-o", "needs a value: kafka://HOST:PORT/TOPIC");
	if (strncmp(uri, "kafka://", 8) != 0 || !strchr(uri + 8, '/'))
		return refuse(uri, "cannot be asked: allowed is kafka://HOST:PORT[,...]/TOPIC");
	r->kafka = uri;
	return -1;
}

static int parse(struct request *r, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		int rc = -1;
		if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
			help();
			return 0;
		}
		if (strcmp(word, "--json") == 0)
			r->json = true;
		else if (strcmp(word, "-o") == 0 || strcmp(word, "--sink") == 0)
			rc = sink_given(r, ++i < argc ? argv[i] : NULL);
		else if (strncmp(word, "--sink=", 7) == 0)
			rc = sink_given(r, word + 7);
		else if (strncmp(word, "-o", 2) == 0)
			rc = sink_given(r, word + 2);
		else
			rc = refuse(word, "is no option: allowed are --json, -o and --help");
		if (rc >= 0)
			return rc;
	}
	return -1;
}

static bool wants_colour(void)
{
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

int cli_doctor(int argc, char **argv)
{
	static struct doctor d; /* large, and once a process */
	struct request r = {0};
	int rc = parse(&r, argc, argv);
	if (rc >= 0)
		return rc;
	d = (struct doctor) {0};
	doctor_look_host(&d.host);
	doctor_look_pod(&d.pod, d.host.cgroup2);
	doctor_look_attach(d.attach);
	doctor_look_traffic(&d.traffic);
	if (r.kafka)
		doctor_look_kafka(&d.kafka, r.kafka);
	doctor_advise(&d);
	if (!r.json)
		doctor_print(&d, stdout, wants_colour());
	else if (doctor_print_json(&d, stdout) < 0)
		return 1;
	return doctor_choice(&d) ? 0 : 3;
}
