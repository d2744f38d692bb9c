/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a topic, its ledger topic, or both, all partitions from their beginning; ends at the
 * offsets that were the end at open, unless it follows. No consumer group: nothing is committed,
 * nobody is disturbed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "sink/kafka_conf.h"
#include "sink/source.h"

enum { SOURCE_OPEN_MS = 5000, SOURCE_POLL_MS = 250, SOURCE_STALL_MS = 30000 };

struct part {
	int64_t end; /* ends before this offset */
	bool started, done;
};

struct topic {
	rd_kafka_topic_t *rkt; /* NULL: not wanted */
	struct part *parts;
	int n;
};

struct consumer {
	struct kafka_client client; /* first: the handle's opaque */
	struct kafka_spec spec;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	struct topic topic[2]; /* by enum record_kind */
	unsigned open_parts;
	bool follow;
	rd_kafka_message_t *message; /* the one whose bytes are out */
};

static const struct kafka_setting settings[] = {
	{"enable.partition.eof", "true"},
	{"auto.offset.reset", "earliest"},
	{"check.crcs", "true"},
	{"socket.timeout.ms", "10000"},
	{"fetch.wait.max.ms", "100"},
	{"queued.max.messages.kbytes", "16384"},
	{"allow.auto.create.topics", "false"},
};

static void consumer_close(struct source *s)
{
	struct consumer *c = (struct consumer *)s;
	if (!c)
		return;
	if (c->message)
		rd_kafka_message_destroy(c->message);
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < c->topic[k].n; i++)
			if (c->topic[k].parts[i].started)
				rd_kafka_consume_stop(c->topic[k].rkt, i);
		if (c->topic[k].rkt)
			rd_kafka_topic_destroy(c->topic[k].rkt);
		free(c->topic[k].parts);
	}
	if (c->queue)
		rd_kafka_queue_destroy(c->queue);
	if (c->rk)
		rd_kafka_destroy(c->rk);
	kafka_client_fini(&c->client);
	kafka_spec_fini(&c->spec);
	free(c);
}

static int start_partition(struct consumer *c, struct topic *t, int i, char *err, size_t err_n)
{
	int64_t low = 0, high = 0;
	const char *name = rd_kafka_topic_name(t->rkt);
	rd_kafka_resp_err_t e =
		rd_kafka_query_watermark_offsets(c->rk, name, i, &low, &high, SOURCE_OPEN_MS);
	if (e) {
		snprintf(err, err_n, "kafka: offsets of %s, partition %d: %s", name, i,
			 rd_kafka_err2str(e));
		return -EIO;
	}
	t->parts[i].end = high;
	t->parts[i].done = !c->follow && low >= high;
	if (t->parts[i].done)
		return 0;
	if (rd_kafka_consume_start_queue(t->rkt, i, RD_KAFKA_OFFSET_BEGINNING, c->queue) != 0) {
		snprintf(err, err_n, "kafka: reading %s: %s", name,
			 rd_kafka_err2str(rd_kafka_last_error()));
		return -EIO;
	}
	t->parts[i].started = true;
	c->open_parts++;
	return 0;
}

static int start_topic(struct consumer *c, enum record_kind kind, const char *name, char *err,
		       size_t err_n)
{
	struct topic *t = &c->topic[kind];
	t->rkt = rd_kafka_topic_new(c->rk, name, NULL);
	if (!t->rkt)
		return -ENOMEM;
	int n = kafka_conf_topic(c->rk, &c->client, c->spec.brokers, t->rkt, SOURCE_OPEN_MS, err,
				 err_n);
	if (n < 0)
		return n;
	t->parts = calloc((size_t)n, sizeof(*t->parts));
	if (!t->parts)
		return -ENOMEM;
	t->n = n;
	for (int i = 0; i < n; i++) {
		int e = start_partition(c, t, i, err, err_n);
		if (e)
			return e;
	}
	return 0;
}

