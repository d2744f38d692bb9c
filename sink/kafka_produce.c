/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle of librdkafka: records go in as they are (no copy: their bytes stay ours until the delivery report),
 * reports come out. Why each setting: docs/operating.md.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka_state.h"

/* The mock keeps about 5 MB a partition and drops the rest silently. */
enum {
	EMBEDDED_PROVABLE_BYTES = 4000000,
	N_SETTINGS = 11,
	BATCH_SETTING = 5,
	MESSAGES_SETTING = 7
};
/* A purge gives all of them back in one go, at 0.8 us each: what is more goes to the spool at once. */
#define MESSAGES_WITH_SPOOL "10000"

static const struct kafka_setting defaults[N_SETTINGS] = {
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

const char *kafka_exit_name(rd_kafka_resp_err_t err)
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

void kafka_report(struct kafka *k, struct record *r, const char *exit)
{
	if (!r->foreign && k->cfg.report)
		k->cfg.report(k->cfg.report_ctx, r->kind, r->number, r->last_part, exit);
	k->failed += exit != NULL;
	record_free(r);
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
	struct record *r = m->_private;
	bool maybe = rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED;
	k->held_records--;
	k->held_bytes -= r->n;
	k->solo_held -= rk == k->solo;
	if (m->err) {
		kafka_returned(k, r, m->err, maybe, rk == k->solo);
		return;
	}
	k->client.all_down = false;
	count_acked(k, r);
	kafka_acked(k, r);
	kafka_report(k, r, NULL);
}

static void event_watch(struct kafka *k)
{
	static const uint64_t one = 1;
	k->queue = rd_kafka_queue_get_main(k->rk);
	rd_kafka_queue_io_event_enable(k->queue, k->event, &one, sizeof(one));
}

static rd_kafka_t *handle_new(struct kafka *k, bool solo, char *err, size_t err_n)
{
	struct kafka_setting settings[N_SETTINGS + 1];
	memcpy(settings, defaults, sizeof(defaults));
	if (k->batch_size[0])
		settings[BATCH_SETTING].value = k->batch_size;
	if (k->spool)
		settings[MESSAGES_SETTING].value = MESSAGES_WITH_SPOOL;
	settings[N_SETTINGS] = (struct kafka_setting) {"batch.num.messages", "1"};
	rd_kafka_conf_t *conf = kafka_conf_new(&k->spec, settings, N_SETTINGS + solo, k->brokers,
					       &k->client, err, err_n);
	if (!conf)
		return NULL;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, err_n);
	if (!rk)
		rd_kafka_conf_destroy(conf);
	return rk;
}

static int topics_new(const struct kafka *k, rd_kafka_t *rk, rd_kafka_topic_t *topic[2])
{
	topic[RECORD_CALL] = rd_kafka_topic_new(rk, k->spec.topic, NULL);
	topic[RECORD_LEDGER] = rd_kafka_topic_new(rk, k->spec.ledger_topic, NULL);
	return topic[RECORD_CALL] && topic[RECORD_LEDGER] ? 0 : -ENOMEM;
}

int kafka_handle_open(struct kafka *k, char *err, size_t err_n)
{
	k->rk = handle_new(k, false, err, err_n);
	if (!k->rk)
		return -EINVAL;
	event_watch(k);
	return topics_new(k, k->rk, k->topic);
}

static int solo_open(struct kafka *k)
{
	char err[256];
	if (k->solo)
		return 0;
	k->solo = handle_new(k, true, err, sizeof(err));
	return k->solo ? topics_new(k, k->solo, k->solo_topic) : -ENOMEM;
}

static void *destroy(void *rk)
{
	rd_kafka_destroy(rk);
	return NULL;
}

static void *purge(void *arg)
{
	struct kafka *k = arg;
	rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE);
	atomic_store(&k->purged, true);
	eventfd_write(k->event, 1);
	return NULL;
}

void kafka_purge_begin(struct kafka *k)
{
	if (k->purging)
		return;
	atomic_store(&k->purged, false);
	k->purging = pthread_create(&k->purger, NULL, purge, k) == 0;
	if (!k->purging)
		rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void kafka_purge_end(struct kafka *k)
{
	if (k->purging)
		pthread_join(k->purger, NULL);
	k->purging = false;
}

static void topics_end(rd_kafka_topic_t *topic[2])
{
	for (int i = 0; i < 2; i++) {
		if (topic[i])
			rd_kafka_topic_destroy(topic[i]);
		topic[i] = NULL;
	}
}

static void queue_end(struct kafka *k)
{
	if (k->queue)
		rd_kafka_queue_destroy(k->queue);
	k->queue = NULL;
}

void kafka_handles_end(struct kafka *k)
{
	kafka_purge_end(k);
	queue_end(k);
	topics_end(k->topic);
	topics_end(k->solo_topic);
	if (k->solo)
		rd_kafka_destroy(k->solo);
	if (k->rk)
		rd_kafka_destroy(k->rk);
	k->solo = k->rk = NULL;
}

/* Its threads may take seconds to end: not on the loop. */
static void handle_end(rd_kafka_t *rk, rd_kafka_topic_t *topic[2])
{
	pthread_t t;
	topics_end(topic);
	if (pthread_create(&t, NULL, destroy, rk) == 0)
		pthread_detach(t);
	else
		rd_kafka_destroy(rk);
}

void kafka_handle_close(struct kafka *k)
{
	kafka_purge_end(k);
	queue_end(k);
	if (k->rk)
		handle_end(k->rk, k->topic);
	k->rk = NULL;
}

static int64_t clamped_ms(uint64_t unix_ns)
{
	int64_t now = (int64_t)(clock_ns(CLOCK_REALTIME) / 1000000);
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

rd_kafka_resp_err_t kafka_produce(struct kafka *k, struct record *r, bool solo)
{
	if (solo && solo_open(k) < 0)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	rd_kafka_headers_t *headers = headers_of(r);
	struct bytes key = record_bytes(r, r->key);
	rd_kafka_resp_err_t err = rd_kafka_producev(
		solo ? k->solo : k->rk, RD_KAFKA_V_RKT((solo ? k->solo_topic : k->topic)[r->kind]),
		RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_VALUE(r->data, r->n),
		RD_KAFKA_V_KEY(key.p, key.n), RD_KAFKA_V_TIMESTAMP(clamped_ms(r->unix_ns)),
		RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(r), RD_KAFKA_V_END);
	if (err) {
		rd_kafka_headers_destroy(headers);
		return err;
	}
	if (k->held_records == k->solo_held)
		k->progress_ns = clock_ns(CLOCK_MONOTONIC);
	k->duplicates_possible += r->maybe_there || r->foreign;
	k->held_records++;
	k->held_bytes += r->n;
	k->solo_held += solo;
	return 0;
}
