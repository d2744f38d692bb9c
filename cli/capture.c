/* SPDX-License-Identifier: Apache-2.0 */
/* sidetap capture: attach, mirror, summarise. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "capture/admin.h"
#include "capture/look.h"
#include "capture/pipeline.h"
#include "capture/sandbox.h"
#include "capture/yield.h"
#include "cli/cli.h"
#include "cli/watch.h"
#include "base/version.h"

/* The leak checker stops the other threads by ptrace. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { EXIT_CANNOT_ATTACH = 3, SILENCE_S = 5 };

struct run {
	struct settings *s;
	bool progress; /* stderr is a terminal and stdout is not the same one */
	bool ready_told, explained;
	unsigned seconds; /* since attached */
	uint64_t last_calls;
	struct watch *watch;
	struct admin *admin;
};

/* What `print` writes goes to stderr without ever waiting for it. */
static void say(void (*print)(FILE *out, void *ctx), void *ctx)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		return;
	print(out, ctx);
	fclose(out);
	if (text)
		log_raw(text);
	free(text);
}

static void print_silence(FILE *out, void *ctx)
{
	struct run *run = ctx;
	watch_explain(run->watch, out, run->s->ports, run->s->n_ports);
}

static void ready(struct run *run)
{
	if (!run->s->ready_file || run->ready_told)
		return;
	int fd = open(run->s->ready_file, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		log_warn("--ready-file %s: %s", run->s->ready_file, strerror(errno));
	else
		close(fd);
	run->ready_told = true;
}

static void on_attached(void *ctx, struct pipeline *p)
{
	struct run *run = ctx;
	(void)p;
	run->seconds = 0;
	ready(run);
}

/* Nothing captured for a while: says why, and tries the next back end once when bytes do move. */
static void explain_silence(struct run *run, struct pipeline *p)
{
	if (run->explained || !run->watch || run->s->read_file)
		return;
	struct pipeline_status st = pipeline_status(p);
	if (st.bytes) {
		run->explained = true;
		return;
	}
	if (++run->seconds < SILENCE_S)
		return;
	run->explained = true;
	say(print_silence, run);
	if (watch_moving(run->watch, run->s->ports, run->s->n_ports) && st.attach_ops &&
	    strcmp(run->s->attach, "auto") == 0)
		pipeline_attach_next(p);
}

static void on_tick(void *ctx, struct pipeline *p)
{
	struct run *run = ctx;
	explain_silence(run, p);
	if (!run->progress)
		return;
	struct pipeline_status st = pipeline_status(p);
	uint64_t lost = st.totals.records - st.totals.delivered;
	fprintf(stderr, "\r\033[K%llu calls (%llu/s), %llu connections, %llu waiting for delivery",
		(unsigned long long)st.totals.calls,
		(unsigned long long)(st.totals.calls - run->last_calls),
		(unsigned long long)st.flows, (unsigned long long)lost);
	run->last_calls = st.totals.calls;
}

static void on_hangup(void *ctx, struct pipeline *p)
{
	struct run *run = ctx;
	if (!run->admin || admin_reload(run->admin) == -ENOENT)
		pipeline_stop(p); /* without a file to read: the terminal is gone */
}

static void summary_losses(FILE *out, const struct pipeline *p)
{
	struct ledger_stage *st = calloc(PIPELINE_LEDGER_MAX, sizeof(*st));
	size_t n = st ? pipeline_ledger(p, st, PIPELINE_LEDGER_MAX) : 0;
	bool any = false;
	for (size_t i = 0; i < n; i++)
		for (unsigned j = 0; j < st[i].n_exits; j++) {
			const struct ledger_exit *e = &st[i].exits[j];
			if (!e->lost || !e->n)
				continue;
			fprintf(out, "%s %s.%s %llu %s", any ? "," : "sidetap: lost:", st[i].name,
				e->name, (unsigned long long)e->n, st[i].unit);
			any = true;
		}
	fputs(any ? "\n" : "sidetap: lost: nothing\n", out);
	free(st);
}

static void summary_loop(FILE *out, const struct pipeline_status *st)
{
	fprintf(out, "sidetap: slowest turn %.1f ms, %.1f of CPU, ",
		(double)st->slowest.clock_ns / 1e6, (double)st->slowest.cpu_ns / 1e6);
	if (st->blocked_known)
		fprintf(out, "%.1f blocked\n", (double)st->slowest.blocked_ns / 1e6);
	else
		fputs("blocked: unknown, the kernel has no schedstat\n", out);
}

static void summary(FILE *out, void *ctx)
{
	const struct pipeline *p = ctx;
	struct pipeline_status st = pipeline_status(p);
	const char *name;
	uint64_t calls;
	fprintf(out, "sidetap: %llu calls in %.1f s", (unsigned long long)st.totals.calls,
		st.seconds);
	for (size_t i = 0; pipeline_protocol(p, i, &name, &calls); i++)
		fprintf(out, "%s%s %llu", i ? ", " : " (", name, (unsigned long long)calls);
	fprintf(out, "%s; %llu of %llu records delivered", st.totals.calls ? ")" : "",
		(unsigned long long)st.totals.delivered, (unsigned long long)st.totals.records);
	if (st.sink_status && st.sink_status[0])
		fprintf(out, "; %s", st.sink_status);
	fputc('\n', out);
	if (!st.from_file)
		summary_loop(out, &st);
	summary_losses(out, p);
}

/* Attaches, or with --idle waits for a signal and tries again every five seconds. */
static int attach(struct run *run, struct pipeline *p)
{
	char err[4096];
	bool told = false;
	for (;;) {
		if (pipeline_attach(p, NULL, err, sizeof(err)) == 0)
			return 0;
		if (run->s->read_file) {
			log_error("%s", err);
			return 1;
		}
		if (!told) {
			log_error("cannot attach:");
			for (char *line = strtok(err, "\n"); line; line = strtok(NULL, "\n"))
				log_error("  %s", line);
			log_error(
				"run `sidetap doctor` to see what this machine allows and what to change");
		}
		if (!run->s->idle)
			return EXIT_CANNOT_ATTACH;
		if (!told)
			log_info("idle: tries again every 5 s (--idle)");
		told = true;
		if (pipeline_idle(p, 5000) == 0)
			return -EINTR;
	}
}

static void may_read_around(struct sandbox_files *f, const char *path)
{
	char *real = path ? realpath(path, NULL) : NULL;
	const char *both[] = {path, real};
	for (int i = 0; i < 2 && both[i]; i++) {
		char dir[SANDBOX_PATH_MAX];
		snprintf(dir, sizeof(dir), "%s", both[i]);
		char *slash = strrchr(dir, '/');
		if (slash)
			slash[slash == dir] = 0;
		sandbox_may_read(f, slash ? dir : ".");
	}
	free(real);
}

static void may_write_around(struct sandbox_files *f, const char *path)
{
	char dir[SANDBOX_PATH_MAX];
	snprintf(dir, sizeof(dir), "%s", path ? path : "");
	char *slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = 0;
		sandbox_may_write(f, dir);
	}
}

