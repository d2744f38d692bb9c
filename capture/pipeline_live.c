/* SPDX-License-Identifier: Apache-2.0 */
/* What operators do to a running pipeline: see it, change it, pause it; and how long its turns take. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/pipeline_state.h"
#include "capture/redact.h"

static const uint64_t recent_ns = 10000000000;

void pipeline_turn_ends(struct pipeline *p)
{
	uint64_t took = turn_end(&p->turn), now = clock_ns(CLOCK_MONOTONIC);
	if (now - p->slow_since_ns > recent_ns) {
		p->slow_ns[1] = now - p->slow_since_ns < 2 * recent_ns ? p->slow_ns[0] : 0;
		p->slow_ns[0] = 0;
		p->slow_since_ns = now;
	}
	if (took > p->slow_ns[0])
		p->slow_ns[0] = took;
}

int pipeline_watch(struct pipeline *p, int fd, void (*service)(void *ctx), void *ctx)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (p->n_watches == PIPELINE_WATCHES)
		return -E2BIG;
	if (fd >= 0 && epoll_ctl(p->ep, EPOLL_CTL_ADD, fd, &e) < 0)
		return -errno;
	p->watches[p->n_watches].fd = fd;
	p->watches[p->n_watches].service = service;
	p->watches[p->n_watches++].ctx = ctx;
	return 0;
}

void pipeline_serve_watches(struct pipeline *p, const struct epoll_event *e, int n)
{
	for (size_t i = 0; i < p->n_watches; i++) {
		bool ready = n < 0;
		for (int k = 0; k < n && !ready; k++)
			ready = e[k].data.fd == p->watches[i].fd;
		if (ready)
			p->watches[i].service(p->watches[i].ctx);
	}
}

struct call_limits pipeline_call_limits(const struct pipeline *p)
{
	const struct settings *s = p->s;
	return (struct call_limits) {.body = s->body_limit,
				     .opaque_head = s->opaque_head,
				     .open_bodies = s->open_bodies_bytes,
				     .pending = 65536,
				     .timeout_ns = s->call_timeout_ns,
				     .part_messages = (uint32_t)s->part_messages,
				     .part_ns = s->part_ns,
				     .redact = s->redact};
}

void pipeline_push_live(struct pipeline *p)
{
	const struct settings *s = p->s;
	struct call_limits limits = pipeline_call_limits(p);
	struct recorder_live live = {.limit_calls = s->limit_calls,
				     .limit_bytes = s->limit_bytes,
				     .config_version = p->config.version,
				     .config_unix_ns = p->config.changed_unix_ns,
				     .config_hash = s->config_hash,
				     .proxy_ports = s->proxy_ports,
				     .n_proxy_ports = s->n_proxy_ports};
	calls_set_limits(p->calls, &limits);
	recorder_set_live(p->recorder, &live);
	pipeline_govern_apply(p);
	if (pipeline_set_rules(p) < 0)
		log_error("no memory for the rules: the old ones decide on");
}

static void kept(void *ctx, const char *name, const char *value)
{
	(void)ctx;
	log_warn("reload: %s cannot change while it runs: it stays %s until the next start", name,
		 value);
}

/* What redacts by these settings; NULL with *rc 0: nothing does. */
static struct redactor *redactor_of(const struct pipeline *p, const struct settings *s, int *rc,
				    char *err, size_t err_n)
{
	*rc = 0;
	if (!s->redact)
		return NULL;
	struct redactor *r = redactor_new(&s->redact_rules, calls_redactor(p->calls), err, err_n);
	*rc = r ? 0 : -EINVAL;
	return r;
}

int pipeline_apply(struct pipeline *p, struct settings *next, char *err, size_t err_n)
{
	int rc;
	struct redactor *r = redactor_of(p, next, &rc, err, err_n);
	if (rc < 0)
		return rc;
	uint64_t now = clock_ns(CLOCK_REALTIME);
	bool changed = settings_adopt(p->s, next, kept, NULL);
	p->config.reloads++;
	p->config.last_reload_unix_ns = now;
	p->config.last_refused = false;
	if (changed) {
		p->config.version++;
		p->config.changed_unix_ns = now;
		calls_set_redactor(p->calls, r);
		pipeline_push_live(p);
	}
	redactor_unref(r);
	return changed;
}

