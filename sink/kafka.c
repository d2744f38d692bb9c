/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka by librdkafka: calls to TOPIC, ledgers to TOPIC.ledger. The record's bytes are handed over
 * as they are; its struct lies behind them in the same block and is the opaque, so it lives until
 * the delivery report. Why each setting: docs/operating.md.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sink/kafka_conf.h"
#include "sink/kafka_embedded.h"
#include "sink/sink.h"

/* The mock keeps about 5 MB a partition and drops the rest silently. */
/* The mock keeps 5 MB a partition; it is gone with the process, LINGER after the last record. */
enum {
	EMBEDDED_PROVABLE_BYTES = 4000000,
	EMBEDDED_LINGER_MS = 1000,
	CHECK_MS = 5000,
	PURGE_MS = 5000
};

struct kafka {
	struct kafka_client client; /* first: the handle's opaque */
	struct sink_cfg cfg;
	struct kafka_spec spec;
	struct kafka_embedded *embedded;
	const char *brokers;
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic[2]; /* by enum record_kind */
	int event;
	uint64_t held_records, held_bytes;
	uint64_t calls, acked_bytes, failed; /* calls: acknowledged last parts */
	bool overflowed; /* embedded: over what it keeps */
	char status[480];
};

static const struct kafka_setting settings[] = {
	{"enable.idempotence", "true"},
	{"max.in.flight.requests.per.connection", "1"},
	{"compression.codec", "zstd"},
	{"compression.level", "1"},
	{"linger.ms", "50"},
	{"batch.size", "1000000"},
	{"queue.buffering.max.kbytes", "32768"},
	{"queue.buffering.max.messages", "1000000"},
	{"message.timeout.ms", "0"},
	{"socket.timeout.ms", "10000"},
	{"socket.connection.setup.timeout.ms", "5000"},
};

static struct kafka *kafka_of(struct sink *s)
{
	return (struct kafka *)s;
}

/* librdkafka's name of the error in lower case without leading "_": static for each error */
static const char *error_name(rd_kafka_resp_err_t err)
{
	enum { BASE = 200, NAMES = 400, NAME = 48 };
	static char names[NAMES][NAME];
	int i = (int)err + BASE;
	if (i < 0 || i >= NAMES)
		return "unknown_error";
	if (names[i][0])
		return names[i];
	const char *from = rd_kafka_err2name(err);
	size_t n = 0;
	for (from += strspn(from, "_"); *from && n < NAME - 1; from++)
		if (*from != '?')
			names[i][n++] = (char)(*from >= 'A' && *from <= 'Z' ? *from | 0x20 : *from);
	return names[i][0] ? names[i] : "unknown_error";
}

static const char *exit_name(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR__QUEUE_FULL: return "queue_full";
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return "too_large";
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: return "timed_out";
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return "unknown_topic";
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return "authorization";
	case RD_KAFKA_RESP_ERR__FATAL: return "fatal";
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT: return "purged";
	default: return error_name(err);
	}
}

static void count_acked(struct kafka *k, const struct record *r)
{
	k->calls += r->kind == RECORD_CALL && r->last_part;
	k->acked_bytes += r->n;
	if (!k->embedded || k->overflowed || k->acked_bytes <= EMBEDDED_PROVABLE_BYTES)
		return;
	k->overflowed = true;
	log_warn("the embedded Kafka got more than %d MB and drops the oldest records from now on: "
		 "nothing is provable; use a real broker or file:DIR",
		 EMBEDDED_PROVABLE_BYTES / 1000000);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct kafka *k = opaque;
	const struct record *r = m->_private;
	const char *exit = NULL;
	(void)rk;
	if (m->err)
		exit = rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED
			       ? "possibly_persisted"
			       : exit_name(m->err);
	if (exit)
		k->failed++;
	else
		count_acked(k, r);
	k->client.all_down = k->client.all_down && exit;
	k->held_records--;
	k->held_bytes -= r->n;
	if (k->cfg.report)
		k->cfg.report(k->cfg.report_ctx, r->kind, r->number, r->last_part, exit);
}

