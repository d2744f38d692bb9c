/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/pipeline.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "capture/pipeline_state.h"
#include "capture/redact.h"
#include "capture/sandbox.h"

enum {
	DRAIN_BUDGET = 16, /* packets between two looks at the clock ... */
	DRAIN_NS = 3000000, /* ... until timers, signals and the sink get their turn */
	AWAKE_MS = 4, /* rings are polled this often, more often when much came ... */
	BATCH_SMALL =
		256
		<< 10, /* bytes at one poll: 4 ms until the next, 2 ms up to four times as many, else 1 */
	AWAKE_NS =
		20000000, /* ... until they were empty for so long; then the probe wakes the loop */
	TICK_NS = 1000000000,
	SETTLE_NS = 100000000,
	SWEEP_S = 10, /* between sweeps of idle flows */
	DRAIN_S = 5, /* seconds that the rings get at the end */
	SINK_DRAIN_MS = 15000,
	KEPT_BYTES = 8 << 20, /* free memory that stays with the process */
};

/* Time in the domain of the packets: the monotonic clock, or the file's. */
uint64_t pipeline_now(const struct pipeline *p)
{
	return p->from_file ? p->last_ns : clock_ns(CLOCK_MONOTONIC);
}

static int64_t clock_offset(const struct pipeline *p)
{
	return p->from_file ? 0 : (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
}

void pipeline_packet(void *ctx, const struct packet *pkt)
{
	struct pipeline *p = ctx;
	p->packets++;
	p->batch_bytes += pkt->data.n;
	if (pkt->ts_ns > p->last_ns)
		p->last_ns = pkt->ts_ns;
	if (pkt->share >= p->keep_below) { /* was under way when the share fell */
		flow_skip(p->flows, pkt);
		return;
	}
	flow_push(p->flows, pkt);
	if (p->from_file)
		calls_expire(p->calls, p->last_ns);
}

static void on_own_port(void *ctx, uint16_t port, bool in_use)
{
	struct pipeline *p = ctx;
	uint64_t bit = 1ull << (port & 63);
	if (in_use)
		atomic_fetch_or(&p->own[port >> 6], bit);
	else
		atomic_fetch_and(&p->own[port >> 6], ~bit);
	struct attach *a = __atomic_load_n(&p->attach, __ATOMIC_ACQUIRE);
	if (a && p->ops->own_port)
		p->ops->own_port(a, port, in_use);
}

static bool on_listens(void *ctx, uint64_t scope, const uint8_t addr[16], uint16_t port)
{
	struct pipeline *p = ctx;
	(void)scope;
	return p->socks && !p->from_file && socks_listens(p->socks, addr, port, pipeline_now(p));
}

/* Live: the sink gets one turn. From a file there is time: waits for it. */
static bool on_full(void *ctx, unsigned attempt)
{
	struct pipeline *p = ctx;
	if (attempt && !p->from_file)
		return false;
	if (p->from_file && attempt) {
		struct pollfd fd = {.fd = p->sink_ops->fd(p->sink), .events = POLLIN};
		poll(&fd, 1, 50);
	}
	p->sink_ops->service(p->sink);
	return attempt < 600;
}

static int epoll_watch(int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	return fd < 0 ? 0 : epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static const char *env(const char *set, const char *name)
{
	const char *v = set ? set : getenv(name);
	return v ? v : "";
}

static struct record_capture capture_of(struct pipeline *p, const char *attach)
{
	gethostname(p->host, sizeof(p->host) - 1);
	const struct settings *s = p->s;
	return (struct record_capture) {.instance = p->instance,
					.version = p->cfg.version,
					.attach = attach,
					.host = p->host,
					.pod = env(s->pod, "POD_NAME"),
					.namespace_ = env(s->namespace_, "POD_NAMESPACE"),
					.container = env(s->container, "CONTAINER_NAME"),
					.service_name = env(s->service_name, "SERVICE_NAME"),
					.config_hash = s->config_hash,
					.config_version = p->config.version,
					.config_unix_ns = p->config.changed_unix_ns};
}

struct sink_opening {
	struct pipeline *p;
	struct sink_cfg *cfg;
	char *err;
	size_t err_n;
	bool confine;
};

/* The sink's threads see its directories and what names and TLS need, nothing else. */
static void confine_sink(const struct settings *s)
{
	char err[200];
	struct sandbox_files *f = calloc(1, sizeof(*f));
	if (!f)
		return;
	sandbox_may_resolve(f);
	pipeline_sink_files(s, f);
	int rc = sandbox_files_only(f, err, sizeof(err));
	if (rc < 0)
		log_info("%s: the sink's threads can open other files too", err);
	free(f);
}

/* On a thread without capabilities, so that the threads a sink starts have none either. */
static void sink_opening(void *ctx)
{
	struct sink_opening *o = ctx;
	if (o->confine)
		confine_sink(o->p->s);
	o->p->sink = sink_open(o->p->s->sink, o->cfg, &o->p->sink_ops, o->err, o->err_n);
}

/* After the sink, which has locked the spool: whoever left a file there is dead. */
static void open_remains(struct pipeline *p)
{
	char err[512];
	const char *exit = "";
	struct record *rec = NULL;
	if (!settings_has_spool(p->s))
		return;
	while (remains_next(p->s->spool, &p->dead, &rec) == 1) {
		log_warn("a process with this spool was killed: its last ledger is sent now");
		if (p->sink_ops->submit(p->sink, &rec, &exit) < 0) {
			record_free(rec);
			log_error("its ledger could not be sent: %s; the next start tries again",
				  exit);
			break;
		}
	}
	p->remains = remains_open(p->s->spool, p->instance, p->s->spool_bytes, err, sizeof(err));
	if (!p->remains)
		log_warn("%s", err);
	recorder_set_remains(p->recorder, p->remains);
}

static void on_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      const char *exit)
{
	struct pipeline *p = ctx;
	if (kind == RECORD_LEDGER && number && !exit)
		remains_told(p->dead, number, true);
	if (kind == RECORD_LEDGER && !number)
		p->ledger_lost = exit && strcmp(exit, "spooled") != 0;
	recorder_report(p->recorder, kind, number, last_part, exit);
}

static void on_stored(void *ctx, enum record_kind kind, uint64_t number)
{
	struct pipeline *p = ctx;
	if (kind == RECORD_LEDGER)
		remains_told(p->dead, number, false);
	else
		remains_stored(p->remains, number);
}

/* All that lies in its directory is within its limit. */
static uint64_t spool_bytes(const struct pipeline *p)
{
	uint64_t all = p->s->spool_bytes, ours = remains_bytes(all);
	return ours < all / 2 ? all - ours : all / 2;
}

static int open_sink(struct pipeline *p, char *err, size_t err_n)
{
	struct sink_cfg cfg = {.instance = p->instance,
			       .spool = p->s->spool,
			       .spool_bytes = spool_bytes(p),
			       .verbose = p->s->verbose,
			       .bodies = p->s->bodies,
			       .report = on_report,
			       .stored = on_stored,
			       .report_ctx = p,
			       .own_port = on_own_port,
			       .own_port_ctx = p};
	struct recorder_cfg rc = {.sample = p->s->sample,
				  .connections = p->s->connections,
				  .proxy_ports = p->s->proxy_ports,
				  .n_proxy_ports = p->s->n_proxy_ports,
				  .seed = pipeline_seed(p),
				  .clock_offset_ns = clock_offset(p),
				  .capture = capture_of(p, p->from_file ? "pcap" : ""),
				  .limit_calls = p->s->limit_calls,
				  .limit_bytes = p->s->limit_bytes,
				  .full = on_full,
				  .ctx = p};
	p->recorder = recorder_new(&rc);
	if (!p->recorder || pipeline_set_rules(p) < 0)
		return -ENOMEM;
	struct sink_opening o = {p, &cfg, err, err_n, p->s->sandbox};
	int alone = sandbox_unprivileged(sink_opening, &o);
	o.confine = false; /* from here on it would be the loop thread */
	if (alone < 0)
		sink_opening(&o);
	if (!p->sink && strncmp(p->s->sink, "file:", 5) == 0)
		sink_opening(&o); /* root, and somebody else's directory */
	if (!p->sink)
		return -EIO;
	recorder_set_sink(p->recorder, p->sink_ops, p->sink);
	open_remains(p);
	return 0;
}

/* The rules of the configuration, beyond the built-in lists that calls begin with. */
static int open_redactor(struct pipeline *p, char *err, size_t err_n)
{
	if (!p->s->redact || redact_rules_empty(&p->s->redact_rules))
		return 0;
	struct redactor *r = redactor_new(&p->s->redact_rules, NULL, err, err_n);
	if (!r)
		return -EINVAL;
	calls_set_redactor(p->calls, r);
	redactor_unref(r);
	return 0;
}

static int open_stages(struct pipeline *p)
{
	const struct settings *s = p->s;
	struct call_limits limits = pipeline_call_limits(p);
	if (getrandom(&limits.seed, sizeof(limits.seed), 0) < 0)
		limits.seed = p->start_ns;
	struct call_sink to = recorder_calls(p->recorder);
	p->calls = calls_new(&limits, &to);
	struct conns_cfg cc = {
		.calls = p->calls,
		.framer = {s->header_bytes, s->header_count, (uint32_t)s->max_streams, 64 << 20},
		.gather_max = 1 << 20,
		.opened = pipeline_owners,
		.never = pipeline_never,
		.ctx = p};
	p->conns = conns_new(&cc);
	struct flow_cfg fc = {.max_flows = s->max_connections,
			      .max_pending_flow = s->pending_connection_bytes,
			      .max_pending_all = s->pending_bytes,
			      .hole_ns = 50000000,
			      .hole_max_ns = 1000000000,
			      .ports = s->ports,
			      .n_ports = s->n_ports,
			      .from_file = p->from_file,
			      .listens = on_listens,
			      .on = conns_callbacks(),
			      .ctx = p->conns};
	if (getrandom(&fc.seed, sizeof(fc.seed), 0) < 0)
		fc.seed = p->start_ns;
	fc.listens_ctx = p;
	fc.verdict = pipeline_verdict;
	fc.verdict_ctx = p;
	p->flows = p->conns ? flow_table_new(&fc) : NULL;
	if (!p->calls || !p->flows)
		return -ENOMEM;
	conns_set_flows(p->conns, p->flows);
	return 0;
}

/*
 * Records come and go by the thousand each millisecond: given back to the kernel in between, their pages cost more
 * (faults, clearing, accounting) than all the parsing.
 */
static void keep_memory(void)
{
	mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
	mallopt(M_TOP_PAD, KEPT_BYTES / 16);
}

/* Before any thread is started, so that none of them takes a signal in our place. */
static void block_signals(struct pipeline *p)
{
	sigemptyset(&p->set);
	sigaddset(&p->set, SIGINT);
	sigaddset(&p->set, SIGTERM);
	sigaddset(&p->set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &p->set, NULL);
}

static int open_loop(struct pipeline *p)
{
	p->signals = signalfd(-1, &p->set, SFD_CLOEXEC | SFD_NONBLOCK);
	p->ep = epoll_create1(EPOLL_CLOEXEC);
	p->ep_sleep = epoll_create1(EPOLL_CLOEXEC);
	if (p->signals < 0 || p->ep < 0 || p->ep_sleep < 0 || epoll_watch(p->ep, p->signals) < 0 ||
	    epoll_watch(p->ep, p->sink_ops->fd(p->sink)) < 0 || epoll_watch(p->ep_sleep, p->ep) < 0)
		return -errno;
	return 0;
}

struct pipeline *pipeline_new(const struct pipeline_cfg *cfg, char *err, size_t err_n)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	uint64_t id;
	snprintf(err, err_n, "cannot start: no memory");
	if (!p)
		return NULL;
	p->cfg = *cfg;
	p->s = cfg->settings;
	p->from_file = p->s->read_file != NULL;
	p->ep = p->ep_sleep = p->signals = -1;
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		id = clock_ns(CLOCK_REALTIME) ^ (uint64_t)getpid() << 48;
	snprintf(p->instance, sizeof(p->instance), "%016llx", (unsigned long long)id);
	p->start_ns = clock_ns(CLOCK_MONOTONIC);
	p->start_unix_ns = p->ledger_unix_ns = clock_ns(CLOCK_REALTIME);
	p->config = (struct pipeline_config) {.version = 1, .changed_unix_ns = p->start_unix_ns};
	p->tick_ns = p->ledger_ns = p->start_ns;
	turn_open(&p->turn);
	p->owner_budget = 200;
	if (!p->from_file)
		p->socks = socks_new();
	block_signals(p);
	keep_memory();
	pipeline_govern_begin(p);
	int r = open_sink(p, err, err_n);
	if (r == 0 && ((r = open_stages(p)) < 0 || (r = open_loop(p)) < 0))
		snprintf(err, err_n, "cannot start: %s", strerror(-r));
	if (r == 0)
		r = open_redactor(p, err, err_n);
	if (r < 0) {
		pipeline_free(p);
		return NULL;
	}
	return p;
}

