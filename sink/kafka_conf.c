/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf */
#endif
#include "sink/kafka_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sink/kafka_secret.h"
#include "sink/text.h"

enum { TOPIC_MAX = 242, /* Kafka's 249 less ".ledger" */ UNKNOWN_TOPIC_MS = 2000 };

/* RFC 3986 section 2.1. NULL: not well formed, or no memory. */
static char *percent_decode(const char *s, size_t n)
{
	CLEANUP_FREE char *out = malloc(n + 1);
	size_t k = 0;
	for (size_t i = 0; out && i < n; i++) {
		if (s[i] != '%') {
			out[k++] = s[i];
			continue;
		}
		if (i + 2 >= n || bytes_hex_digit((uint8_t)s[i + 1]) < 0 ||
		    bytes_hex_digit((uint8_t)s[i + 2]) < 0)
			return NULL;
		out[k++] = (char)(bytes_hex_digit((uint8_t)s[i + 1]) * 16 +
				  bytes_hex_digit((uint8_t)s[i + 2]));
		i += 2;
	}
	if (!out)
		return NULL;
	out[k] = 0;
	return strlen(out) == k ? take_ptr(out) : NULL;
}

static int parse_properties(struct kafka_spec *s, const char *p)
{
	while (*p) {
		size_t n = strcspn(p, "&"), eq = strcspn(p, "=&");
		if (n) {
			if (eq == 0 || eq >= n || s->n_properties == KAFKA_PROPERTIES_MAX)
				return -EINVAL;
			struct kafka_property *q = &s->properties[s->n_properties++];
			q->name = percent_decode(p, eq);
			q->value = percent_decode(p + eq + 1, n - eq - 1);
			if (!q->name || !q->value)
				return -EINVAL;
		}
		p += n + (p[n] == '&');
	}
	return 0;
}

static bool topic_ok(const char *s, size_t n)
{
	static const char ok[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return n > 0 && n <= TOPIC_MAX && strspn(s, ok) >= n && !(n == 1 && s[0] == '.') &&
	       !(n == 2 && s[0] == '.' && s[1] == '.');
}

static int parse(struct kafka_spec *s, const char *spec)
{
	const char *topic = "sidetap", *p = spec;
	size_t topic_n = strlen(topic);
	if (strncmp(spec, "embedded", 8) == 0 && strchr("/?", spec[8])) {
		s->embedded = true;
		p += 8;
	} else {
		size_t n = strncmp(p, "//", 2) == 0 ? strcspn(p + 2, "/?") : 0;
		if (n == 0 || p[2 + n] != '/')
			return -EINVAL;
		s->brokers = strndup(p + 2, n);
		p += 2 + n;
	}
	if (*p == '/') {
		topic = p + 1;
		topic_n = strcspn(topic, "?");
		p = topic + topic_n;
	}
	if (!topic_ok(topic, topic_n) || (!s->embedded && !s->brokers))
		return -EINVAL;
	s->topic = strndup(topic, topic_n);
	if (!s->topic || asprintf(&s->ledger_topic, "%s.ledger", s->topic) < 0)
		return -EINVAL;
	return *p == '?' ? parse_properties(s, p + 1) : 0;
}

/* Values that stand in files or the environment */
static int resolve(struct kafka_spec *s, char *err, size_t err_n)
{
	for (size_t i = 0; i < s->n_properties; i++) {
		struct kafka_property *p = &s->properties[i];
		snprintf(err, err_n, "kafka: no memory");
		char *value = kafka_secret(p->name, p->value, err, err_n);
		if (!value)
			return -EINVAL;
		free(p->value);
		p->value = value;
	}
	return 0;
}

int kafka_spec_parse(struct kafka_spec *s, const char *spec, char *err, size_t err_n)
{
	*s = (struct kafka_spec) {.embedded = false};
	if (parse(s, spec) == 0) {
		int e = resolve(s, err, err_n);
		if (e < 0)
			kafka_spec_fini(s);
		return e;
	}
	kafka_spec_fini(s);
	int shown = (int)strcspn(spec, "?"); /* a password may stand behind it */
	snprintf(
		err, err_n,
		"kafka:%.*s: allowed is kafka://HOST:PORT[,HOST:PORT...]/TOPIC[?property=value&...] with a topic "
		"of letters, digits and . _ -, or kafka:embedded[/TOPIC]",
		shown < 200 ? shown : 200, spec);
	return -EINVAL;
}

void kafka_spec_fini(struct kafka_spec *s)
{
	free(s->brokers);
	free(s->topic);
	free(s->ledger_topic);
	for (size_t i = 0; i < s->n_properties; i++) {
		free(s->properties[i].name);
		free(s->properties[i].value);
	}
	*s = (struct kafka_spec) {.embedded = false};
}

const char *kafka_spec_caveat(const struct kafka_spec *s, int version)
{
	enum { SCRAM_MENDED = 0x020601ff };
	for (size_t i = 0; i < s->n_properties && version < SCRAM_MENDED; i++)
		if (strncmp(s->properties[i].name, "sasl.mechanism", 14) == 0 &&
		    strncasecmp(s->properties[i].value, "SCRAM-", 6) == 0)
			return "librdkafka before 2.6.1 cannot do SCRAM with Kafka 4, which then says "
			       "that authentication failed: use PLAIN over TLS, a client certificate, or a newer "
			       "librdkafka";
	return NULL;
}

void kafka_client_init(struct kafka_client *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->n_closed = 0;
	c->last_error[0] = 0;
}

static void tell(struct kafka_client *c, uint16_t port, bool in_use)
{
	if (c->own_port && port)
		c->own_port(c->own_port_ctx, port, in_use);
}

/* Under lock: the oldest of the closed ports is given up. */
static void forget_oldest(struct kafka_client *c)
{
	tell(c, c->closed[0], false);
	memmove(c->closed, c->closed + 1, --c->n_closed * sizeof(*c->closed));
}

void kafka_client_fini(struct kafka_client *c)
{
	while (c->n_closed)
		forget_oldest(c);
	pthread_mutex_destroy(&c->lock);
}

void kafka_client_port(struct kafka_client *c, uint16_t port, bool in_use)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->n_closed; i++)
		if (c->closed[i] == port) {
			memmove(c->closed + i, c->closed + i + 1,
				(--c->n_closed - i) * sizeof(*c->closed));
			break;
		}
	if (in_use) {
		tell(c, port, true);
	} else {
		if (c->n_closed == KAFKA_PORTS_MAX)
			forget_oldest(c);
		c->closed[c->n_closed++] = port;
	}
	pthread_mutex_unlock(&c->lock);
}

