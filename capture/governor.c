/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/governor.h"

#include <math.h>
#include <stdlib.h>

enum {
	LEVEL_SHARES = 7, /* halvings of the share of connections */
	LEVEL_COUNTERS = GOVERNOR_CONNECTIONS + LEVEL_SHARES,
	LEVEL_DETACHED,
	SAMPLES = 128, /* ticks remembered: more than WINDOW_NS of them */
	CLIMB_MAX = 3 /* levels at once */
};
#define MS        1000000ull
#define SECOND    (1000 * MS)
#define WINDOW_NS (10 * SECOND)
#define SHORT_NS  SECOND /* over which a mild excess must last */
#define LONG_NS   (3 * SECOND) /* over which there must be room */
#define CALM_MIN  (3 * SECOND) /* between a move and the next one up */
#define CALM_MAX  (96 * SECOND)
#define PROVED_NS (15 * SECOND) /* a climb that lasts so long was right */
#define MEMORY_NS SECOND /* between two moves for memory */

/* A step too far costs less than one too few. */
static const double MARGIN = 1.05, SEVERE = 3, ROOM = 0.45, MEMORY_ROOM = 0.85;
/* What a burst may use beyond the budget, of a window's, before it is saved again */
static const double EXCESS = 0.1, ALLOWED_MIN = 0.02;

enum why { WHY_CPU, WHY_MEMORY, WHY_ROOM, WHYS };
static const char *const why_names[WHYS] = {"cpu", "memory", "room"};
static const char *const step_names[GOVERNOR_STEPS] = {"all",         "bodies_cut",    "heads_only",
						       "connections", "counters_only", "detached"};

struct governor {
	struct governor_cfg cfg;
	int level; /* a step, with each halving of the share one of its own */
	struct governor_use sample[SAMPLES];
	size_t n; /* ticks so far; sample[(n - 1) % SAMPLES] is the last */
	uint64_t moved_ns, climbed_ns, calm_ns;
	bool probation; /* the last move was up, and is not proved yet */
	uint64_t moves[WHYS];
	enum why why;
	uint64_t at_ns[GOVERNOR_STEPS];
};

static enum governor_step step_of(int level)
{
	return level < GOVERNOR_CONNECTIONS ? (enum governor_step)level
	       : level < LEVEL_COUNTERS     ? GOVERNOR_CONNECTIONS
	       : level == LEVEL_COUNTERS    ? GOVERNOR_COUNTERS
					    : GOVERNOR_DETACHED;
}

static double share_of(int level)
{
	return level < GOVERNOR_CONNECTIONS ? 1
	       : level < LEVEL_COUNTERS     ? ldexp(1, GOVERNOR_CONNECTIONS - 1 - level)
					    : 0;
}

const char *governor_step_name(enum governor_step s)
{
	return step_names[s];
}

struct governor *governor_new(const struct governor_cfg *cfg, const struct governor_use *start)
{
	struct governor *g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->cfg = *cfg;
	g->sample[0] = *start;
	g->n = 1;
	g->calm_ns = CALM_MIN;
	return g;
}

void governor_free(struct governor *g)
{
	free(g);
}

void governor_set(struct governor *g, const struct governor_cfg *cfg)
{
	g->cfg = *cfg;
	g->calm_ns = CALM_MIN;
}

/* ---- what was used ---- */

static const struct governor_use *sample_at(const struct governor *g, size_t back)
{
	return &g->sample[(g->n - 1 - back) % SAMPLES];
}

static size_t samples(const struct governor *g)
{
	return g->n < SAMPLES ? g->n : SAMPLES;
}

/* CPU per time since `since_ns`, or the last tick when that is shorter */
static double rate_since(const struct governor *g, uint64_t since_ns)
{
	const struct governor_use *last = sample_at(g, 0), *from = last;
	for (size_t i = 1; i < samples(g); i++) {
		from = sample_at(g, i);
		if (from->now_ns <= since_ns)
			break;
	}
	uint64_t span = last->now_ns - from->now_ns;
	return span ? (double)(last->cpu_ns - from->cpu_ns) / (double)span : 0;
}