static void reattach(struct pipeline *p)
{
	char err[2048];
	if (p->paused || (p->attach && p->ops->check && p->ops->check(p->attach) == 0))
		return;
	if (p->attach && p->ops->check) {
		log_warn("%s: what it was attached to is gone", p->ops->name);
		pipeline_detach(p);
		if (!p->s->reattach)
			p->stop = true;
	}
	if (!p->attach && p->s->reattach && pipeline_attach(p, NULL, err, sizeof(err)) < 0)
		log_debug("cannot attach again: %s", err);
}

static void tick_when_due(struct pipeline *p, uint64_t now)
{
	if (now - p->tick_ns < TICK_NS)
		return;
	p->tick_ns = now;
	p->owner_budget = 200;
	recorder_set_clock(p->recorder, clock_offset(p));
	if (!p->from_file) {
		calls_expire(p->calls, now);
		if (p->socks && ++p->sweep_count % SWEEP_S == 0)
			flow_sweep(p->flows, now - SWEEP_S * 1000000000ull, pipeline_alive, p, 512);
		if (!p->stop && !p->limited && !p->governed_off)
			reattach(p);
	}
	if (now - p->ledger_ns >= p->s->ledger_interval_ns) {
		p->ledger_ns = now;
		pipeline_write_ledger(p, false);
	}
	if (p->s->limit_ns && now - p->start_ns >= p->s->limit_ns)
		pipeline_limit(p);
	pipeline_serve_watches(p, NULL, -1);
	if (p->cfg.tick)
		p->cfg.tick(p->cfg.ctx, p);
}

