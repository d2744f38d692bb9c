/* SPDX-License-Identifier: Apache-2.0 */
/* sidetap export: records as JSON lines. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "analyze/filter.h"
#include "analyze/jsonl.h"
#include "analyze/parts.h"
#include "cli/cli.h"
#include "record.pb-c.h"
#include "sink/record.h"
#include "sink/source.h"

enum {
	FLUSH_BYTES = 1 << 16,
	PARTS_BYTES = 64 << 20,
	PARTS_OPEN = 1 << 16,
	PARTS_REMEMBERED = 1 << 20
};

static const char usage[] =
	"Usage: sidetap export -i SOURCE [OPTION]...\n"
	"Recorded calls as JSON lines: one call a line, its parts joined.\n"
	"\n"
	"  -i, --source SOURCE    file:DIR, or kafka://HOST:PORT[,HOST:PORT...]/TOPIC[?property=value&...]\n"
	"  -f, --format FORMAT    jsonl (the default)\n"
	"  -o, --output FILE      in place of stdout\n"
	"      --bodies HOW       auto (text as it is, else base64), base64, none\n"
	"      --follow           Kafka: do not end at what is the end now\n"
	"      --protocol NAME    only these calls: http1, http2, grpc, thrift, ...\n"
	"      --service NAME\n"
	"      --method NAME\n"
	"      --status STATUS    200, 500-599, 5xx, or an outcome: OK, SERVER_ERROR, NO_RESPONSE, ...\n"
	"      --since TIME       2026-03-01T12:00:00Z, @SECONDS, or how long ago: 90s, 10m, 2h, 3d\n"
	"      --until TIME\n"
	"  -h, --help\n"
	"\n"
	"Examples:\n"
	"  sidetap export -i file:/var/lib/sidetap | jq .path\n"
	"  sidetap export -i kafka://127.0.0.1:9092/sidetap --status 5xx --since 10m -o errors.jsonl\n"
	"  sidetap export -i kafka://127.0.0.1:9092/sidetap --follow --protocol grpc --bodies none\n";

struct export
{
	const char *source, *output;
	enum jsonl_bodies bodies;
	bool follow;
	struct filter filter;
	struct text out;
	int fd;
	int error; /* of writing */
	uint64_t broken;
};

static int invalid(const char *option, const char *value, const char *allowed)
{
	fprintf(stderr, "sidetap: export: --%s '%s': allowed is %s\n", option, value, allowed);
	return -EINVAL;
}

static int parse_bodies(struct export *x, const char *value)
{
	static const char *const names[] = {"auto", "base64", "none"};
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(value, names[i]) == 0) {
			x->bodies = (enum jsonl_bodies)i;
			return 0;
		}
	return invalid("bodies", value, "auto, base64, none");
}

static int parse_format(const char *value)
{
	if (strcmp(value, "jsonl") == 0)
		return 0;
	return invalid("format", value, "jsonl in this version");
}

static int parse_time(const char *option, const char *value, uint64_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (filter_time(value, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec, out) == 0)
		return 0;
	return invalid(
		option, value,
		"2026-03-01T12:00:00Z, @SECONDS since 1970, or how long ago: 90s, 10m, 2h, 3d");
}

enum {
	OPT_BODIES = 256,
	OPT_FOLLOW,
	OPT_PROTOCOL,
	OPT_SERVICE,
	OPT_METHOD,
	OPT_STATUS,
	OPT_SINCE,
	OPT_UNTIL
};

