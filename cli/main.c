/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"
#include "base/version.h"
#include "cli/cli.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"capture", cli_capture, "attach and mirror: a line a call, or records to Kafka or files"},
	{"export", cli_export, "records as JSON lines"},
	{"ledger", cli_ledger,
	 "what was seen, kept and lost; proves that a topic or file is complete"},
	{"ctl", cli_ctl, "status, ledger, sampling, pause of a capture that is running"},
	{"doctor", cli_doctor, "what this machine and these privileges allow, and what to change"},
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static void usage(FILE *out)
{
	fputs("sidetap mirrors the calls between a service and its proxy, from beside them.\n\n"
	      "Usage: sidetap COMMAND [OPTION]...\n\n",
	      out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
	fputs("\nsidetap COMMAND --help    its options, with examples\n"
	      "sidetap --version\n\n"
	      "Start with: sidetap doctor, then sidetap capture -p PORT\n",
	      out);
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[COMMANDS + 1];
	char safe[120];
	for (size_t i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	names[COMMANDS] = "help";
	int near = nearest_name(name, names, COMMANDS + 1);
	log_escape(safe, sizeof(safe), bytes_str(name));
	fprintf(stderr, "sidetap: no such command: %s: ", safe);
	if (near >= 0)
		fprintf(stderr, "did you mean '%s'? ", names[near]);
	fputs(name[0] == '-' ? "options come after the command, as in 'sidetap capture -p 8080'\n"
			     : "'sidetap --help' lists them\n",
	      stderr);
	return 2;
}

/* "help", "help X" */
static int help(int argc, char **argv)
{
	if (argc < 2) {
		usage(stdout);
		return 0;
	}
	const struct command *c = find(argv[1]);
	char *words[] = {argv[1], (char[]) {"--help"}, NULL};
	return c ? c->run(2, words) : unknown(argv[1]);
}

static int run(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";
	const struct command *c = find(word);

	if (c)
		return c->run(argc - 1, argv + 1);
	if (strcmp(word, "help") == 0)
		return help(argc - 1, argv + 1);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return help(1, argv);
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		printf("sidetap %s\n", SIDETAP_VERSION);
		return 0;
	}
	return unknown(word);
}

/* So that no file of ours gets the number of a standard one that is closed: then a line would go into it. Every use fails,
 * as without. */
static void fill_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_CLOEXEC) != fd)
			return;
}

/* A small limit (ulimit -s) makes every thread's stack small: the libraries' threads, and ours, need more. */
static void enough_stack(void)
{
	enum { STACK_BYTES = 1 << 20 };
	struct rlimit r;
	pthread_attr_t a;
	size_t n;

	if (getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur < STACK_BYTES) {
		r.rlim_cur = r.rlim_max < STACK_BYTES ? r.rlim_max : STACK_BYTES;
		setrlimit(RLIMIT_STACK, &r);
	}
	pthread_attr_init(&a);
	if (pthread_attr_getstacksize(&a, &n) == 0 && n < STACK_BYTES &&
	    pthread_attr_setstacksize(&a, STACK_BYTES) == 0)
		pthread_setattr_default_np(&a);
	pthread_attr_destroy(&a);
}

int main(int argc, char **argv)
{
	fill_standard();
	enough_stack();
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(), never an end */
	return run(argc, argv);
}