static void wait_events(struct pipeline *p, int ep, int timeout_ms)
{
	struct epoll_event e[8];
	struct signalfd_siginfo si;
	pipeline_turn_ends(p);
	int n = epoll_wait(ep, e, 8, timeout_ms);
	turn_begin(&p->turn);
	if (n > 0 && ep != p->ep) /* it tells only that something of p->ep is ready */
		n = epoll_wait(p->ep, e, 8, 0);
	if (n < 0)
		return;
	while (n && read(p->signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGHUP && p->cfg.hangup)
			p->cfg.hangup(p->cfg.ctx, p);
		else
			p->stop = true;
	}
	if (n)
		pipeline_serve_watches(p, e, n);
	p->sink_ops->service(p->sink);
}

int pipeline_idle(struct pipeline *p, int ms)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000u;
	for (uint64_t now = 0; !p->stop && (now = clock_ns(CLOCK_MONOTONIC)) < end;)
		wait_events(p, p->ep, (int)((end - now) / 1000000) + 1);
	return p->stop ? 0 : 1;
}

static int ms_until(uint64_t then, uint64_t now)
{
	return then <= now ? 0 : (int)((then - now) / 1000000) + 1;
}

static void settle(struct pipeline *p, uint64_t now)
{
	p->settle_ns = now;
	flow_settle(p->flows, pipeline_now(p));
}