static void kafka_close(struct sink *s)
{
	struct kafka *k = kafka_of(s);
	if (!k)
		return;
	k->client.quiet = true;
	if (k->embedded && k->acked_bytes) /* its readers get a moment for what came last */
		poll(NULL, 0, EMBEDDED_LINGER_MS);
	if (k->rk) {
		rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		while (k->held_records && rd_kafka_poll(k->rk, 100) > 0)
			;
	}
	for (int i = 0; i < 2; i++)
		if (k->topic[i])
			rd_kafka_topic_destroy(k->topic[i]);
	if (k->rk)
		rd_kafka_destroy(k->rk);
	kafka_client_fini(&k->client);
	kafka_embedded_free(k->embedded);
	kafka_spec_fini(&k->spec);
	if (k->event >= 0)
		close(k->event);
	free(k);
}

/* Ports of the brokers of the embedded cluster: both ends of its connections are our own. */
static void mark_brokers(struct kafka *k)
{
	for (const char *p = k->brokers; (p = strchr(p, ':')); p++)
		kafka_client_port(&k->client, (uint16_t)atoi(p + 1), true);
}

static int connect_brokers(struct kafka *k, char *err, size_t err_n)
{
	if (k->spec.embedded) {
		k->embedded = kafka_embedded_new(k->spec.topic, k->spec.ledger_topic, err, err_n);
		if (!k->embedded)
			return -EIO;
	}
	k->brokers = k->embedded ? kafka_embedded_bootstrap(k->embedded) : k->spec.brokers;
	if (k->embedded)
		mark_brokers(k);
	rd_kafka_conf_t *conf =
		kafka_conf_new(&k->spec, settings, sizeof(settings) / sizeof(*settings), k->brokers,
			       &k->client, err, err_n);
	if (!conf)
		return -EINVAL;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, err_n);
	if (!k->rk)
		rd_kafka_conf_destroy(conf);
	return k->rk ? 0 : -EINVAL;
}

static int check_topics(struct kafka *k, char *err, size_t err_n)
{
	const char *names[2] = {k->spec.topic, k->spec.ledger_topic};
	for (int i = 0; i < 2; i++) {
		k->topic[i] = rd_kafka_topic_new(k->rk, names[i], NULL);
		if (!k->topic[i])
			return -ENOMEM;
		int n = kafka_conf_topic(k->rk, &k->client, k->brokers, k->topic[i], CHECK_MS, err,
					 err_n);
		if (n < 0)
			return n;
	}
	return 0;
}

static int watch_events(struct kafka *k)
{
	static const uint64_t one = 1;
	k->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->event < 0)
		return -errno;
	rd_kafka_queue_t *q = rd_kafka_queue_get_main(k->rk);
	rd_kafka_queue_io_event_enable(q, k->event, &one, sizeof(one));
	rd_kafka_queue_destroy(q);
	return 0;
}

static struct sink *kafka_open(const struct sink_cfg *cfg, char *err, size_t err_n)
{
	struct kafka *k = calloc(1, sizeof(*k));
	snprintf(err, err_n, "kafka: no memory or file descriptor left");
	if (!k)
		return NULL;
	k->cfg = *cfg;
	k->event = -1;
	k->client.own_port = cfg->own_port;
	k->client.own_port_ctx = cfg->own_port_ctx;
	k->client.quiet = true;
	kafka_client_init(&k->client);
	if (kafka_spec_parse(&k->spec, cfg->spec, err, err_n) != 0 ||
	    connect_brokers(k, err, err_n) != 0 || check_topics(k, err, err_n) != 0 ||
	    watch_events(k) != 0) {
		kafka_close((struct sink *)k);
		return NULL;
	}
	k->client.quiet = false;
	k->client.all_down = false;
	k->client.last_error[0] = 0;
	return (struct sink *)k;
}

static int64_t clamped_ms(uint64_t unix_ns)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	int64_t at = (int64_t)(unix_ns / 1000000);
	return at == 0 || at > now ? now : at;
}