static uint64_t ago(const struct governor *g, uint64_t ns)
{
	uint64_t now = sample_at(g, 0)->now_ns;
	return now > ns ? now - ns : 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Beyond the budget in the ticks of the window, as a share of what the window may use */
static double excess(const struct governor *g)
{
	double sum = 0, budget = g->cfg.cpu;
	for (size_t i = 0; i + 1 < samples(g) && sample_at(g, i)->now_ns > ago(g, WINDOW_NS); i++) {
		const struct governor_use *b = sample_at(g, i), *a = sample_at(g, i + 1);
		double over =
			(double)(b->cpu_ns - a->cpu_ns) - budget * (double)(b->now_ns - a->now_ns);
		sum += over > 0 ? over : 0;
	}
	return sum / (budget * (double)WINDOW_NS);
}

/* The rate that keeps the window within the budget */
static double allowed(const struct governor *g)
{
	double left = 1 + EXCESS - excess(g);
	return g->cfg.cpu * (left > 1 ? 1 : left < ALLOWED_MIN ? ALLOWED_MIN : left);
}

/* ---- moves ---- */

static int level_max(const struct governor *g)
{
	return g->cfg.can_detach ? LEVEL_DETACHED : LEVEL_COUNTERS;
}

static bool move(struct governor *g, int level, enum why why)
{
	int max = level_max(g);
	level = level > max ? max : level < 0 ? 0 : level;
	if (level == g->level)
		return false;
	g->level = level;
	g->moved_ns = sample_at(g, 0)->now_ns;
	g->why = why;
	g->moves[why]++;
	return true;
}

/* A climb that had to be taken back: the next one waits longer. */
static bool down(struct governor *g, int by, enum why why)
{
	if (g->probation) {
		g->calm_ns = g->calm_ns * 2 > CALM_MAX ? CALM_MAX : g->calm_ns * 2;
		g->probation = false;
	}
	/* only counters are left: what more would save is everything */
	if (g->level < LEVEL_COUNTERS && g->level + by > LEVEL_COUNTERS)
		by = LEVEL_COUNTERS - g->level;
	return move(g, g->level + by, why);
}

static bool cpu_down(struct governor *g)
{
	double may = allowed(g), last = rate_since(g, ago(g, GOVERNOR_TICK_MS * MS));
	double rate = rate_since(g, later(ago(g, SHORT_NS), g->moved_ns));
	bool settled = sample_at(g, 0)->now_ns - g->moved_ns >= 2 * GOVERNOR_TICK_MS * MS;
	bool lasts = sample_at(g, 0)->now_ns - g->moved_ns >= SHORT_NS;
	if (last > SEVERE * may && settled)
		rate = last;
	else if (!(lasts && rate > MARGIN * may))
		return false;
	return down(g, (int)fmax(1, ceil(log2(rate / may))), WHY_CPU);
}

static bool memory_down(struct governor *g)
{
	const struct governor_use *now = sample_at(g, 0);
	if (!g->cfg.memory_bytes || now->memory_bytes <= g->cfg.memory_bytes ||
	    now->now_ns - g->moved_ns < MEMORY_NS)
		return false;
	return down(g, 1, WHY_MEMORY);
}

/* How many levels up fit; each may double what is used. Counters say nothing of what lies above them. */
static int room(const struct governor *g)
{
	const struct governor_use *now = sample_at(g, 0);
	double rate = rate_since(g, ago(g, LONG_NS)), may = g->cfg.cpu > 0 ? allowed(g) : 0;
	if (g->cfg.memory_bytes &&
	    (double)now->memory_bytes > MEMORY_ROOM * (double)g->cfg.memory_bytes)
		return 0;
	if (g->cfg.cpu > 0 && rate > ROOM * may)
		return 0;
	if (g->level >= LEVEL_COUNTERS)
		return 1;
	int fit = g->cfg.cpu > 0 && rate > 0 ? (int)fmin(CLIMB_MAX, log2(2 * ROOM * may / rate))
					     : CLIMB_MAX;
	return g->cfg.memory_bytes || fit < 1 ? 1 : fit;
}

static bool up(struct governor *g)
{
	uint64_t now = sample_at(g, 0)->now_ns;
	if (g->probation && now - g->climbed_ns >= PROVED_NS) {
		g->probation = false;
		g->calm_ns = CALM_MIN;
	}
	if (!g->level || now - g->moved_ns < g->calm_ns)
		return false;
	int by = room(g);
	if (!by)
		return false;
	g->climbed_ns = now;
	g->probation = true;
	return move(g, g->level - by, WHY_ROOM);
}

bool governor_tick(struct governor *g, const struct governor_use *use)
{
	const struct governor_use *last = sample_at(g, 0);
	if (use->now_ns < last->now_ns + GOVERNOR_TICK_MS * MS)
		return false;
	g->at_ns[step_of(g->level)] += use->now_ns - last->now_ns;
	g->sample[g->n % SAMPLES] = *use;
	g->n++;
	return (g->cfg.cpu > 0 && cpu_down(g)) || memory_down(g) || up(g);
}

struct governor_state governor_state(const struct governor *g)
{
	return (struct governor_state) {.step = step_of(g->level),
					.share = share_of(g->level),
					.cpu = rate_since(g, ago(g, WINDOW_NS)),
					.memory_bytes = sample_at(g, 0)->memory_bytes,
					.why = why_names[g->why]};
}

size_t governor_ledger(const struct governor *g, struct ledger_stage *out, size_t max)
{
	if (max < 2)
		return 0;
	out[0] = (struct ledger_stage) {.name = "governor", .unit = "ms"};
	for (int i = 0; i < GOVERNOR_STEPS; i++) {
		uint64_t ms = g->at_ns[i] / MS;
		out[0].in += ms;
		ledger_exit_add(&out[0], step_names[i], ms, false);
	}
	out[1] = (struct ledger_stage) {.name = "governor_moves", .unit = "moves"};
	for (int i = 0; i < WHYS; i++) {
		out[1].in += g->moves[i];
		ledger_exit_add(&out[1], why_names[i], g->moves[i], false);
	}
	return 2;
}