static int start(struct consumer *c, const struct source_cfg *cfg, char *err, size_t err_n)
{
	int e = kafka_spec_parse(&c->spec, cfg->spec, err, err_n);
	if (e)
		return e;
	if (c->spec.embedded) {
		snprintf(
			err, err_n,
			"kafka:embedded lives in the capturing process: use kafka://HOST:PORT/TOPIC with the "
			"bootstrap.servers that it printed");
		return -EINVAL;
	}
	rd_kafka_conf_t *conf =
		kafka_conf_new(&c->spec, settings, sizeof(settings) / sizeof(*settings),
			       c->spec.brokers, &c->client, err, err_n);
	if (!conf)
		return -EINVAL;
	c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, err_n);
	if (!c->rk) {
		rd_kafka_conf_destroy(conf);
		return -EINVAL;
	}
	c->queue = rd_kafka_queue_new(c->rk);
	if (cfg->calls)
		e = start_topic(c, RECORD_CALL, c->spec.topic, err, err_n);
	if (e == 0 && cfg->ledgers)
		e = start_topic(c, RECORD_LEDGER, c->spec.ledger_topic, err, err_n);
	return e;
}

static struct source *consumer_open(const struct source_cfg *cfg, char *err, size_t err_n)
{
	struct consumer *c = calloc(1, sizeof(*c));
	snprintf(err, err_n, "kafka: no memory");
	if (!c)
		return NULL;
	c->follow = cfg->follow;
	c->client.quiet = true;
	kafka_client_init(&c->client);
	if (start(c, cfg, err, err_n) != 0) {
		consumer_close((struct source *)c);
		return NULL;
	}
	return (struct source *)c;
}

static int64_t now_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_MONOTONIC) / 1000000);
}

static void reached(struct consumer *c, struct part *p, int64_t next)
{
	if (c->follow || p->done || next < p->end)
		return;
	p->done = true;
	c->open_parts--;
}

static struct topic *topic_of(struct consumer *c, const rd_kafka_message_t *m)
{
	return m->rkt == c->topic[RECORD_CALL].rkt ? &c->topic[RECORD_CALL]
						   : &c->topic[RECORD_LEDGER];
}

/* 1: m is a wanted record. 0: look further. -errno: err says why. */
static int take(struct consumer *c, const rd_kafka_message_t *m, char *err, size_t err_n)
{
	struct topic *t = topic_of(c, m);
	struct part *p = m->partition >= 0 && m->partition < t->n ? &t->parts[m->partition] : NULL;
	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (p)
			reached(c, p, p->end); /* what is not there by now was taken away */
		return 0;
	}
	if (m->err == RD_KAFKA_RESP_ERR__BAD_MSG)
		return -EBADMSG;
	if (m->err) {
		snprintf(err, err_n, "kafka: reading %s: %s", rd_kafka_topic_name(t->rkt),
			 rd_kafka_err2str(m->err));
		return -EIO;
	}
	bool wanted = p && (c->follow || (!p->done && m->offset < p->end));
	if (p)
		reached(c, p, m->offset + 1);
	return wanted;
}

static int consumer_next(struct source *s, struct bytes *data, enum record_kind *kind, char *err,
			 size_t err_n)
{
	struct consumer *c = (struct consumer *)s;
	int64_t due = now_ms() + SOURCE_STALL_MS;
	if (c->message)
		rd_kafka_message_destroy(c->message);
	c->message = NULL;
	while (c->open_parts) {
		rd_kafka_poll(c->rk, 0);
		rd_kafka_message_t *m = rd_kafka_consume_queue(c->queue, SOURCE_POLL_MS);
		int e = m ? take(c, m, err, err_n) : 0;
		if (e == 1) {
			c->message = m;
			*data = bytes_of(m->payload, m->len);
			*kind = topic_of(c, m) == &c->topic[RECORD_CALL] ? RECORD_CALL
									 : RECORD_LEDGER;
			return 1;
		}
		if (m)
			rd_kafka_message_destroy(m);
		if (e < 0)
			return e;
		if (!m && !c->follow && now_ms() > due) {
			snprintf(err, err_n, "kafka: %s sent nothing for %d s%s%s", c->spec.brokers,
				 SOURCE_STALL_MS / 1000, c->client.last_error[0] ? ": " : "",
				 c->client.last_error);
			return -ETIMEDOUT;
		}
	}
	return 0;
}

const struct source_ops source_kafka = {
	.scheme = "kafka",
	.open = consumer_open,
	.next = consumer_next,
	.close = consumer_close,
};
