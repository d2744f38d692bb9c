/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/attach.h"
#include "capture/conn.h"

typedef Sidetap__V1__Call Call;
typedef Sidetap__V1__Message Message;

/* ---- a run ---- */

static void take(void *ctx, const struct packet *p)
{
	struct gen *g = ctx;
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 64;
		g->p = realloc(g->p, g->cap * sizeof(*g->p));
		assert_non_null(g->p);
	}
	uint8_t *copy = malloc(p->data.n + 1);
	assert_non_null(copy);
	if (p->data.n)
		memcpy(copy, p->data.p, p->data.n);
	g->p[g->n] = *p;
	g->p[g->n++].data.p = copy;
}

void sweep_load(struct gen *g, const char *path)
{
	char err[256] = "";
	struct attach_cfg cfg = {
		.read_file = path, .keep_below = 1ull << 32, .on_packet = take, .ctx = g};
	*g = (struct gen) {0};
	struct attach *a = attach_pcap.open(&cfg, err, sizeof(err));
	if (!a)
		fail_msg("%s", err);
	while (attach_pcap.drain(a, 1024) == ATTACH_MORE)
		;
	attach_pcap.close(a);
	assert_true(g->n > 0);
}

static uint64_t text_hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;
	while (*text)
		h = (h ^ (uint8_t)*text++) * 0x100000001b3;
	return h;
}

static void calls_join(struct sweep_run *run)
{
	run->calls = calloc(run->out.n + 1, sizeof(*run->calls));
	run->conns = calloc(run->out.n + 1, sizeof(*run->conns));
	assert_true(run->calls && run->conns);
	for (size_t i = 0; i < run->out.n; i++) {
		const Call *c = run->out.list[i];
		const struct records alone = {.list = &run->out.list[i], .n = 1};
		if (!c->last_part)
			continue;
		struct joined *j = &run->calls[run->n];
		*j = records_join(c->part ? &run->out : &alone, c->id);
		run->conns[run->n++] = text_hash(j->first->client) + text_hash(j->first->server);
	}
}

static uint64_t undone_of(const struct ledger_stage *s)
{
	for (unsigned i = 0; i < s->n_exits; i++)
		if (!strcmp(s->exits[i].name, "undone"))
			return s->exits[i].n;
	return 0;
}

static void stages_end(struct sweep_run *run, struct conns *conns, struct calls *calls,
		       struct recorder *recorder, struct flow_table *flows)
{
	struct ledger_stage s[9];
	size_t n = flow_ledger(flows, s, 3);
	n += conns_ledger(conns, s + n, 2);
	run->undone = undone_of(&s[n - 1]);
	n += calls_ledger(calls, s + n, 2);
	n += recorder_ledger(recorder, s + n, 2);
	assert_int_equal(n, 9);
	stages_check(n, s);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(s[i].held, 0);
	records_check(&run->out);
}

void sweep_run(struct sweep_run *run, const struct packet *p, size_t n, const uint16_t *port)
{
	*run = (struct sweep_run) {0};
	struct recorder_cfg rc = {.sample = 1,
				  .seed = 1,
				  .capture = {.instance = "i"},
				  .ops = &records_ops,
				  .sink = (struct sink *)&run->out};
	struct call_limits limits = {.body = 1 << 20,
				     .open_bodies = 16 << 20,
				     .pending = 65536,
				     .timeout_ns = 60000000000};
	struct recorder *recorder = recorder_new(&rc);
	run->out.recorder = recorder;
	struct call_sink sink = recorder_calls(recorder);
	struct calls *calls = calls_new(&limits, &sink);
	struct conns_cfg cc = {
		.calls = calls, .framer = {64 << 10, 256, 1024, 64 << 20}, .gather_max = 1 << 20};
	struct conns *conns = conns_new(&cc);
	struct flow_cfg fc = {.max_flows = 65536,
			      .max_pending_flow = 1 << 20,
			      .max_pending_all = 16 << 20,
			      .hole_ns = 50000000,
			      .hole_max_ns = 1000000000,
			      .ports = port,
			      .n_ports = port != NULL,
			      .seed = 1,
			      .from_file = true,
			      .on = conns_callbacks(),
			      .ctx = conns};
	struct flow_table *flows = flow_table_new(&fc);
	assert_non_null(flows);
	conns_set_flows(conns, flows);
	for (size_t i = 0; i < n; i++) {
		flow_push(flows, &p[i]);
		calls_expire(calls, p[i].ts_ns);
	}
	flow_end_all(flows, FLOW_STOP);
	stages_end(run, conns, calls, recorder, flows);
	flow_table_free(flows);
	conns_free(conns);
	calls_free(calls);
	recorder_free(recorder);
	run->out.recorder = NULL;
	calls_join(run);
}

