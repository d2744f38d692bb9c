/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "capture/trace.h"

enum {
	RANDOM_BITS = 56, /* of a W3C trace id; OTEP 235 */
	TRACE_DIGITS = 32, /* b3 has half as many too */
	METHODS = 4096, /* remembered for first_per_method, all rules together */
	METHOD_WAYS = 4
};
#define SECOND 1000000000ull
#define MINUTE (60 * SECOND)

/* A limit per second with a second's worth of burst. `left` below a quarter of it makes calls less likely, so that
 * the hard end is hardly ever reached. */
struct limit {
	double per_second, left;
	double arrival; /* smoothed: what would come a second if all were kept */
	double window; /* what came in the present tenth of a second */
	uint64_t ns, window_ns;
};

struct rule_state {
	struct limit calls, bytes;
	double mean_bytes; /* of all records of a call of this rule, smoothed */
};

struct method {
	uint64_t key; /* 0: free */
	uint64_t minute;
	uint32_t n;
};

struct sampler {
	struct sample_rule *rules; /* n, and the fallback behind them */
	size_t n;
	struct rule_state *state;
	bool addresses; /* a rule asks for client or server */
	struct hash_key key;
	struct method methods[METHODS];
};

static void limits_init(struct sampler *s)
{
	for (size_t i = 0; i <= s->n; i++) {
		const struct sample_rule *r = &s->rules[i];
		s->state[i] = (struct rule_state) {
			.calls = {.per_second = r->rate, .left = fmax(1, r->rate)},
			.bytes = {.per_second = r->bytes_per_second, .left = r->bytes_per_second},
			.mean_bytes = 1024};
		s->addresses |= r->client.kind != PATTERN_ANY || r->server.kind != PATTERN_ANY;
	}
}

struct sampler *sampler_new(struct sample_rule *rules, size_t n, struct sample_rule *fallback,
			    uint64_t seed)
{
	struct sampler *s = calloc(1, sizeof(*s));
	struct sample_rule *all = calloc(n + 1, sizeof(*all));
	struct rule_state *state = calloc(n + 1, sizeof(*state));
	if (!s || !all || !state) {
		for (size_t i = 0; i < n; i++)
			sample_rule_fini(&rules[i]);
		sample_rule_fini(fallback);
		free(rules);
		free(all);
		free(state);
		free(s);
		return NULL;
	}
	if (n)
		memcpy(all, rules, n * sizeof(*all));
	all[n] = *fallback;
	free(rules);
	*s = (struct sampler) {.rules = all, .n = n, .state = state, .key = hash_key_of(seed)};
	limits_init(s);
	return s;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	for (size_t i = 0; i <= s->n; i++)
		sample_rule_fini(&s->rules[i]);
	free(s->rules);
	free(s->state);
	free(s);
}

const struct sample_rule *sampler_rule(const struct sampler *s, uint32_t rule)
{
	return &s->rules[rule <= s->n ? rule : s->n];
}

size_t sampler_rules(const struct sampler *s)
{
	return s->n;
}

bool sampler_addresses(const struct sampler *s)
{
	return s->addresses;
}

/* ---- which rule ---- */

static bool header_matches(const struct sample_rule *r, size_t i, const struct sample_call *c)
{
	struct bytes name = bytes_str(r->header[i].name);
	for (size_t k = 0; k < c->n_headers; k++)
		if (bytes_caseeq(c->headers[k].name, name) &&
		    sample_pattern_match(&r->header[i].value, c->headers[k].value))
			return true;
	return false;
}

/* What is the connection's */
static bool matches_conn(const struct sample_rule *r, const struct sample_call *c)
{
	return (r->side == SAMPLE_SIDE_ANY || r->side == c->side) &&
	       sample_pattern_match(&r->client, c->client) &&
	       sample_pattern_match(&r->server, c->server);
}

