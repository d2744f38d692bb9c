/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of sampling on the road of a call: asked at its head, settled at its end or with its first part. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/recorder_state.h"

/* An open call keeps the rules that took it: decision and name stay, whatever is loaded meanwhile. */
struct rule_set {
	struct sampler *sampler;
	struct rule_set *next;
	size_t calls;
	uint16_t counted[SAMPLE_RULES_MAX + 1]; /* where each rule is counted in recorder.rule */
};

/* A rule counts on under its name. */
static uint16_t counter_of(struct recorder *r, const char *name)
{
	size_t i = 0;
	while (i < r->n_rules && strcmp(r->rule[i].name, name) != 0)
		i++;
	if (i < r->n_rules || i > RULES_MAX)
		return (uint16_t)(i < RULES_MAX ? i : RULES_MAX);
	snprintf(r->rule_name[i], sizeof(r->rule_name[i]), "%s",
		 i < RULES_MAX ? name : "more_rules");
	r->rule[i] = (struct record_rule) {.name = r->rule_name[i]};
	r->n_rules++;
	return (uint16_t)i;
}

static void set_free(struct recorder *r, struct rule_set *set)
{
	struct rule_set **at = &r->sets;
	while (*at != set)
		at = &(*at)->next;
	*at = set->next;
	sampler_free(set->sampler);
	free(set);
}

int recorder_set_rules(struct recorder *r, struct sampler **sampler)
{
	struct rule_set *old = r->rules, *set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	set->sampler = *sampler;
	*sampler = NULL;
	for (uint32_t i = 0; i <= sampler_rules(set->sampler); i++)
		set->counted[i] = counter_of(r, sampler_rule(set->sampler, i)->name);
	set->next = r->sets;
	r->sets = r->rules = set;
	if (old && !old->calls)
		set_free(r, old);
	return 0;
}

void recorder_rules_fini(struct recorder *r)
{
	while (r->sets)
		set_free(r, r->sets);
	r->rules = NULL;
}

void recorder_set_connections(struct recorder *r, double share)
{
	r->cfg.connections = share;
}

/* Redirected, or at a port of the proxy: the service calls out. */
static enum sample_side side_of(const struct recorder *r, const struct flow *f)
{
	bool out = f->orig_port != 0;
	for (size_t i = 0; i < r->cfg.n_proxy_ports; i++)
		out |= r->cfg.proxy_ports[i] == f->server_port;
	return out ? SAMPLE_SIDE_OUTBOUND : SAMPLE_SIDE_INBOUND;
}

static struct sample_call conn_facts(const struct recorder *r, struct conn *c)
{
	struct sample_call out = {.side = side_of(r, c->flow), .connection = c->number};
	if (sampler_addresses(r->rules->sampler) && recorder_names(r, c)) {
		out.client = c->names->client;
		out.server = c->names->server;
	}
	return out;
}

bool recorder_never(const struct recorder *r, struct conn *c, const char *protocol)
{
	struct sample_call facts = conn_facts(r, c);
	facts.protocol = bytes_str(protocol);
	return sampler_never(r->rules->sampler, &facts);
}

static double connection_share(const struct recorder *r)
{
	return r->cfg.connections > 0 ? r->cfg.connections : 1;
}

static uint64_t body_max(const struct sample_rule *rule)
{
	switch (rule->body) {
	case SAMPLE_BODY_HEAD: return rule->body_bytes;
	case SAMPLE_BODY_NONE: return 0;
	case SAMPLE_BODY_FULL: break;
	}
	return UINT64_MAX;
}

void recorder_sample(void *ctx, struct call *c, const struct piece *p, uint64_t now_ns)
{
	struct recorder *r = ctx;
	const struct head *h = &p->head;
	struct sample_call facts = conn_facts(r, c->conn);
	facts.protocol = bytes_str(h->protocol ? h->protocol : c->protocol);
	facts.service = h->service;
	facts.method = h->method;
	facts.path = h->path;
	facts.trace_id = h->trace_id;
	facts.headers = h->headers;
	facts.n_headers = h->n_headers;
	facts.seen_index = c->seen_index;
	c->config_version = r->version;
	c->rules = r->rules;
	c->rules->calls++;
	c->sample = sampler_head(r->rules->sampler, &facts, now_ns);
	const struct sample_rule *rule = sampler_rule(r->rules->sampler, c->sample.rule);
	c->rule = rule->name;
	c->body_max = body_max(rule);
	c->share = connection_share(r);
	c->sampled = c->sample.keep || c->sample.tail;
	c->decided = !c->sampled;
}

static struct sample_end end_of(const struct call *c)
{
	const struct call_message *req = &c->msg[0], *resp = &c->msg[1];
	uint64_t start = req->started ? req->start_ns : resp->start_ns;
	uint64_t end = resp->end_ns > req->end_ns ? resp->end_ns : req->end_ns;
	return (struct sample_end) {
		.outcome = c->outcome,
		.status = c->status,
		.latency_ns = c->flags & FLAG_TIMEOUT ? UINT64_MAX
			      : end > start           ? end - start
						      : 0,
	};
}

void recorder_decide(struct call *c)
{
	if (c->decided || !c->sampled)
		return;
	struct sample_end end = end_of(c);
	double weight = 1;
	c->decided = true;
	c->sampled = sampler_tail(c->rules->sampler, &c->sample, &end, &weight);
	c->weight = weight / c->share;
}

uint64_t *recorder_rule_exit(struct recorder *r, const struct call *c)
{
	if (c->over_limit)
		return &r->over_limit;
	return c->decided ? &r->sampled_out[c->sample.out] : &r->undone;
}

void recorder_rule_made(struct call *c, uint64_t bytes, bool last)
{
	c->record_bytes += bytes;
	sampler_made(c->rules->sampler, &c->sample, bytes, last ? c->record_bytes : 0);
}

void recorder_rule_done(struct recorder *r, struct call *c, bool recorded)
{
	struct rule_set *set = c->rules;
	struct record_rule *count = &r->rule[set->counted[c->sample.rule]];
	count->seen++;
	count->kept += recorded;
	count->weight_sum += recorded ? c->weight : 0;
	c->rules = NULL;
	c->rule = "";
	if (--set->calls == 0 && set != r->rules)
		set_free(r, set);
}