void sweep_run_fini(struct sweep_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		records_unjoin(&run->calls[i]);
	free(run->calls);
	free(run->conns);
	records_fini(&run->out);
	*run = (struct sweep_run) {0};
}

/* ---- comparing ---- */

static char why[512];

#define DIFFERS(...) (snprintf(why, sizeof(why), __VA_ARGS__), false)

/* The fields that this call says it does not know: "path,:status" */
static bool unknown(const Call *c, const char *name)
{
	const char *list = records_attribute(c, "unknown");
	size_t n = strlen(name);
	for (const char *at = list; at && (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ','))
			return true;
	return false;
}

static bool has_unknown(const struct joined *j)
{
	return records_attribute(j->first, "unknown") || records_attribute(j->last, "unknown");
}

static bool flagged(const struct joined *j, const char *flag)
{
	return records_flag(j->last, flag) || records_flag(j->first, flag);
}

/* Says itself that it is not the whole call */
static bool cut(const struct joined *j)
{
	static const char *const flags[] = {
		"gap",     "truncated",      "capture_ended",    "evicted",
		"timeout", "protocol_error", "smuggling_suspect"};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flagged(j, flags[i]))
			return true;
	return j->last->outcome == SIDETAP__V1__CALL__OUTCOME__ABORTED;
}

static bool text_fits(const struct joined *r, const struct joined *t, const char *name,
		      const char *a, const char *b)
{
	if (!strcmp(a, b))
		return true;
	bool excused = unknown(r->first, name) || unknown(r->last, name) || !r->req_head;
	if (!*a && excused)
		return true;
	(void)t;
	return DIFFERS("%s \"%.60s\", not \"%.60s\"", name, a, b);
}

static bool header_in(const Sidetap__V1__Header *h, const Message *t, bool trailers)
{
	size_t n = trailers ? t->n_trailers : t->n_headers;
	Sidetap__V1__Header **list = trailers ? t->trailers : t->headers;
	bool doubt = h->provenance == SIDETAP__V1__HEADER__PROVENANCE__UNKNOWN;
	for (size_t i = 0; i < n; i++) {
		bool name = !strcmp(list[i]->name, h->name);
		bool value = list[i]->value.len == h->value.len &&
			     (!h->value.len ||
			      !memcmp(list[i]->value.data, h->value.data, h->value.len));
		if ((name || (doubt && !*h->name)) && (value || (doubt && !h->value.len)))
			return true;
	}
	return false;
}

static bool headers_fit(const struct joined *r, const Message *a, const Message *b, bool trailers)
{
	size_t n = trailers ? a->n_trailers : a->n_headers,
	       want = trailers ? b->n_trailers : b->n_headers;
	Sidetap__V1__Header **list = trailers ? a->trailers : a->headers;
	for (size_t i = 0; i < n; i++)
		if (!header_in(list[i], b, trailers) &&
		    !(!trailers && flagged(r, "gap") && header_in(list[i], b, true)))
			return DIFFERS("header %s=%.*s", list[i]->name, (int)list[i]->value.len,
				       (const char *)list[i]->value.data);
	/* a block whose :status is not known may be of a 1xx: its headers are not told */
	bool withheld = !trailers && n == 0 && unknown(r->last, "status_code");
	if (n != want && !cut(r) && !withheld)
		return DIFFERS("%zu headers, not %zu", n, want);
	return true;
}

/* gRPC whose content type is not known: its message still has the prefix of five bytes. */
static bool is_bare(const struct joined *r, const struct joined *t)
{
	return !strcmp(t->first->protocol, "grpc") && !strcmp(r->first->protocol, "http2");
}

enum { ANY_FLAG = 0xaa }; /* compressed or not: the record does not tell which */

static void bare_add(struct buf *raw, struct bytes body)
{
	const uint8_t prefix[5] = {ANY_FLAG, (uint8_t)(body.n >> 24), (uint8_t)(body.n >> 16),
				   (uint8_t)(body.n >> 8), (uint8_t)body.n};
	assert_int_equal(buf_append(raw, bytes_of(prefix, sizeof(prefix))), 0);
	assert_int_equal(buf_append(raw, body), 0);
}

