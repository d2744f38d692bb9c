/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: -p 80, -p80, --port 80, --port=80, -vx, --no-redact; and the text of --help. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/version.h"
#include "capture/redact.h"
#include "capture/settings_table.h"

enum { HELP_COLUMN = 30 };

struct flags {
	struct settings *s;
	char **argv;
	int argc, at; /* the next word */
};

static int refuse(const char *before, const char *word, const char *after)
{
	char safe[120];
	log_escape(safe, sizeof(safe), bytes_str(word));
	fprintf(stderr, "sidetap capture: %s%s%s\n", before, safe, after);
	return -EINVAL;
}

static const struct option *by_letter(char letter)
{
	for (size_t i = 0; i < settings_n_options; i++)
		if (letter && settings_options[i].letter == letter)
			return &settings_options[i];
	return NULL;
}

static int action(const struct option *o)
{
	if (strcmp(o->name, "help") == 0)
		settings_help(stdout);
	else
		printf("sidetap %s\n", SIDETAP_VERSION);
	return 1;
}

static int apply(struct flags *f, const struct option *o, const char *value)
{
	char err[OPTION_ERROR_MAX];
	uint64_t bit = 1ull << (o - settings_options);

	if (!(f->s->flag_set & bit) && (o->kind == OPTION_PORTS || o->kind == OPTION_LIMIT))
		option_reset(f->s, o);
	int rc = option_set(f->s, o, value, err);
	if (rc < 0) {
		fprintf(stderr, "sidetap capture: --%s: %s\n", o->name, err);
		return -EINVAL;
	}
	f->s->flag_set |= bit;
	return 0;
}

static int count_up(struct flags *f, const struct option *o)
{
	unsigned now = *(unsigned *)((char *)f->s + o->offset);
	char digit[2] = {(char)('0' + (now < 3 ? now + 1 : 3)), 0};
	return apply(f, o, digit);
}

/* value: what follows in the same word; NULL: nothing does. */
static int option_given(struct flags *f, const struct option *o, const char *value, bool on)
{
	if (o->kind == OPTION_ACTION)
		return action(o);
	if (o->kind == OPTION_COUNTED)
		return count_up(f, o);
	if (o->kind == OPTION_BOOL)
		return apply(f, o, on ? "true" : "false");
	if (!value && f->at < f->argc)
		value = f->argv[f->at++];
	if (!value) {
		char after[80];
		snprintf(after, sizeof(after), " needs a value: %s", o->arg);
		return refuse("--", o->name, after);
	}
	return apply(f, o, value);
}

static int long_option(struct flags *f, const char *word)
{
	bool on;
	size_t n = strcspn(word, "=");
	const char *value = word[n] ? word + n + 1 : NULL;
	const struct option *o = settings_find(bytes_of(word, n), &on);

	if (!o) {
		char name[64], after[160];
		snprintf(name, sizeof(name), "%.*s", (int)(n < 60 ? n : 60), word);
		const char *near = settings_nearest(name, false);
		snprintf(after, sizeof(after), near ? ": did you mean --%s? " : ": ", near);
		strcat(after, "'sidetap capture --help' lists them");
		return refuse("no such option: --", name, after);
	}
	if (o->file_only)
		return refuse("--", o->name, ": a key of the file only, --config FILE");
	if (value && !o->arg)
		return refuse("--", o->name, " takes no value");
	return option_given(f, o, value, on);
}

static int short_options(struct flags *f, const char *word)
{
	for (; *word; word++) {
		const struct option *o = by_letter(*word);
		char name[2] = {*word, 0};
		if (!o)
			return refuse("no such option: -", name,
				      ": 'sidetap capture --help' lists them");
		int rc = option_given(f, o, o->arg && word[1] ? word + 1 : NULL, true);
		if (rc != 0 || o->arg)
			return rc;
	}
	return 0;
}

static int word_given(struct flags *f, const char *word)
{
	if (strncmp(word, "--", 2) == 0 && word[2])
		return long_option(f, word + 2);
	if (word[0] == '-' && word[1] && word[1] != '-')
		return short_options(f, word + 1);
	return refuse("unexpected '", word, "': options begin with - or --, ports are given by -p");
}

/* What a rule needs besides its text (a key that can be read, patterns that fit together) is tried here. */
static int redact_try(const struct settings *s)
{
	char err[OPTION_ERROR_MAX], safe[OPTION_ERROR_MAX];
	if (!s->redact || redact_rules_empty(&s->redact_rules))
		return 0;
	struct redactor *r = redactor_new(&s->redact_rules, NULL, err, sizeof(err));
	log_escape(safe, sizeof(safe), bytes_str(err));
	if (!r)
		fprintf(stderr, "sidetap capture: %s\n", safe);
	redactor_unref(r);
	return r ? 0 : -EINVAL;
}

int settings_parse(struct settings *s, int argc, char **argv)
{
	struct flags f = {s, argv, argc, 1};
	int rc = 0;

	if (!s->attach || !s->sink)
		return refuse("out of memory", "", "");
	while (rc == 0 && f.at < argc) {
		const char *word = argv[f.at++];
		rc = word_given(&f, word);
	}
	if (rc == 0 && s->config_file)
		rc = settings_load(s, s->config_file, stderr);
	if (rc == 0)
		rc = redact_try(s);
	if (rc < 0 || rc == 1)
		return rc;
	settings_hash(s);
	if (!s->check_only)
		return 0;
	if (s->verbose)
		settings_print(s, stdout);
	if (!s->quiet)
		fprintf(stderr, "sidetap capture: the configuration is valid\n");
	return 1;
}

static void help_option(const struct option *o, FILE *out)
{
	char left[80], letter[5] = "    ";
	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	int n = snprintf(left, sizeof(left), "  %s--%s%s%s%s", letter, o->negative ? "no-" : "",
			 o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	fputs(left, out);
	if (n >= HELP_COLUMN) {
		fputc('\n', out);
		n = 0;
	}
	for (const char *line = o->help; *line; n = 0) {
		size_t len = strcspn(line, "\n");
		fprintf(out, "%*s%.*s\n", HELP_COLUMN - n, "", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

void settings_help(FILE *out)
{
	fputs("Usage: sidetap capture [OPTION]...\n"
	      "Mirrors the calls between a service and its proxy, from beside them.\n",
	      out);
	for (size_t i = 0; i < settings_n_options; i++) {
		const struct option *o = &settings_options[i];
		if (o->group)
			fprintf(out, "\n%s:\n", o->group);
		if (o->help)
			help_option(o, out);
	}
	fputs("\nSIZE is 900, 64k, 1MiB; T is 200ms, 60s, 2h.\n"
	      "The file may also hold `rules:` (which calls are kept) and `budget: {cpu, memory}`.\n"
	      "\nExamples:\n"
	      "  sidetap capture                                what is spoken on loopback\n"
	      "  sidetap capture -p 8080 -vx --limit calls=10   ten calls with headers, bodies\n"
	      "  sidetap capture -p 15001 -s 10% -o kafka://kafka:9092/rpc\n"
	      "  sidetap capture -a cgroup:pid:1 -c tap.yaml    beside one container\n"
	      "  sidetap capture -r trace.pcapng -o file:calls  from a file, no privileges\n"
	      "\nExit: 0 done, 1 failed, 2 wrong usage or configuration, 3 nothing could attach.\n",
	      out);
}
