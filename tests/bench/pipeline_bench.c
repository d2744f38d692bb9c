/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls a second from packets in memory to encoded records in the null sink, on one core: keep-alive HTTP/1 over
 * a few connections, a reply of 1 KiB. `pipeline_bench [CALLS [REPLY_BYTES [RULES]]]`, one line of figures on stdout.
 * RULES: so many rules of sampling that each call is compared with and that none matches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture/conn.h"
#include "capture/flow.h"
#include "capture/recorder.h"

enum { CONNS = 64, SERVICE_EVERY = 64, HEAD_MAX = 1024 };

struct side {
	uint8_t addr[16];
	uint16_t port;
	uint32_t seq;
};

struct bench {
	struct recorder *recorder;
	struct calls *calls;
	struct conns *conns;
	struct flow_table *flows;
	struct sink *sink;
	struct side client[CONNS], server[CONNS];
	uint64_t now;
};

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void packet(struct bench *b, struct side *from, struct side *to, uint8_t flags,
		   struct bytes data)
{
	struct packet p = {.ts_ns = b->now += 500,
			   .sport = from->port,
			   .dport = to->port,
			   .seq = from->seq,
			   .ack = to->seq,
			   .len = (uint32_t)data.n,
			   .data = data,
			   .flags = flags,
			   .hook = PACKET_EGRESS};
	memcpy(p.src, from->addr, 16);
	memcpy(p.dst, to->addr, 16);
	from->seq += (uint32_t)data.n + !!(flags & (TCP_SYN | TCP_FIN));
	flow_push(b->flows, &p);
}

static bool open_stages(struct bench *b, const uint16_t *port)
{
	char err[200];
	struct recorder_cfg rc = {.sample = 1,
				  .seed = 1,
				  .capture = {.instance = "0123456789abcdef",
					      .version = "bench",
					      .attach = "none",
					      .host = "host"},
				  .ops = &sink_null};
	struct call_limits limits = {.body = 1 << 20,
				     .open_bodies = 16 << 20,
				     .pending = 65536,
				     .timeout_ns = 60000000000,
				     .redact = true};
	b->recorder = recorder_new(&rc);
	struct sink_cfg sc = {.report = recorder_report, .report_ctx = b->recorder};
	b->sink = sink_null.open(&sc, err, sizeof(err));
	recorder_set_sink(b->recorder, &sink_null, b->sink);
	struct call_sink cs = recorder_calls(b->recorder);
	b->calls = calls_new(&limits, &cs);
	struct conns_cfg cc = {.calls = b->calls,
			       .framer = {64 << 10, 256, 1024, 64 << 20},
			       .gather_max = 1 << 20};
	b->conns = conns_new(&cc);
	struct flow_cfg fc = {.max_flows = 65536,
			      .max_pending_flow = 1 << 20,
			      .max_pending_all = 16 << 20,
			      .hole_ns = 50000000,
			      .hole_max_ns = 1000000000,
			      .ports = port,
			      .n_ports = 1,
			      .seed = 1,
			      .on = conns_callbacks(),
			      .ctx = b->conns};
	b->flows = flow_table_new(&fc);
	if (!b->flows)
		return false;
	conns_set_flows(b->conns, b->flows);
	return true;
}

/* The service matches, the method too, the path begins as it does; the last condition fails. */
static bool set_rules(struct recorder *r, size_t n)
{
	struct sample_rule rest, *rules = calloc(n + 1, sizeof(*rules));
	bool failed = !rules;
	for (size_t i = 0; i < n && !failed; i++) {
		sample_rule_init(&rules[i]);
		snprintf(rules[i].name, sizeof(rules[i].name), "rule%zu", i);
		failed = sample_pattern_set(&rules[i].service, "items.*") < 0 ||
			 sample_pattern_set(&rules[i].method, "GET") < 0 ||
			 sample_pattern_set(&rules[i].path, "/api/*") < 0 ||
			 !(rules[i].header[0].name = strdup("x-tenant")) ||
			 sample_pattern_set(&rules[i].header[0].value, "gold") < 0;
		rules[i].n_headers = 1;
	}
	sample_rule_rest(&rest, 1);
	struct sampler *s = failed ? NULL : sampler_new(rules, n, &rest, 1);
	return s && recorder_set_rules(r, &s) == 0;
}