static void confine_files(const struct run *run)
{
	const struct settings *s = run->s;
	struct sandbox_files *f = calloc(1, sizeof(*f));
	char err[200];
	if (!f)
		return;
	pipeline_sink_files(s, f);
	may_read_around(f, s->config_file);
	may_write_around(f, admin_socket(run->admin)); /* to remove it at the end */
	if (s->metrics && strncmp(s->metrics, "unix:", 5) == 0)
		may_write_around(f, s->metrics + 5);
	sandbox_may_read(f, "/proc");
	sandbox_may_read(f, "/sys"); /* what libbpf and libpcap look up */
	sandbox_may_read(f, "/etc/localtime");
	sandbox_may_read(f, "/usr/share/zoneinfo");
	int rc = sandbox_files_only(f, err, sizeof(err));
	if (rc < 0)
		log_info("%s: files are not confined", err);
	free(f);
}

/* Nothing is attached any more after this than what it needs (docs/design.md, "Security"). */
static void confine(const struct run *run)
{
	const struct settings *s = run->s;
	bool attaches = s->reattach && !s->read_file;
	char err[200];
	unsigned keep = !attaches         ? 0
			: look_is_apart() ? SANDBOX_ATTACH
					  : SANDBOX_ATTACH | SANDBOX_LOOK;
	if (sandbox_drop(keep, err, sizeof(err)) < 0)
		log_warn("%s", err);
	if (!s->sandbox || SANITIZED)
		return;
	if (!attaches || look_is_apart())
		confine_files(run);
	if (sandbox_calls_only(attaches, err, sizeof(err)) < 0)
		log_info("%s: system calls are not confined", err);
}