static uint16_t local_port(int fd)
{
	struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof(a);
	if (getsockname(fd, (struct sockaddr *)&a, &n) != 0)
		return 0;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}

/* Binds before it connects: the port is known, and left out by the probe, before the first
 * packet. */
static int on_connect(int fd, const struct sockaddr *addr, int addr_n, const char *id, void *opaque)
{
	struct sockaddr_storage any = {.ss_family = addr->sa_family}; /* wildcard address, port 0 */
	(void)id;
	if (bind(fd, (struct sockaddr *)&any, (socklen_t)addr_n) == 0)
		kafka_client_port(opaque, local_port(fd), true);
	return connect(fd, addr, (socklen_t)addr_n) == 0 || errno == EINPROGRESS ? 0 : errno;
}

static int on_close(int fd, void *opaque)
{
	uint16_t port = local_port(fd);
	int e = close(fd);
	if (port)
		kafka_client_port(opaque, port, false);
	return e;
}

enum { SYSLOG_WARNING = 4 }; /* librdkafka's levels are those of syslog.h */

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
	struct kafka_client *c = rd_kafka_opaque(rk);
	if (level <= SYSLOG_WARNING && c && !c->quiet)
		log_warn("kafka: %s: %s", facility, line);
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	struct kafka_client *c = opaque;
	char fatal[200];
	if (err == RD_KAFKA_RESP_ERR__FATAL && rd_kafka_fatal_error(rk, fatal, sizeof(fatal)))
		reason = fatal;
	c->all_down = c->all_down || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
	if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !c->last_error[0])
		text_escape_buf(bytes_str(reason), c->last_error, sizeof(c->last_error));
}