static void connect_all(struct bench *b, uint16_t port)
{
	static const uint8_t lo[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
	for (int i = 0; i < CONNS; i++) {
		struct side *c = &b->client[i], *s = &b->server[i];
		memcpy(c->addr, lo, 16);
		memcpy(s->addr, lo, 16);
		*c = (struct side) {.port = (uint16_t)(40000 + i), .seq = 1000};
		*s = (struct side) {.port = port, .seq = 5000};
		memcpy(c->addr, lo, 16);
		memcpy(s->addr, lo, 16);
		packet(b, c, s, TCP_SYN, (struct bytes) {NULL, 0});
		packet(b, s, c, TCP_SYN | TCP_ACK, (struct bytes) {NULL, 0});
	}
}

static int balance(struct bench *b, uint64_t n)
{
	struct ledger_stage st[8];
	size_t k = flow_ledger(b->flows, st, 2);
	k += conns_ledger(b->conns, st + k, 8 - k);
	k += calls_ledger(b->calls, st + k, 8 - k);
	k += recorder_ledger(b->recorder, st + k, 8 - k);
	for (size_t i = 0; i < k; i++)
		if (ledger_residue(&st[i])) {
			fprintf(stderr, "stage %s does not balance\n", st[i].name);
			return 1;
		}
	if (recorder_totals(b->recorder).delivered == n)
		return 0;
	fprintf(stderr, "%llu of %llu calls\n",
		(unsigned long long)recorder_totals(b->recorder).delivered, (unsigned long long)n);
	return 1;
}

int main(int argc, char **argv)
{
	static struct bench b;
	const uint16_t port = 8080;
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
	size_t reply_n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1024;
	const char *request =
		"GET /api/v1/items?id=42 HTTP/1.1\r\nHost: items.local:8080\r\n"
		"User-Agent: bench/1.0\r\nAccept: */*\r\nX-Request-Id: 7f3a9c\r\n\r\n";
	char *reply = malloc(HEAD_MAX + reply_n);
	int head =
		reply ? snprintf(
				reply, HEAD_MAX,
				"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\n"
				"Content-Length: %zu\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
				reply_n)
		      : -1;
	size_t rules = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	if (head < 0 || !n || rules > SAMPLE_RULES_MAX || !open_stages(&b, &port) ||
	    !set_rules(b.recorder, rules))
		return 1;
	memset(reply + head, 'x', reply_n);
	connect_all(&b, port);
	double t0 = seconds();
	for (uint64_t i = 0; i < n; i++) {
		struct side *c = &b.client[i % CONNS], *s = &b.server[i % CONNS];
		packet(&b, c, s, TCP_ACK | TCP_PSH, bytes_str(request));
		packet(&b, s, c, TCP_ACK | TCP_PSH, bytes_of(reply, (size_t)head + reply_n));
		if (i % SERVICE_EVERY == 0)
			sink_null.service(b.sink);
	}
	sink_null.service(b.sink);
	double t = seconds() - t0;
	printf("packet to record: %.0f calls/s, %.0f ns a call, %.0f MB/s of payload\n",
	       (double)n / t, t / (double)n * 1e9,
	       (double)n * (double)(strlen(request) + (size_t)head + reply_n) / t / 1e6);
	int bad = balance(&b, n);
	flow_end_all(b.flows, FLOW_STOP);
	flow_table_free(b.flows);
	conns_free(b.conns);
	calls_free(b.calls);
	recorder_free(b.recorder);
	sink_null.close(b.sink);
	free(reply);
	return bad;
}