/* Attaches, drops what is not needed any more, runs to the end. */
static int mirror(struct run *run, struct pipeline *p)
{
	struct settings *s = run->s;
	int rc = attach(run, p);
	if (rc != 0)
		return rc == -EINTR ? 0 : rc;
	confine(run);
	rc = pipeline_run(p);
	if (run->progress)
		fputs("\r\033[K", stderr);
	if (!s->quiet && !pipeline_sink_finished(p))
		say(summary, p);
	return rc;
}

static void give_way(const struct settings *s)
{
	int rc = yield_cpu((enum yield_priority)s->priority);
	if (rc < 0)
		log_warn("--priority: %s", strerror(-rc));
	rc = s->read_file ? 0 : yield_memory();
	if (rc < 0)
		log_warn("oom_score_adj: %s: short of memory the kernel may take the service first",
			 strerror(-rc));
}

/* Where it attaches again, and Landlock is to cover the loop as well */
static void look_apart(const struct settings *s)
{
	int rc = s->reattach && !s->read_file && s->sandbox && !SANITIZED ? look_begin() : 0;
	if (rc < 0)
		log_info(
			"no process of its own looks into others: %s: the loop is without Landlock",
			strerror(-rc));
}

static int run_capture(struct settings *s)
{
	struct run run = {.s = s};
	char err[1024] = "";
	struct pipeline_cfg cfg = {.settings = s,
				   .version = SIDETAP_VERSION,
				   .tick = on_tick,
				   .attached = on_attached,
				   .hangup = on_hangup,
				   .ctx = &run};
	log_set_level(settings_log_level(s));
	log_set_format((enum log_format)s->log_format);
	run.progress = !s->quiet && s->log_format == LOG_PLAIN && isatty(STDERR_FILENO) &&
		       !(isatty(STDOUT_FILENO) && strncmp(s->sink, "print:", 6) == 0);
	give_way(s);
	sandbox_early();
	look_apart(s);
	struct pipeline *p = pipeline_new(&cfg, err, sizeof(err));
	int rc = 1;
	if (p)
		run.admin = admin_open(&(struct admin_cfg) {p, s}, err, sizeof(err));
	if (run.admin) {
		if (!s->read_file)
			run.watch = watch_begin();
		if (run.watch && s->any_interface)
			watch_any_interface(run.watch);
		rc = mirror(&run, p);
		watch_end(run.watch);
	} else {
		log_error("%s", err);
		rc = p ? 2 : 1; /* --socket names a place that is not safe, or taken */
	}
	admin_close(run.admin);
	pipeline_free(p);
	look_end();
	return rc;
}

int cli_capture(int argc, char **argv)
{
	struct settings s;
	settings_init(&s);
	int r = settings_parse(&s, argc, argv);
	int rc = r == 1 ? 0 : r < 0 ? 2 : run_capture(&s);
	settings_fini(&s);
	return rc;
}