static void add_header(rd_kafka_headers_t *h, const char *name, struct bytes value)
{
	if (value.n)
		rd_kafka_header_add(h, name, -1, value.p, (ssize_t)value.n);
}

static rd_kafka_headers_t *headers_of(const struct record *r)
{
	rd_kafka_headers_t *h = rd_kafka_headers_new(4);
	add_header(h, "protocol", record_bytes(r, r->protocol));
	add_header(h, "service", record_bytes(r, r->service));
	add_header(h, "method", record_bytes(r, r->method));
	add_header(h, "content-type",
		   r->kind == RECORD_CALL
			   ? BYTES("application/x-protobuf; messageType=sidetap.v1.Call")
			   : BYTES("application/x-protobuf; messageType=sidetap.v1.Ledger"));
	return h;
}

static int submit_errno(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR__QUEUE_FULL: return -EAGAIN;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return -E2BIG;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: return -EACCES;
	default: return -EIO;
	}
}

static int kafka_submit(struct sink *s, struct record **rp, const char **exit)
{
	struct kafka *k = kafka_of(s);
	struct record *r = *rp;
	size_t n = r->n;
	rd_kafka_headers_t *headers = headers_of(r);
	struct bytes key = record_bytes(r, r->key);

	rd_kafka_resp_err_t err = rd_kafka_producev(
		k->rk, RD_KAFKA_V_RKT(k->topic[r->kind]), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE),
		RD_KAFKA_V_VALUE(r->data, n), RD_KAFKA_V_KEY(key.p, key.n),
		RD_KAFKA_V_TIMESTAMP(clamped_ms(r->unix_ns)), RD_KAFKA_V_HEADERS(headers),
		RD_KAFKA_V_OPAQUE(r), RD_KAFKA_V_END);
	if (err) {
		rd_kafka_headers_destroy(headers);
		*exit = exit_name(err);
		return submit_errno(err);
	}
	k->held_records++;
	k->held_bytes += n;
	*rp = NULL;
	return 0;
}

static int kafka_fd(struct sink *s)
{
	return kafka_of(s)->event;
}

/* The event fires when the queue stops being empty: it must be emptied here. */
static void kafka_service(struct sink *s)
{
	eventfd_t v;
	eventfd_read(kafka_of(s)->event, &v);
	while (rd_kafka_poll(kafka_of(s)->rk, 0) > 0)
		;
}

static int kafka_drain(struct sink *s, int timeout_ms)
{
	struct kafka *k = kafka_of(s);
	rd_kafka_flush(k->rk, timeout_ms);
	kafka_service(s);
	if (!k->held_records)
		return 0;
	rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	for (int waited = 0; k->held_records && waited < PURGE_MS; waited += 10)
		rd_kafka_poll(k->rk, 10);
	return -ETIMEDOUT;
}

static bool kafka_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	*records = kafka_of(s)->held_records;
	*bytes = kafka_of(s)->held_bytes;
	return *records != 0;
}

static const char *kafka_status(struct sink *s)
{
	struct kafka *k = kafka_of(s);
	const char *error = k->client.last_error;
	snprintf(k->status, sizeof(k->status),
		 "acknowledged %llu calls, %llu bytes; waiting %llu, failed %llu%s%s%s",
		 (unsigned long long)k->calls, (unsigned long long)k->acked_bytes,
		 (unsigned long long)k->held_records, (unsigned long long)k->failed,
		 k->client.all_down ? "; no broker is reachable" : "",
		 error[0] ? "; last error: " : "", error);
	return k->status;
}

static bool kafka_ledger_provable(struct sink *s)
{
	return !kafka_of(s)->overflowed;
}

const struct sink_ops sink_kafka = {
	.scheme = "kafka",
	.open = kafka_open,
	.submit = kafka_submit,
	.fd = kafka_fd,
	.service = kafka_service,
	.drain = kafka_drain,
	.held = kafka_held,
	.status = kafka_status,
	.ledger_provable = kafka_ledger_provable,
	.close = kafka_close,
};
