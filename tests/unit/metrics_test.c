/* SPDX-License-Identifier: Apache-2.0 */
/* C8, S3: the text against the format's rules, who is served, and a port that is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/metrics.h"
#include "capture/pipeline_state.h"
#include "capture/settings.h"

static struct settings s;
static struct pipeline *p;

static const char *const rules_yaml =
	"sample: 50%\nsink: 'null:'\nrules:\n  - {name: \"quo\\\"te\\\\\", drop: true}\n  - {name: 'x\u202e', drop: true}\n";

static int begin(void **state)
{
	(void)state;
	char err[400] = "", path[] = "/tmp/metrics-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, rules_yaml, strlen(rules_yaml)), strlen(rules_yaml));
	close(fd);
	char *argv[] = {(char[]) {"capture"}, (char[]) {"-c"}, path, NULL};
	settings_init(&s);
	assert_int_equal(settings_parse(&s, 3, argv), 0);
	unlink(path);
	struct pipeline_cfg cfg = {.settings = &s, .version = "0.1\"\n"};
	p = pipeline_new(&cfg, err, sizeof(err));
	if (!p)
		fail_msg("%s", err);
	return 0;
}

static int end(void **state)
{
	(void)state;
	pipeline_free(p);
	settings_fini(&s);
	return 0;
}

/* ---- the text ---- */

/* name{label="value",...} number; true when it is that. The name goes to family. */
static bool is_sample(const char *line, char *family, size_t n)
{
	size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
	snprintf(family, n, "%.*s", (int)len, line);
	line += len;
	if (*line == '{') {
		do {
			line++;
			len = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
			line += len;
			if (!len || *line++ != '=' || *line++ != '"')
				return false;
			for (; *line && *line != '"'; line++)
				if (*line == '\\' && !strchr("\"\\n", *++line))
					return false;
			if (*line++ != '"')
				return false;
		} while (*line == ',');
		if (*line++ != '}')
			return false;
	}
	char *stop;
	return *line++ == ' ' && (strtod(line, &stop), stop != line) && *stop == 0;
}

static void check_page(bool openmetrics)
{
	struct text text = {0};
	char type[200] = "", family[200], want[240];
	unsigned samples = 0;
	bool counter = false;
	metrics_write(p, NULL, openmetrics, &text);
	assert_false(text.failed);
	text_put(&text, "", 1);
	char *rest = text.p;
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		if (strcmp(line, "# EOF") == 0) {
			assert_true(openmetrics && !*rest);
			continue;
		}
		if (strncmp(line, "# HELP ", 7) == 0)
			continue;
		if (strncmp(line, "# TYPE ", 7) == 0) {
			char kind[20];
			assert_int_equal(sscanf(line + 7, "%199s %19s", type, kind), 2);
			counter = strcmp(kind, "counter") == 0;
			continue;
		}
		if (!is_sample(line, family, sizeof(family)))
			fail_msg("no sample: %s", line);
		snprintf(want, sizeof(want), "%s%s", type, counter && openmetrics ? "_total" : "");
		assert_string_equal(family, want);
		size_t n = strlen(family);
		assert_int_equal(counter, n > 6 && strcmp(family + n - 6, "_total") == 0);
		samples++;
	}
	assert_true(samples > 60);
	text_fini(&text);
}

static void the_format(void **state)
{
	(void)state;
	check_page(false);
	check_page(true);
}

/* ---- cardinality ---- */

enum { PATHS = 1000000, SERVICE_EVERY = 64 };

struct end {
	uint16_t port;
	uint32_t seq;
};

static void say_packet(struct end *from, const struct end *to, uint8_t flags, const char *data)
{
	static const uint8_t lo[16] = {[10] = 0xff, 0xff, 127, [15] = 1};
	struct packet k = {.ts_ns = clock_ns(CLOCK_MONOTONIC),
			   .sport = from->port,
			   .dport = to->port,
			   .seq = from->seq,
			   .ack = to->seq,
			   .len = (uint32_t)strlen(data),
			   .data = bytes_str(data),
			   .flags = flags,
			   .hook = PACKET_EGRESS};
	memcpy(k.src, lo, sizeof(lo));
	memcpy(k.dst, lo, sizeof(lo));
	from->seq += k.len + !!(flags & TCP_SYN);
	pipeline_packet(p, &k);
}

