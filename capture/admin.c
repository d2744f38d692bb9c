/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/admin_state.h"

static const char *const sampling_keys[] = {"sample", "connections", "rules", NULL};

/* ---- the file ---- */

/* What settings_load() and settings_overlay() wrote: one line, without its end */
struct refusal {
	char *text;
	size_t n;
	FILE *f;
};

static bool refusal_begin(struct refusal *r)
{
	r->text = NULL;
	r->f = open_memstream(&r->text, &r->n);
	return r->f != NULL;
}

static const char *refusal_end(struct refusal *r)
{
	fclose(r->f);
	if (r->text && r->n && r->text[r->n - 1] == '\n')
		r->text[r->n - 1] = 0;
	return r->text ? r->text : "no memory";
}

/* Counts and tells a refusal. */
static int refuse(struct admin *a, const char *what, const char *why)
{
	log_error("%s refused, the old one stays: %s", what, why);
	pipeline_reload_refused(a->cfg.p, why);
	return -EINVAL;
}

/* 1, 0, or -EINVAL: refused, and told */
static int apply(struct admin *a, struct settings *next, const char *what)
{
	char err[400];
	int rc = pipeline_apply(a->cfg.p, next, err, sizeof(err));
	if (rc < 0)
		return refuse(a, what, err);
	log_set_level(settings_log_level(a->cfg.s));
	log_set_format((enum log_format)a->cfg.s->log_format);
	struct pipeline_config c = pipeline_status(a->cfg.p).config;
	log_info(rc ? "%s taken: version %llu, %s" : "%s read: nothing changed, version %llu, %s",
		 what, (unsigned long long)c.version, a->cfg.s->config_hash);
	return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * Reads the file into *next. What fails while the file is being replaced is no refusal: between the two ends of a
 * path that leads through symlinks the old file may be gone (the kubelet removes it after its swap).
 */
static int read_config(const char *path, struct settings *next, struct refusal *said)
{
	enum { ATTEMPTS = 5 };
	int rc = -ENOMEM;
	for (int i = 0; i < ATTEMPTS; i++) {
		struct stat before = {0}, after = {0};
		if (!refusal_begin(said))
			return -ENOMEM;
		(void)stat(path, &before);
		rc = settings_load(next, path, said->f);
		(void)stat(path, &after);
		refusal_end(said);
		if (rc == 0 || same_file(&before, &after))
			break;
		if (i + 1 < ATTEMPTS)
			free(said->text);
	}
	return rc;
}

int admin_reload(struct admin *a)
{
	struct settings *s = a->cfg.s, next;
	struct refusal said = {NULL, 0, NULL};
	if (!s->config_file)
		return -ENOENT;
	if (settings_copy(&next, s) < 0)
		return -ENOMEM;
	int rc = read_config(s->config_file, &next, &said);
	if (rc == 0)
		rc = apply(a, &next, "configuration");
	else if (rc == -EINVAL)
		refuse(a, "configuration", said.text ? said.text : "no memory");
	free(said.text);
	settings_fini(&next);
	return rc;
}

static void on_reload(void *ctx)
{
	struct admin *a = ctx;
	if (reload_changed(a->reload, true))
		admin_reload(a);
}

/* ---- commands ---- */

static json_t *done(void)
{
	return json_pack("{s:b}", "ok", 1);
}

/* Adds "ok": true to an answer that was made. */
static json_t *with_ok(json_t *answer)
{
	if (answer)
		json_object_set_new(answer, "ok", json_true());
	return answer;
}

static json_t *applied(struct admin *a, bool changed)
{
	struct pipeline_config c = pipeline_status(a->cfg.p).config;
	return json_pack("{s:b, s:b, s:I}", "ok", 1, "changed", changed, "version",
			 (json_int_t)c.version);
}

static json_t *reload(struct admin *a, const json_t *r)
{
	(void)r;
	int rc = admin_reload(a);
	if (rc == -ENOENT)
		return control_error(1, "no configuration file: start with -c FILE to reload one");
	if (rc < 0)
		return control_error(1, "refused, the old configuration stays: %s",
				     rc == -EINVAL ? pipeline_status(a->cfg.p).config.why
						   : strerror(-rc));
	return applied(a, rc);
}

/* A refusal here is the answer; the status goes on telling about the file. */
static json_t *sampling_set(struct admin *a, const char *text, const char *name)
{
	struct settings next;
	struct refusal said;
	if (settings_copy(&next, a->cfg.s) < 0)
		return NULL;
	if (!refusal_begin(&said)) {
		settings_fini(&next);
		return NULL;
	}
	int rc = settings_overlay(&next, name, bytes_str(text), sampling_keys, said.f);
	const char *why = refusal_end(&said);
	if (rc == 0)
		rc = apply(a, &next, "sampling");
	json_t *out = rc < 0 ? control_error(1, "refused, the old sampling stays: %s", why)
			     : applied(a, rc);
	free(said.text);
	settings_fini(&next);
	return out;
}

static json_t *sampling(struct admin *a, const json_t *r)
{
	const char *text = json_string_value(json_object_get(r, "set"));
	const char *name = json_string_value(json_object_get(r, "name"));
	if (text)
		return sampling_set(a, text, name ? name : "sampling");
	return with_ok(json_pack("{s:o}", "sampling", admin_sampling(a)));
}

static json_t *status(struct admin *a, const json_t *r)
{
	(void)r;
	return with_ok(admin_status(a));
}

static json_t *ledger(struct admin *a, const json_t *r)
{
	(void)r;
	return with_ok(admin_ledger(a));
}

static json_t *pause_(struct admin *a, const json_t *r)
{
	(void)r;
	int rc = pipeline_pause(a->cfg.p);
	if (rc == -EPERM)
		return control_error(
			1, a->cfg.s->read_file
				   ? "it reads a file: there is nothing to detach"
				   : "it could not attach again (--no-reattach gave that up): "
				     "'sidetap ctl stop' ends it");
	if (rc == -ENOTCONN)
		return control_error(1, "nothing was attached yet");
	return rc == -EALREADY ? control_error(1, "it is paused") : done();
}

static json_t *resume(struct admin *a, const json_t *r)
{
	(void)r;
	char err[600];
	int rc = pipeline_resume(a->cfg.p, err, sizeof(err));
	if (rc == -EALREADY)
		return control_error(1, "it is not paused");
	if (rc == -EPERM)
		return control_error(1, "it stays detached: %s", err);
	return rc < 0 ? control_error(1, "cannot attach now, it tries again each second: %s", err)
		      : done();
}

static json_t *stop(struct admin *a, const json_t *r)
{
	(void)r;
	log_info("asked to stop by 'sidetap ctl'");
	pipeline_stop(a->cfg.p);
	return done();
}

static json_t *handle(void *ctx, const json_t *request)
{
	static const struct {
		const char *name;
		json_t *(*run)(struct admin *a, const json_t *r);
	} commands[] = {{"status", status}, {"ledger", ledger}, {"sampling", sampling},
			{"reload", reload}, {"pause", pause_},  {"resume", resume},
			{"stop", stop}};
	const char *name = json_string_value(json_object_get(request, "command"));
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(ctx, request);
	return control_error(
		2, "no such command: this capture (another version?) knows status, ledger, "
		   "sampling, reload, pause, resume, stop");
}

static void on_control(void *ctx)
{
	control_service(((struct admin *)ctx)->control, clock_ns(CLOCK_MONOTONIC));
}

static void on_metrics(void *ctx)
{
	metrics_service(((struct admin *)ctx)->metrics);
}

/* ---- opening ---- */

static int open_control(struct admin *a, char *err, size_t err_n)
{
	const char *path = a->cfg.s->socket;
	struct control_cfg cfg = {.path = path, .handle = handle, .ctx = a};
	if (path ? strcmp(path, "none") == 0 : a->cfg.s->read_file != NULL)
		return 0;
	a->control = control_open(&cfg, err, err_n);
	if (a->control)
		return pipeline_watch(a->cfg.p, control_fd(a->control), on_control, a);
	if (path)
		return -EINVAL;
	log_info("%s; goes on without", err);
	return 0;
}

static void open_reload(struct admin *a)
{
	const struct settings *s = a->cfg.s;
	if (!s->config_file || s->read_file)
		return;
	a->reload = reload_open(s->config_file);
	if (!a->reload || pipeline_watch(a->cfg.p, reload_fd(a->reload), on_reload, a) < 0)
		log_warn("cannot watch %s: send SIGHUP, or use 'sidetap ctl reload'",
			 s->config_file);
}

static void open_metrics(struct admin *a)
{
	char err[500];
	struct metrics_cfg cfg = {a->cfg.s->metrics, a->cfg.p, a->control};
	if (!cfg.listen)
		return;
	a->metrics = metrics_open(&cfg, err, sizeof(err));
	if (!a->metrics || pipeline_watch(a->cfg.p, metrics_fd(a->metrics), on_metrics, a) < 0)
		log_warn("%s: goes on without", err);
	else
		log_info("metrics: %s", metrics_where(a->metrics));
}

struct admin *admin_open(const struct admin_cfg *cfg, char *err, size_t err_n)
{
	struct admin *a = calloc(1, sizeof(*a));
	if (!a) {
		snprintf(err, err_n, "no memory");
		return NULL;
	}
	a->cfg = *cfg;
	open_reload(a);
	if (open_control(a, err, err_n) < 0) {
		admin_close(a);
		return NULL;
	}
	open_metrics(a);
	return a;
}

void admin_close(struct admin *a)
{
	if (!a)
		return;
	metrics_close(a->metrics);
	control_close(a->control);
	reload_close(a->reload);
	free(a);
}

const char *admin_socket(const struct admin *a)
{
	return a->control ? control_path(a->control) : NULL;
}