/* A hot ring of 4 MiB lasts for a gigabyte a second at the longest of these. */
static int poll_ms(struct pipeline *p)
{
	uint64_t batch = p->batch_bytes;
	p->batch_bytes = 0;
	return batch < BATCH_SMALL ? AWAKE_MS : batch < 4 * BATCH_SMALL ? AWAKE_MS / 2 : 1;
}

/* After an empty drain: waits a moment, or sleeps until the probe, a signal, the sink or a timer wakes it. */
static void rest(struct pipeline *p, bool got, uint64_t now)
{
	if (got)
		p->last_busy_ns = now;
	settle(p, now);
	int timer = ms_until(p->tick_ns + TICK_NS, now);
	if (now - p->last_busy_ns < AWAKE_NS)
		wait_events(p, p->ep, poll_ms(p));
	else if (p->ops->sleep(p->attach))
		wait_events(p, p->ep_sleep, timer < 50 ? timer : 50);
}

bool pipeline_sink_finished(const struct pipeline *p)
{
	return p->sink_ops->finished && p->sink_ops->finished(p->sink);
}

/* What waits, for a few ms: a packet may cost 1 us, or a thousand times that when it holds hundreds of small calls. */
static int drain(struct pipeline *p)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + DRAIN_NS;
	int state;
	do
		state = p->ops->drain(p->attach, DRAIN_BUDGET);
	while (state == ATTACH_MORE && clock_ns(CLOCK_MONOTONIC) < end);
	return state;
}