/* Names and labels of all samples, without their values */
static size_t series(struct text *text)
{
	size_t n = 0;
	metrics_write(p, NULL, false, text);
	for (const char *line = text->p, *end;
	     (end = memchr(line, '\n', text->n - (size_t)(line - text->p))); line = end + 1)
		n += *line != '#';
	return n;
}

/* A million of all that a client chooses (path, host, a header) makes no new series. */
static void s3_million_paths(void **state)
{
	(void)state;
	struct end client = {40000, 1000}, server = {8080, 5000};
	struct text text = {0};
	char request[300];
	say_packet(&client, &server, TCP_SYN, "");
	say_packet(&server, &client, TCP_SYN | TCP_ACK, "");
	size_t before = 0;
	for (unsigned i = 0; i < PATHS; i++) {
		snprintf(request, sizeof(request),
			 "GET /bomb-%u HTTP/1.1\r\nHost: bomb-%u\r\nx-bomb: bomb-%u\r\n\r\n", i, i,
			 i);
		say_packet(&client, &server, TCP_ACK, request);
		snprintf(request, sizeof(request), "HTTP/1.1 %u bomb\r\nContent-Length: 0\r\n\r\n",
			 200 + i % 400);
		say_packet(&server, &client, TCP_ACK, request);
		if (i % SERVICE_EVERY == 0)
			p->sink_ops->service(p->sink);
		if (i == 1000) /* each status was there */
			before = series(&text);
		text_fini(&text);
	}
	assert_int_equal(pipeline_status(p).calls_seen, PATHS);
	assert_int_equal(series(&text), before);
	assert_null(memmem(text.p, text.n, "bomb", 4));
	text_fini(&text);
	flow_end_all(p->flows, FLOW_STOP);
}

static void says(const struct text *text, const char *line)
{
	if (!memmem(text->p, text->n, line, strlen(line)))
		fail_msg("%s is not in\n%.*s", line, (int)text->n, text->p);
}

static void s3_names_are_escaped(void **state)
{
	(void)state;
	struct text text = {0};
	metrics_write(p, NULL, false, &text);
	says(&text, "sidetap_rule_seen_total{rule=\"quo\\\"te\\\\\"} 0\n");
	says(&text, "sidetap_rule_seen_total{rule=\"x\\\\xe2\\\\x80\\\\xae\"} 0\n");
	says(&text, "sidetap_config_version 1\n");
	says(&text, "sidetap_stage_residue{stage=\"records\"} 0\n");
	text_fini(&text);
}

static void reloads_are_told(void **state)
{
	(void)state;
	struct text text = {0};
	struct settings next;
	pipeline_reload_refused(p, "c.yaml:1:1: nonsense");
	metrics_write(p, NULL, false, &text);
	says(&text, "sidetap_config_last_reload_successful 0\n");
	says(&text, "sidetap_config_reloads_total{result=\"refused\"} 1\n");
	says(&text, "sidetap_config_version 1\n");
	text_fini(&text);
	assert_int_equal(settings_copy(&next, &s), 0);
	next.sample = 0.25;
	char err[200];
	assert_int_equal(pipeline_apply(p, &next, err, sizeof(err)), 1);
	settings_fini(&next);
	metrics_write(p, NULL, false, &text);
	says(&text, "sidetap_config_last_reload_successful 1\n");
	says(&text, "sidetap_config_version 2\n");
	says(&text, s.config_hash);
	text_fini(&text);
}

/* ---- over HTTP ---- */

static struct metrics *serve(const char *where)
{
	char err[300] = "";
	struct metrics_cfg cfg = {.listen = where, .p = p};
	struct metrics *m = metrics_open(&cfg, err, sizeof(err));
	if (!m)
		fail_msg("%s", err);
	return m;
}

