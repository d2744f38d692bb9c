/* SPDX-License-Identifier: Apache-2.0 */
/* The governor on the loop: what was used, and taking the step that it decided. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "capture/pipeline_state.h"

#define SHARE_ALL 4294967296.0 /* 1 << 32: packet.share is below */

/* RssAnon, from resident and shared pages. 0: not known */
static uint64_t memory_used(const struct pipeline *p)
{
	char text[128];
	unsigned long long size, resident, shared;
	ssize_t n = p->statm < 0 ? -1 : pread(p->statm, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = 0;
	if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3 || resident < shared)
		return 0;
	return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of all attachments so far */
static uint64_t probe_used(struct pipeline *p)
{
	uint64_t ns = p->probe_last_ns;
	if (p->attach && p->ops->run_ns)
		p->probe_measured = p->ops->run_ns(p->attach, &ns);
	/* less than before: it is counted in another way now */
	p->probe_ns += ns > p->probe_last_ns ? ns - p->probe_last_ns : 0;
	p->probe_last_ns = ns;
	return p->probe_ns;
}

static struct governor_use use_now(struct pipeline *p, uint64_t now_ns)
{
	return (struct governor_use) {.now_ns = now_ns,
				      .cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + probe_used(p),
				      .memory_bytes = memory_used(p)};
}

static struct governor_cfg cfg_of(const struct settings *s)
{
	return (struct governor_cfg) {s->budget_cpu, s->budget_memory, s->reattach};
}

/* From here on its use counts. */
static void begin_at(struct pipeline *p, uint64_t now_ns)
{
	struct governor_cfg cfg = cfg_of(p->s);
	struct governor_use start = use_now(p, now_ns);
	governor_free(p->governor);
	p->governor = governor_new(&cfg, &start);
}

static uint64_t share_of(const struct pipeline *p, double share)
{
	return (uint64_t)(p->s->connections * share * SHARE_ALL);
}

static bool is_out(void *ctx, const struct flow *f)
{
	return f->share >= ((struct pipeline *)ctx)->keep_below;
}

/* What falls out of the share ends here; what comes back in is a late join. */
static void take_share(struct pipeline *p, double share)
{
	uint64_t below = share_of(p, share);
	bool less = below < p->keep_below;
	p->keep_below = below;
	if (p->attach && p->ops->keep)
		p->ops->keep(p->attach, below);
	if (less)
		flow_sample_out(p->flows, is_out, p);
	recorder_set_connections(p->recorder, p->s->connections * share);
}

static void take_budget(struct pipeline *p)
{
	const struct settings *s = p->s;
	struct governor_cfg cfg = cfg_of(s);
	if (p->governor)
		governor_set(p->governor, &cfg);
	if (p->governor || p->from_file || (s->budget_cpu <= 0 && !s->budget_memory))
		return;
	if (s->budget_memory && !memory_used(p))
		log_warn("--budget-memory: /proc/self/statm cannot be read: it is not held");
	begin_at(p, clock_ns(CLOCK_MONOTONIC));
}

void pipeline_govern_begin(struct pipeline *p)
{
	p->keep_below = share_of(p, 1);
	p->statm = p->from_file ? -1 : open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	take_budget(p);
}

void pipeline_govern_apply(struct pipeline *p)
{
	take_budget(p);
	take_share(p, p->governor ? governor_state(p->governor).share : 1);
}

void pipeline_govern_end(struct pipeline *p)
{
	governor_free(p->governor);
	p->governor = NULL;
	if (p->statm >= 0)
		close(p->statm);
	p->statm = -1;
}

static uint64_t body_limit(enum governor_step step)
{
	return step == GOVERNOR_ALL      ? UINT64_MAX
	       : step == GOVERNOR_BODIES ? GOVERNOR_BODY_BYTES
					 : 0;
}

static void tell(const struct pipeline *p, const struct governor_state *st)
{
	char share[40] = "";
	struct units_text memory = units_bytes(st->memory_bytes);
	if (st->step == GOVERNOR_CONNECTIONS)
		snprintf(share, sizeof(share), " 1/%.0f", 1 / st->share);
	log_info("governor: %s%s (%s): cpu %.1f %% over 10 s (probe %s), memory %s",
		 governor_step_name(st->step), share, st->why, 100 * st->cpu,
		 p->probe_measured ? "measured" : "estimated", memory.s);
}

static void take_step(struct pipeline *p)
{
	struct governor_state st = governor_state(p->governor);
	tell(p, &st);
	calls_set_body(p->calls, body_limit(st.step));
	take_share(p, st.share);
	p->governed_off = st.step == GOVERNOR_DETACHED;
	if (p->governed_off && p->attach)
		pipeline_detach(p);
	if (strcmp(st.why, "memory") == 0)
		malloc_trim(0); /* what is free counts too, as long as the process keeps it */
}

void pipeline_govern(struct pipeline *p, uint64_t now_ns)
{
	if (!p->governor || now_ns < p->govern_ns + GOVERNOR_TICK_MS * 1000000ull)
		return;
	if (!p->govern_ns) /* loading the probe is no load */
		begin_at(p, now_ns);
	p->govern_ns = now_ns;
	if (!p->governor)
		return;
	struct governor_use use = use_now(p, now_ns);
	if (governor_tick(p->governor, &use))
		take_step(p);
}

void pipeline_govern_detaching(struct pipeline *p)
{
	if (p->governor)
		probe_used(p);
	p->probe_last_ns = 0;
}