static int conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *err,
		    size_t err_n)
{
	char why[300];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return 0;
	snprintf(err, err_n, "kafka: %s", why);
	return -EINVAL;
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_spec *s, const struct kafka_setting *settings,
				size_t n, const char *brokers, struct kafka_client *client,
				char *err, size_t err_n)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int e = conf_set(conf, "bootstrap.servers", brokers, err, err_n);
	for (size_t i = 0; i < n && e == 0; i++)
		e = conf_set(conf, settings[i].name, settings[i].value, err, err_n);
	for (size_t i = 0; i < s->n_properties && e == 0; i++)
		e = conf_set(conf, s->properties[i].name, s->properties[i].value, err, err_n);
	if (e) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	rd_kafka_conf_set_opaque(conf, client);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_connect_cb(conf, on_connect);
	rd_kafka_conf_set_closesocket_cb(conf, on_close);
	return conf;
}

static int64_t now_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_MONOTONIC) / 1000000);
}

static int topic_error(rd_kafka_resp_err_t e, const char *topic, const char *brokers, char *err,
		       size_t err_n)
{
	if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		snprintf(
			err, err_n,
			"kafka: topic '%s' does not exist at %s; create it: kafka-topics.sh --bootstrap-server %s "
			"--create --topic %s",
			topic, brokers, brokers, topic);
		return -ENOENT;
	}
	snprintf(err, err_n, "kafka: topic '%s' at %s: %s", topic, brokers, rd_kafka_err2str(e));
	return e == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ? -EACCES : -EIO;
}

/* One question. > 0: partitions. -EAGAIN: *e says why not yet. */
static int ask(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms, rd_kafka_resp_err_t *e)
{
	const struct rd_kafka_metadata *md;
	*e = rd_kafka_metadata(rk, 0, topic, &md, timeout_ms);
	if (*e)
		return -EAGAIN;
	int n = md->topic_cnt == 1 ? md->topics[0].partition_cnt : 0;
	*e = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	rd_kafka_metadata_destroy(md);
	return *e || n <= 0 ? -EAGAIN : n;
}

int kafka_conf_topic(rd_kafka_t *rk, struct kafka_client *c, const char *brokers,
		     rd_kafka_topic_t *topic, int timeout_ms, char *err, size_t err_n)
{
	int64_t start = now_ms(), left;
	rd_kafka_resp_err_t e = RD_KAFKA_RESP_ERR__TIMED_OUT;
	const char *name = rd_kafka_topic_name(topic);
	while ((left = start + timeout_ms - now_ms()) > 0) {
		int n = ask(rk, topic, (int)left, &e);
		rd_kafka_poll(rk, 0);
		if (n > 0)
			return n;
		/* a broker that creates topics by itself needs a moment */
		bool transient = e == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
				 e == RD_KAFKA_RESP_ERR_NO_ERROR ||
				 (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
				  now_ms() - start < UNKNOWN_TOPIC_MS);
		if (e > 0 && !transient)
			return topic_error(e, name, brokers, err, err_n);
		rd_kafka_poll(rk, 50);
	}
	if (e > 0)
		return topic_error(e, name, brokers, err, err_n);
	snprintf(err, err_n, "kafka: no broker answered at %s within %d s%s%s", brokers,
		 timeout_ms / 1000, c->last_error[0] ? ": " : "", c->last_error);
	return -ETIMEDOUT;
}

static uint64_t max_of(rd_kafka_event_t *ev)
{
	size_t n, m;
	const rd_kafka_DescribeConfigs_result_t *res = rd_kafka_event_DescribeConfigs_result(ev);
	const rd_kafka_ConfigResource_t **list =
		res ? rd_kafka_DescribeConfigs_result_resources(res, &n) : NULL;
	if (!list || n != 1 || rd_kafka_ConfigResource_error(list[0]))
		return 0;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(list[0], &m);
	for (size_t i = 0; i < m; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);
		if (value &&
		    strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0)
			return strtoull(value, NULL, 10);
	}
	return 0;
}

uint64_t kafka_conf_topic_max(rd_kafka_t *rk, const char *topic, int timeout_ms)
{
	char err[200];
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *o =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_AdminOptions_set_request_timeout(o, timeout_ms, err, sizeof(err));
	rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_DescribeConfigs(rk, &r, 1, o, q);
	rd_kafka_event_t *ev = rd_kafka_queue_poll(q, timeout_ms);
	uint64_t max = ev ? max_of(ev) : 0;
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_ConfigResource_destroy(r);
	rd_kafka_AdminOptions_destroy(o);
	rd_kafka_queue_destroy(q);
	return max;
}