static bool matches(const struct sample_rule *r, const struct sample_call *c)
{
	if (!sample_pattern_match(&r->protocol, c->protocol) || !matches_conn(r, c) ||
	    !sample_pattern_match(&r->service, c->service) ||
	    !sample_pattern_match(&r->method, c->method) ||
	    !sample_pattern_match(&r->path, c->path))
		return false;
	for (size_t i = 0; i < r->n_headers; i++)
		if (!header_matches(r, i, c))
			return false;
	return true;
}

static uint32_t find(const struct sampler *s, const struct sample_call *c)
{
	uint32_t i = 0;
	while (i < s->n && !matches(&s->rules[i], c))
		i++;
	return i;
}

/* ---- limits ---- */

static double burst(const struct limit *l)
{
	return fmax(1, l->per_second);
}

/* `amount` would come if this call were kept. The share that the limit allows of it. */
static double limit_share(struct limit *l, double amount, uint64_t now_ns)
{
	if (l->per_second <= 0)
		return 1;
	if (!l->ns)
		l->ns = l->window_ns = now_ns;
	double elapsed = now_ns > l->ns ? (double)(now_ns - l->ns) / SECOND : 0;
	l->left = fmin(burst(l), l->left + elapsed * l->per_second);
	l->ns = now_ns > l->ns ? now_ns : l->ns;
	double window = (double)(l->ns - l->window_ns) / SECOND;
	if (window >= 0.1) {
		double part = 1 - exp(-window / 0.5);
		l->arrival += part * (l->window / window - l->arrival);
		l->window = 0;
		l->window_ns = l->ns;
	}
	l->window += amount;
	double share = l->arrival > l->per_second ? l->per_second / l->arrival : 1;
	double low = burst(l) / 4;
	return share * (l->left < low ? fmax(l->left, 0) / low : 1);
}

static bool limit_take(struct limit *l, double amount)
{
	if (l->per_second <= 0)
		return true;
	if (l->left < fmin(amount, 1))
		return false;
	l->left -= amount;
	return true;
}

/* ---- first of each method ---- */

static bool is_first(struct sampler *s, uint32_t rule, const struct sample_call *c, uint64_t now_ns)
{
	uint32_t want = s->rules[rule].first_per_method;
	if (!want)
		return false;
	uint64_t parts[3] = {hash_bytes(s->key, c->service), hash_bytes(s->key, c->method), rule};
	uint64_t key = hash_bytes(s->key, bytes_of(parts, sizeof(parts))) | 1;
	struct method *m = NULL,
		      *set = &s->methods[(key >> 8) % (METHODS / METHOD_WAYS) * METHOD_WAYS];
	for (int i = 0; i < METHOD_WAYS && !m; i++)
		if (set[i].key == key)
			m = &set[i];
	uint64_t minute = now_ns / MINUTE;
	for (int i = 0; !m && i < METHOD_WAYS; i++)
		if (!set[i].key || set[i].minute < minute)
			m = &set[i];
	if (!m) /* more methods than are remembered: the one with most of its share gives way */
		for (int i = 0; i < METHOD_WAYS; i++)
			m = !m || set[i].n > m->n ? &set[i] : m;
	if (m->key != key || m->minute != minute)
		*m = (struct method) {.key = key, .minute = minute};
	return m->n < want && ++m->n;
}

/* ---- chance ---- */

/* 56 bits of a trace id. */
static uint64_t trace_randomness(struct bytes id)
{
	uint64_t r = 0;
	bool usable = id.n == TRACE_DIGITS || id.n == TRACE_DIGITS / 2;
	for (size_t i = id.n - RANDOM_BITS / 4; usable && i < id.n; i++) {
		int d = bytes_hex_digit(id.p[i]);
		usable = d >= 0;
		r = r << 4 | (uint64_t)(d & 15);
	}
	/* of another form: its bits may not be evenly spread. No capture's own key: all agree. */
	return usable ? r : hash_bytes(hash_key_of(RANDOM_BITS), id) >> (64 - RANDOM_BITS);
}