static bool bare_fits(const struct joined *r, const struct joined *t, int dir)
{
	struct bytes a = buf_bytes(dir ? &r->resp : &r->req);
	struct buf raw = {0};
	for (size_t i = 0; i < t->n_stream; i++)
		if (t->stream[i].dir == dir)
			bare_add(&raw, buf_bytes(&t->stream[i].body));
	if (!t->n_stream && (a.n || (dir ? t->resp.n : t->req.n))) /* none, or one of no bytes */
		bare_add(&raw, buf_bytes(dir ? &t->resp : &t->req));
	bool fits = a.n == raw.n || (cut(r) && a.n < raw.n);
	for (size_t i = 0; fits && i < a.n; i++)
		fits = a.p[i] == raw.p[i] || (raw.p[i] == ANY_FLAG && a.p[i] < 2);
	size_t want = raw.n;
	buf_fini(&raw);
	return fits || DIFFERS("%zu bytes with prefixes, not %zu", a.n, want);
}

static bool body_fits(const struct joined *r, struct bytes a, struct bytes b, uint64_t a_total,
		      uint64_t b_total)
{
	if (a.n > b.n || (a.n && memcmp(a.p, b.p, a.n) != 0))
		return a.n && DIFFERS("body \"%.*s\"", (int)a.n, (const char *)a.p);
	if (cut(r))
		return true;
	if (a.n != b.n || a_total != b_total)
		return DIFFERS("%zu of %llu body bytes, not %zu of %llu", a.n,
			       (unsigned long long)a_total, b.n, (unsigned long long)b_total);
	return true;
}

static const Message *message_of(const Call *c, int dir)
{
	return dir ? c->response : c->request;
}

static uint64_t end_of(const struct joined *j, int dir)
{
	const Message *head = dir ? j->resp_head : j->req_head, *last = message_of(j->last, dir);
	uint64_t end = head ? head->end_unix_ns : 0;
	return last && last->end_unix_ns > end ? last->end_unix_ns : end;
}

static uint64_t total_of(const struct joined *j, int dir)
{
	const Message *head = dir ? j->resp_head : j->req_head, *last = message_of(j->last, dir);
	uint64_t total = head ? head->body_bytes : 0;
	return last && last->body_bytes > total ? last->body_bytes : total;
}

/* Messages of one direction of a stream: each is one of the truth's, in order. */
static bool stream_fits(const struct joined *r, const struct joined *t, int dir)
{
	size_t at = 0, n = 0, want = 0, only = 0;
	for (size_t i = 0; i < t->n_stream; i++)
		if (t->stream[i].dir == dir) {
			only = i;
			want++;
		}
	if (!r->n_stream && want < 2) /* of what was seen, one message each way: told as bodies */
		return body_fits(r, buf_bytes(dir ? &r->resp : &r->req),
				 want ? buf_bytes(&t->stream[only].body) : bytes_of(NULL, 0),
				 total_of(r, dir), want ? t->stream[only].body_bytes : 0);
	for (size_t i = 0; i < r->n_stream; i++) {
		if (r->stream[i].dir != dir)
			continue;
		struct bytes m = buf_bytes(&r->stream[i].body);
		for (; at < t->n_stream; at++) {
			struct bytes whole = buf_bytes(&t->stream[at].body);
			if (t->stream[at].dir == dir &&
			    (cut(r) ? bytes_starts(whole, m) : bytes_eq(whole, m)))
				break;
		}
		if (at++ == t->n_stream)
			return DIFFERS("stream message %zu of %zu bytes", i, m.n);
		n++;
	}
	return n == want || cut(r) || DIFFERS("%zu messages, not %zu", n, want);
}

/* Some of its bytes passed when the other's did: or a retransmission of them, where the first was dropped. */
enum { RETRANSMISSION_NS = 100000000 };

static bool same_time(const struct joined *r, const struct joined *t, int dir)
{
	const Message *a = dir ? r->resp_head : r->req_head, *b = dir ? t->resp_head : t->req_head;
	return b && a->start_unix_ns <= end_of(t, dir) + RETRANSMISSION_NS &&
	       end_of(r, dir) >= b->start_unix_ns;
}

static bool half_fits(const struct joined *r, const struct joined *t, int dir)
{
	const Message *a = dir ? r->resp_head : r->req_head, *b = dir ? t->resp_head : t->req_head;
	struct bytes bodies[2] = {buf_bytes(dir ? &r->resp : &r->req),
				  buf_bytes(dir ? &t->resp : &t->req)};
	const Message *last = message_of(r->last, dir), *want = message_of(t->last, dir);
	return headers_fit(r, a, b, false) &&
	       (!last || !want || headers_fit(r, last, want, true)) &&
	       (is_bare(r, t) ? bare_fits(r, t, dir)
		: t->n_stream || r->n_stream
			? stream_fits(r, t, dir)
			: body_fits(r, bodies[0], bodies[1], total_of(r, dir), total_of(t, dir)));
}