static int ask(const struct metrics *m, const char *request)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	at.sin_port = htons((uint16_t)strtoul(strrchr(metrics_where(m), ':') + 1, NULL, 10));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (void *)&at, sizeof(at)), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

/* The whole answer; serves until it is there. */
static char *answer(struct metrics *m, int fd)
{
	size_t n = 0, size = 1 << 20;
	char *text = calloc(1, size);
	for (ssize_t got; n < size - 1;) {
		metrics_service(m);
		got = recv(fd, text + n, size - 1 - n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return text;
}

static void answers(struct metrics *m, const char *request, const char *status, const char *body)
{
	char *text = answer(m, ask(m, request));
	if (strncmp(text, status, strlen(status)) != 0 || !strstr(text, body))
		fail_msg("%s -> %s", request, text);
	assert_non_null(strstr(text, "Connection: close"));
	free(text);
}

static void pages(void **state)
{
	(void)state;
	struct metrics *m = serve("127.0.0.1:0");
	answers(m, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200", "ok\n");
	answers(m, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 503", "not attached\n");
	answers(m, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200", "version=0.0.4");
	answers(m,
		"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
		"HTTP/1.1 200", "# EOF\n");
	answers(m, "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404", "here are");
	answers(m, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 405", "allowed is GET");
	metrics_close(m);
}

/* Those that hold all places keep others waiting, not out; and each answer gives its place back. */
static void c8_hundred_scrapers(void **state)
{
	(void)state;
	static const char get[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
	int idle[METRICS_CLIENTS];
	struct metrics *m = serve("127.0.0.1:0");
	for (int i = 0; i < METRICS_CLIENTS; i++)
		idle[i] = ask(m, "GET ");
	while (metrics_clients(m) < METRICS_CLIENTS)
		metrics_service(m);
	int late = ask(m, get);
	for (int i = 0; i < 10; i++)
		metrics_service(m);
	assert_int_equal(metrics_clients(m), METRICS_CLIENTS);
	for (int i = 0; i < METRICS_CLIENTS; i++)
		close(idle[i]);
	char *text = answer(m, late);
	assert_memory_equal(text, "HTTP/1.1 200", 12);
	free(text);
	int fds[100];
	for (int i = 0; i < 100; i++)
		fds[i] = ask(m, get);
	for (int i = 0; i < 100; i++) {
		text = answer(m, fds[i]);
		assert_memory_equal(text, "HTTP/1.1 200", 12);
		free(text);
		assert_true(metrics_clients(m) <= METRICS_CLIENTS);
	}
	metrics_close(m);
}

static void c8_port_in_use(void **state)
{
	(void)state;
	char err[300] = "", where[100];
	struct metrics *m = serve("127.0.0.1:0");
	snprintf(where, sizeof(where), "%s", metrics_where(m));
	struct metrics_cfg cfg = {.listen = where, .p = p};
	assert_null(metrics_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, where));
	assert_non_null(strstr(err, "in use"));
	metrics_close(m);
}

static void unix_socket(void **state)
{
	(void)state;
	char dir[] = "/tmp/metrics-XXXXXX", where[100], err[400] = "";
	assert_non_null(mkdtemp(dir));
	snprintf(where, sizeof(where), "unix:%s/m.sock", dir);
	struct metrics *m = serve(where);
	assert_int_equal(access(where + 5, F_OK), 0);
	metrics_close(m);
	assert_int_equal(rmdir(dir), 0); /* the socket is gone */
	struct metrics_cfg cfg = {.listen = "unix:/tmp/m.sock", .p = p};
	assert_null(metrics_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "others may write"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_format),          cmocka_unit_test(s3_names_are_escaped),
		cmocka_unit_test(s3_million_paths),    cmocka_unit_test(pages),
		cmocka_unit_test(c8_hundred_scrapers), cmocka_unit_test(c8_port_in_use),
		cmocka_unit_test(unix_socket),         cmocka_unit_test(reloads_are_told),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