/* 56 bits. The connection's side is not in them: both hops of a trace get the same. */
static uint64_t randomness(const struct sampler *s, const struct sample_call *c)
{
	struct bytes id = c->trace_id;
	if (!id.n)
		id = trace_of(c->headers, c->n_headers).trace_id;
	if (id.n)
		return trace_randomness(id);
	uint64_t own[2] = {c->connection, c->seen_index};
	return hash_bytes(s->key, bytes_of(own, sizeof(own))) >> (64 - RANDOM_BITS);
}

/* OTEP 235: kept when the randomness reaches the rejection threshold. */
static bool is_chosen(uint64_t r, double probability)
{
	double all = (double)(1ull << RANDOM_BITS);
	return probability >= 1 || r >= (uint64_t)((1 - probability) * all);
}

/* By the share that the limits leave of the rule's own. */
static void choose(struct sampler *s, const struct sample_call *c, uint64_t now_ns,
		   struct sample_state *out)
{
	const struct sample_rule *r = &s->rules[out->rule];
	struct rule_state *st = &s->state[out->rule];
	double p = r->probability;
	p *= limit_share(&st->calls, r->probability, now_ns);
	p *= limit_share(&st->bytes, r->probability * st->mean_bytes, now_ns);
	out->probability = p;
	out->keep = p >= 1 || (p > 0 && is_chosen(randomness(s, c), out->probability));
	if (p <= 0 && r->probability > 0)
		out->out = SAMPLE_OUT_RATE;
	if (out->keep && !limit_take(&st->calls, 1)) {
		out->keep = false;
		out->out = SAMPLE_OUT_RATE;
	}
}

struct sample_state sampler_head(struct sampler *s, const struct sample_call *c, uint64_t now_ns)
{
	uint32_t i = find(s, c);
	const struct sample_rule *r = &s->rules[i];
	struct sample_state out = {.rule = i, .out = SAMPLE_OUT_CHANCE};
	if (r->drop) {
		out.out = SAMPLE_OUT_DROP;
	} else if (is_first(s, i, c, now_ns)) {
		out.keep = out.first = true;
		out.probability = 1;
	} else {
		choose(s, c, now_ns, &out);
		out.tail = sample_rule_has_tail(r);
	}
	return out;
}

static bool tail_holds(const struct sample_rule *r, const struct sample_end *e)
{
	if (e->outcome != OUTCOME_UNKNOWN && r->keep_outcomes >> e->outcome & 1)
		return true;
	if (r->keep_slower_ns && e->latency_ns >= r->keep_slower_ns)
		return true;
	for (size_t i = 0; i < r->n_keep_status; i++)
		if (e->status >= r->keep_status[i].min && e->status <= r->keep_status[i].max)
			return true;
	return false;
}

bool sampler_tail(const struct sampler *s, const struct sample_state *st,
		  const struct sample_end *end, double *weight)
{
	bool sure = st->tail && tail_holds(sampler_rule(s, st->rule), end);
	if (!sure && !st->keep)
		return false;
	*weight = sure ? 1 : 1 / st->probability;
	return true;
}

void sampler_made(struct sampler *s, const struct sample_state *st, uint64_t bytes, uint64_t whole)
{
	struct rule_state *state = &s->state[st->rule];
	if (state->bytes.per_second <= 0 || st->first)
		return;
	state->bytes.left -= (double)bytes;
	if (whole)
		state->mean_bytes += ((double)whole - state->mean_bytes) / 64;
}

/* ---- connections ---- */

/* Does it look at nothing but the connection, of which this is known? */
static bool is_of_conn(const struct sample_rule *r, bool protocol_known)
{
	return r->service.kind == PATTERN_ANY && r->method.kind == PATTERN_ANY &&
	       r->path.kind == PATTERN_ANY && !r->n_headers &&
	       (protocol_known || r->protocol.kind == PATTERN_ANY);
}

bool sampler_never(const struct sampler *s, const struct sample_call *conn)
{
	bool known = conn->protocol.n > 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct sample_rule *r = &s->rules[i];
		if (!matches_conn(r, conn) ||
		    (known && !sample_pattern_match(&r->protocol, conn->protocol)))
			continue;
		if (!r->drop)
			return false;
		if (is_of_conn(r, known))
			return true;
	}
	return false;
}