static const struct option longs[] = {
	{"source", required_argument, NULL, 'i'},
	{"format", required_argument, NULL, 'f'},
	{"output", required_argument, NULL, 'o'},
	{"bodies", required_argument, NULL, OPT_BODIES},
	{"follow", no_argument, NULL, OPT_FOLLOW},
	{"protocol", required_argument, NULL, OPT_PROTOCOL},
	{"service", required_argument, NULL, OPT_SERVICE},
	{"method", required_argument, NULL, OPT_METHOD},
	{"status", required_argument, NULL, OPT_STATUS},
	{"since", required_argument, NULL, OPT_SINCE},
	{"until", required_argument, NULL, OPT_UNTIL},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int take_option(struct export *x, int c)
{
	switch (c) {
	case 'i': x->source = optarg; return 0;
	case 'o': x->output = optarg; return 0;
	case 'f': return parse_format(optarg);
	case OPT_BODIES: return parse_bodies(x, optarg);
	case OPT_FOLLOW: x->follow = true; return 0;
	case OPT_PROTOCOL: x->filter.protocol = optarg; return 0;
	case OPT_SERVICE: x->filter.service = optarg; return 0;
	case OPT_METHOD: x->filter.method = optarg; return 0;
	case OPT_STATUS:
		return filter_status(&x->filter, optarg) == 0
			       ? 0
			       : invalid("status", optarg,
					 "200, 500-599, 5xx, or an outcome such as SERVER_ERROR");
	case OPT_SINCE: return parse_time("since", optarg, &x->filter.since_ns);
	case OPT_UNTIL: return parse_time("until", optarg, &x->filter.until_ns);
	case 'h': fputs(usage, stdout); return 1;
	default: fputs("Try 'sidetap export --help'.\n", stderr); return -EINVAL;
	}
}

/* 0; 1: --help was printed; -EINVAL: said what is wrong. */
static int parse_options(struct export *x, int argc, char **argv)
{
	int c, e;
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:f:o:h", longs, NULL)) != -1)
		if ((e = take_option(x, c)) != 0)
			return e;
	if (x->source && optind == argc)
		return 0;
	if (x->source)
		fprintf(stderr, "sidetap: export: what is '%s'? Try 'sidetap export --help'.\n",
			argv[optind]);
	else
		fputs("sidetap: export: -i SOURCE is needed: file:DIR or kafka://HOST:PORT/TOPIC\n",
		      stderr);
	return -EINVAL;
}

static void flush(struct export *x)
{
	size_t at = 0;
	while (at < x->out.n && !x->error) {
		ssize_t n = write(x->fd, x->out.p + at, x->out.n - at);
		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			x->error = -errno;
	}
	if (x->out.failed && !x->error)
		x->error = -ENOMEM;
	x->out.n = 0;
}

static void emit(void *ctx, const Sidetap__V1__Call *call)
{
	struct export *x = ctx;
	if (x->error || !filter_match(&x->filter, call))
		return;
	jsonl_call(&x->out, call, x->bodies);
	if (x->follow || x->out.n >= FLUSH_BYTES || x->out.failed)
		flush(x);
}

static int read_all(struct export *x, struct parts *parts, char *err, size_t err_n)
{
	struct source_cfg cfg = {.calls = true, .follow = x->follow};
	const struct source_ops *ops = NULL;
	struct source *s = source_open(x->source, &cfg, &ops, err, err_n);
	struct bytes data;
	enum record_kind kind;
	int e = ops ? -EIO : -EINVAL; /* no such scheme */
	while (s && !x->error &&
	       ((e = ops->next(s, &data, &kind, err, err_n)) == 1 || e == -EBADMSG)) {
		Sidetap__V1__Call *c = e == 1 ? record_decode(data) : NULL;
		x->broken += !c;
		if (c && parts_push(parts, &c) != 0)
			x->error = -ENOMEM;
		sidetap__v1__call__free_unpacked(c, NULL);
	}
	if (s)
		ops->close(s);
	return x->error ? 0 : e;
}

/* The exit code */
static int run(struct export *x)
{
	struct parts_cfg cfg = {PARTS_BYTES, PARTS_OPEN, PARTS_REMEMBERED, emit, x};
	struct parts *parts = parts_new(&cfg);
	char err[512] = "";
	if (!parts) {
		fprintf(stderr, "sidetap: export: no memory\n");
		return 1;
	}
	int e = read_all(x, parts, err, sizeof(err));
	parts_flush(parts);
	flush(x);
	parts_free(parts);
	if (e)
		fprintf(stderr, "sidetap: %s\n", err);
	if (x->broken)
		fprintf(stderr, "sidetap: export: %llu broken records or frames were skipped\n",
			(unsigned long long)x->broken);
	if (x->error && x->error != -EPIPE)
		fprintf(stderr, "sidetap: export: writing %s: %s\n",
			x->output ? x->output : "stdout", strerror(-x->error));
	if (e == -EINVAL)
		return 2;
	return e || (x->error && x->error != -EPIPE) ? 1 : 0;
}

int cli_export(int argc, char **argv)
{
	struct export x = {.fd = STDOUT_FILENO};
	filter_init(&x.filter);
	int e = parse_options(&x, argc, argv);
	if (e)
		return e < 0 ? 2 : 0;
	signal(SIGPIPE, SIG_IGN);
	if (x.output && strcmp(x.output, "-") != 0) {
		x.fd = open(x.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
		if (x.fd < 0) {
			fprintf(stderr, "sidetap: export: cannot write %s: %s\n", x.output,
				strerror(errno));
			return 1;
		}
	}
	int code = run(&x);
	text_fini(&x.out);
	if (x.fd != STDOUT_FILENO && close(x.fd) != 0)
		code = 1;
	return code;
}