static bool protocol_fits(const struct joined *r, const struct joined *t)
{
	if (!strcmp(r->first->protocol, t->first->protocol))
		return true;
	if (is_bare(r, t) &&
	    (unknown(r->first, "protocol") || unknown(r->last, "protocol") || !r->req_head))
		return true;
	/* a request to upgrade, whose answer is lost, is what it says on the wire */
	if (!strcmp(r->first->protocol, "http1") && !strcmp(t->first->protocol, "http2") && cut(r))
		return true;
	return DIFFERS("protocol %s", r->first->protocol);
}

static bool names_fit(const struct joined *r, const struct joined *t)
{
	const Call *a = r->first, *b = t->first;
	return protocol_fits(r, t) && text_fits(r, t, "service", a->service, b->service) &&
	       text_fits(r, t, "method", a->method, b->method) &&
	       text_fits(r, t, "path", a->path, b->path);
}

static bool type_fits(const struct joined *r, const struct joined *t)
{
	return !strcmp(r->last->call_type, t->last->call_type) || cut(r) ||
	       unknown(r->first, "call_type") || unknown(r->last, "call_type") ||
	       DIFFERS("call_type %s", r->last->call_type);
}

static bool request_fits(const struct joined *r, const struct joined *t)
{
	return names_fit(r, t) && type_fits(r, t) && half_fits(r, t, 0);
}

static bool outcome_fits(const struct joined *r, const struct joined *t)
{
	const Call *a = r->last, *b = t->last;
	bool excused = cut(r) || has_unknown(r);
	if (a->status_code != b->status_code && (a->status_code || !excused))
		return DIFFERS("status_code %d, not %d", a->status_code, b->status_code);
	if (*a->status_text && strcmp(a->status_text, b->status_text) != 0)
		return DIFFERS("status_text %s", a->status_text);
	if (a->outcome != b->outcome &&
	    !(excused && a->outcome == SIDETAP__V1__CALL__OUTCOME__UNKNOWN))
		return DIFFERS("outcome %d, not %d, flags %s", a->outcome, b->outcome,
			       records_flags(a));
	return true;
}

static bool response_fits(const struct joined *r, const struct joined *t)
{
	bool known = r->req_head || *r->first->service || *r->first->method || *r->first->path;
	return (r->req_head || !known || names_fit(r, t)) && protocol_fits(r, t) &&
	       outcome_fits(r, t) && half_fits(r, t, 1);
}

/* ---- counting ---- */

static struct sweep_share *share_of(struct sweep_shares *s, const char *protocol)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->list[i].protocol, protocol))
			return &s->list[i];
	assert_true(s->n < sizeof(s->list) / sizeof(s->list[0]));
	snprintf(s->list[s->n].protocol, sizeof(s->list[0].protocol), "%s", protocol);
	return &s->list[s->n++];
}

/* Which halves of a call of the truth were told, and whether by one whole call */
struct claim {
	bool half[2], whole;
};

static bool is_whole(const struct joined *r, const struct joined *t)
{
	return !r->req_head == !t->req_head && !r->resp_head == !t->resp_head &&
	       (!cut(r) || cut(t)) && !has_unknown(r);
}

/* A tunnel or what was not understood: nothing to compare, but its names. */
static bool opaque_fits(const struct joined *r, uint64_t conn, const struct sweep_run *truth)
{
	static const char *const names[] = {"app_protocol", "tls", "tls.sni", "tls.alpn"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *a = records_attribute(r->last, names[i]), *b = NULL;
		for (size_t k = 0; a && k < truth->n; k++)
			if (truth->conns[k] == conn &&
			    (b = records_attribute(truth->calls[k].last, names[i])))
				break;
		if (a && (!b || strcmp(a, b) != 0))
			return DIFFERS("%s %s", names[i], a);
	}
	return !*r->first->method && !*r->first->path;
}

/* Paired by order alone, and says so (docs/record.md) */
static bool by_order(const struct joined *r)
{
	return flagged(r, "late_join") && strcmp(r->first->protocol, "http2") != 0 &&
	       strcmp(r->first->protocol, "grpc") != 0;
}

struct search {
	const struct joined *both, *half[2];
	char why[2][512]; /* why the one that comes nearest to it is not it */
};

/* What is said of calls of another time, or with other names or status, tells little. */
static int weight(const char *text)
{
	static const char *const light[] = {"path", "service", "method", "status_text",
					    "status_code"};
	for (int i = 0; i < 5; i++)
		if (!strncmp(text, light[i], strlen(light[i])))
			return i + 1;
	return *text ? 6 : 0;
}