void pipeline_reload_refused(struct pipeline *p, const char *why)
{
	p->config.refused++;
	p->config.last_refused = true;
	snprintf(p->refused_why, sizeof(p->refused_why), "%s", why);
	p->config.why = p->refused_why;
}

void pipeline_sink_files(const struct settings *s, struct sandbox_files *out)
{
	/* The modes are the sinks' own; what cannot be made is theirs to tell. */
	if (strncmp(s->sink, "file:", 5) == 0) {
		(void)mkdir(s->sink + 5, 0750);
		sandbox_may_write(out, s->sink + 5);
	}
	if (settings_has_spool(s)) {
		(void)mkdir(s->spool, 0700);
		sandbox_may_write(out, s->spool);
	}
	if (strncmp(s->sink, "kafka:", 6) == 0)
		sandbox_may_read_properties(out, s->sink);
}

void pipeline_own_port(struct pipeline *p, uint16_t port)
{
	p->own[port >> 6] |= 1ull << (port & 63);
	if (p->attach && p->ops->own_port)
		p->ops->own_port(p->attach, port, true);
}

int pipeline_pause(struct pipeline *p)
{
	if (p->paused)
		return -EALREADY;
	if (p->from_file || !p->s->reattach)
		return -EPERM;
	if (!p->ops)
		return -ENOTCONN;
	if (p->attach)
		pipeline_detach(p);
	flow_end_all(p->flows, FLOW_STOP);
	p->paused = true;
	log_info("paused: detached, what was open has ended");
	return 0;
}

int pipeline_resume(struct pipeline *p, char *err, size_t err_n)
{
	if (!p->paused)
		return -EALREADY;
	if (p->limited) {
		snprintf(err, err_n, "its --limit is reached");
		return -EPERM;
	}
	p->paused = false; /* when it fails, the loop tries again each second */
	/* by the governor: it attaches when there is room */
	return p->governed_off ? 0 : pipeline_attach(p, NULL, err, err_n);
}

struct pipeline_status pipeline_status(const struct pipeline *p)
{
	struct ledger_stage framing;
	conns_ledger(p->conns, &framing, 1);
	struct pipeline_status st = {
		.seen_packets = p->packets,
		.bytes = framing.in,
		.open_calls = calls_open(p->calls),
		.flows = flow_count(p->flows),
		.attach = p->ops ? p->ops->name : "",
		.describe = p->attach ? p->ops->describe(p->attach) : "",
		.sink_status = p->sink_ops->status(p->sink),
		.attach_ops = p->attach ? p->ops : NULL,
		.totals = recorder_totals(p->recorder),
		.seconds = (double)(clock_ns(CLOCK_MONOTONIC) - p->start_ns) / 1e9,
		.instance = p->instance,
		.start_unix_ns = p->start_unix_ns,
		.attached_unix_ns = p->attach ? p->attached_unix_ns : 0,
		.attachments = p->attachments,
		.paused = p->paused,
		.stopping = p->stop,
		.from_file = p->from_file,
		.slowest = p->turn.longest,
		.blocked_known = turn_knows_blocked(&p->turn),
		.slowest_recent_ns = p->slow_ns[0] > p->slow_ns[1] ? p->slow_ns[0] : p->slow_ns[1],
		.settings = p->s,
		.config = p->config,
		.governed = p->governor != NULL,
		.probe_measured = p->probe_measured,
		.governor = p->governor ? governor_state(p->governor)
					: (struct governor_state) {.share = 1}};
	for (size_t i = 0; i < st.totals.n_rules; i++)
		st.calls_seen += st.totals.rules[i].seen;
	if (p->sink_ops->held)
		p->sink_ops->held(p->sink, &st.sink_records, &st.sink_bytes);
	return st;
}

void pipeline_stop(struct pipeline *p)
{
	p->stop = true;
}

bool pipeline_protocol(const struct pipeline *p, size_t i, const char **name, uint64_t *calls)
{
	return recorder_protocol(p->recorder, i, name, calls);
}