/* One turn. False: the attachment has come to its end. */
static bool turn(struct pipeline *p)
{
	uint64_t before = p->packets;
	if (!p->attach) { /* idle, or between two attachments */
		wait_events(p, p->ep, 100);
		pipeline_govern(p, clock_ns(CLOCK_MONOTONIC));
		tick_when_due(p, clock_ns(CLOCK_MONOTONIC));
		return !p->from_file;
	}
	int state = drain(p);
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	pipeline_govern(p, now);
	tick_when_due(p, now);
	if (recorder_totals(p->recorder).limit_reached)
		pipeline_limit(p);
	if (pipeline_sink_finished(p))
		p->stop = true;
	if (!p->attach)
		return true;
	if (state == ATTACH_EOF)
		return false;
	if (state < 0) {
		log_error("%s: %s", p->ops->name, strerror(-state));
		p->failed = true;
		return false;
	}
	if (state == ATTACH_MORE) {
		if (now - p->settle_ns >
		    SETTLE_NS) /* never empty under overload: holes age all the same */
			settle(p, now);
		wait_events(p, p->ep, 0);
	} else if (p->attach)
		rest(p, p->packets != before, now);
	return true;
}

/* What is in the rings when the programs are gone still counts. */
static void drain_rings(struct pipeline *p)
{
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + DRAIN_S * 1000000000ull;
	p->ops->detach(p->attach);
	while (p->ops->drain(p->attach, DRAIN_BUDGET) == ATTACH_MORE &&
	       clock_ns(CLOCK_MONOTONIC) < deadline)
		p->sink_ops->service(p->sink);
}

/* told: our last ledger is delivered or stored. */
static void close_remains(struct pipeline *p, bool told)
{
	remains_close(p->remains, told);
	p->remains = NULL;
	if (p->recorder)
		recorder_set_remains(p->recorder, NULL);
	remains_forget(p->dead);
	p->dead = NULL;
}

int pipeline_run(struct pipeline *p)
{
	while (!p->stop && turn(p))
		;
	if (p->attach && !p->from_file)
		drain_rings(p);
	flow_end_all(p->flows, FLOW_STOP);
	if (p->sink_ops->drain(p->sink, SINK_DRAIN_MS) < 0)
		p->failed = true;
	if (pipeline_sink_finished(p)) /* `| head`: nobody reads on, and that is no failure */
		return p->failed ? 1 : 0;
	p->ledger_lost = false;
	if (pipeline_write_ledger(p, true) < 0 || p->sink_ops->drain(p->sink, SINK_DRAIN_MS) < 0 ||
	    p->ledger_lost) {
		log_error(
			"the final ledger could not be written: what was recorded cannot be proved complete");
		p->failed = true;
	}
	close_remains(p, !p->failed);
	return p->failed ? 1 : 0;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	if (p->attach) {
		struct attach *a = p->attach;
		p->attach = NULL;
		p->ops->close(a);
	}
	close_remains(p, true); /* it never ran, else this was done */
	if (p->sink)
		p->sink_ops->close(p->sink);
	pipeline_govern_end(p);
	flow_table_free(p->flows);
	conns_free(p->conns);
	calls_free(p->calls);
	recorder_free(p->recorder);
	socks_free(p->socks);
	turn_close(&p->turn);
	for (int *fd = (int[]) {p->ep, p->ep_sleep, p->signals, -2}; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	free(p);
}