static struct search search(const struct sweep_run *truth, const struct joined *r, uint64_t conn)
{
	struct search s = {0};
	for (size_t i = 0; i < truth->n; i++) {
		const struct joined *t = &truth->calls[i];
		if (truth->conns[i] != conn || !strcmp(t->first->protocol, "opaque"))
			continue;
		bool fits[2] = {true, true};
		for (int d = 0; d < 2; d++) {
			if (!(d ? r->resp_head : r->req_head))
				continue;
			if (!same_time(r, t, d)) {
				fits[d] = false;
				continue;
			}
			fits[d] = d ? response_fits(r, t) : request_fits(r, t);
			if (fits[d])
				s.half[d] = t;
			else if (weight(why) > weight(s.why[d]))
				snprintf(s.why[d], sizeof(s.why[d]), "%s", why);
		}
		if (fits[0] && fits[1])
			s.both = t;
	}
	return s;
}

static char *told(const struct joined *r, const char *what, const char *detail)
{
	char *text = NULL;
	const Call *c = r->first;
	const char *names = records_attribute(r->last, "unknown");
	assert_true(asprintf(&text,
			     "%s: %s; %s %s %s %s %s status %d %s outcome %d unknown %s flags %s",
			     what, detail, c->id, c->protocol, c->service, c->method, c->path,
			     r->last->status_code, r->last->status_text, r->last->outcome,
			     names ? names : "", records_flags(r->last)) > 0);
	return text;
}

static char *claim_make(const struct sweep_run *truth, const struct joined *r, uint64_t conn,
			struct claim *claims, struct sweep_shares *shares)
{
	struct search s = search(truth, r, conn);
	bool halves[2] = {r->req_head != NULL, r->resp_head != NULL};
	for (int d = 0; d < 2; d++)
		if (halves[d] && !s.half[d])
			return told(r, d ? "wrong response" : "wrong request",
				    *s.why[d] ? s.why[d] : "nobody's bytes");
	struct sweep_share *share = share_of(shares, r->first->protocol);
	if (halves[0] && halves[1] && by_order(r)) {
		share->by_order++;
		share->by_order_wrong += !s.both;
	} else if (!s.both) {
		return told(r, "wrong pair", s.why[1]);
	}
	for (int d = 0; d < 2; d++) {
		const struct joined *t = s.both ? s.both : s.half[d];
		if (!halves[d])
			continue;
		struct claim *c = &claims[t - truth->calls];
		c->half[d] = true;
		c->whole |= s.both && is_whole(r, t);
	}
	return NULL;
}

char *sweep_compare(const struct sweep_run *truth, const struct sweep_run *seen, uint64_t from_ns,
		    struct sweep_shares *shares)
{
	struct claim *claims = calloc(truth->n + 1, sizeof(*claims));
	char *wrong = NULL;
	for (size_t i = 0; i < seen->n && !wrong; i++) {
		const struct joined *r = &seen->calls[i];
		if (strcmp(r->first->protocol, "opaque") != 0)
			wrong = claim_make(truth, r, seen->conns[i], claims, shares);
		else if (!opaque_fits(r, seen->conns[i], truth))
			wrong = told(r, "wrong name", why);
	}
	for (size_t i = 0; i < truth->n && !wrong; i++) {
		const struct joined *t = &truth->calls[i];
		if (!strcmp(t->first->protocol, "opaque") ||
		    (t->req_head ? t->req_head : t->resp_head)->start_unix_ns < from_ns)
			continue;
		struct sweep_share *s = share_of(shares, t->first->protocol);
		s->calls++;
		if (claims[i].whole)
			s->complete++;
		else if (claims[i].half[0] || claims[i].half[1])
			s->partial++;
		else
			s->lost++;
	}
	free(claims);
	return wrong;
}

void sweep_shares_print(const struct sweep_shares *shares, const char *what)
{
	for (size_t i = 0; i < shares->n; i++) {
		const struct sweep_share *s = &shares->list[i];
		double all = s->calls ? (double)s->calls / 100 : 1;
		printf("# sweep %s: %s: %llu calls, %.2f %% complete, %.2f %% partial, %.2f %% lost",
		       s->protocol, what, (unsigned long long)s->calls, (double)s->complete / all,
		       (double)s->partial / all, (double)s->lost / all);
		if (s->by_order)
			printf("; %llu pairs by order (late_join), %llu of them wrong",
			       (unsigned long long)s->by_order,
			       (unsigned long long)s->by_order_wrong);
		printf("\n");
	}
}
