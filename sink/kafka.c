/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka sink: calls to TOPIC, ledgers to TOPIC.ledger; what Kafka does not take goes through the spool. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka_state.h"

enum {
	EMBEDDED_LINGER_MS = 1000,
	CHECK_MS = 5000,
	CHECK_SPOOL_MS =
		1500, /* the spool takes what a late answer misses: the start does not wait */
	TICK_MS = 100,
	ADMIN_MS = 3000
};
/* Of a batch that just fits into a topic's max.message.bytes: room for its own header */
enum { BATCH_MAX = 1000000, BATCH_MARGIN = 1024 };

static struct kafka *kafka_of(struct sink *s)
{
	return (struct kafka *)s;
}

static void kafka_close(struct sink *s)
{
	struct kafka *k = kafka_of(s);
	if (!k)
		return;
	k->client.quiet = true;
	if (k->embedded && k->acked_bytes) /* its readers get a moment for what came last */
		poll(NULL, 0, EMBEDDED_LINGER_MS);
	if (k->rk && k->held_records)
		kafka_finish(k, 0);
	kafka_handles_end(k);
	spool_close(k->spool, 1000);
	taken_fini(&k->retry);
	taken_fini(&k->behind);
	taken_fini(&k->suspects);
	kafka_client_fini(&k->client);
	kafka_embedded_free(k->embedded);
	kafka_spec_fini(&k->spec);
	const int fds[] = {k->event, k->timer, k->epoll};
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(k);
}

/* Ports of the brokers of the embedded cluster: both ends of its connections are our own. */
static void mark_brokers(struct kafka *k)
{
	for (const char *p = k->brokers; (p = strchr(p, ':')); p++)
		kafka_client_port(&k->client, (uint16_t)atoi(p + 1), true);
}

static int open_handle(struct kafka *k, char *err, size_t err_n)
{
	const char *caveat = kafka_spec_caveat(&k->spec, rd_kafka_version());
	if (caveat)
		log_warn("kafka: %s (this is %s)", caveat, rd_kafka_version_str());
	if (k->spec.embedded) {
		k->embedded = kafka_embedded_new(k->spec.topic, k->spec.ledger_topic, err, err_n);
		if (!k->embedded)
			return -EIO;
	}
	k->brokers = k->embedded ? kafka_embedded_bootstrap(k->embedded) : k->spec.brokers;
	if (k->embedded)
		mark_brokers(k);
	return kafka_handle_open(k, err, err_n);
}

static int check_topics(struct kafka *k, char *err, size_t err_n)
{
	for (int i = 0; i < 2; i++) {
		int n = kafka_conf_topic(k->rk, &k->client, k->brokers, k->topic[i],
					 k->spool ? CHECK_SPOOL_MS : CHECK_MS, err, err_n);
		if (n < 0)
			return n;
	}
	return 0;
}

/* A batch is never split: one that is larger than the topic allows fails whole. */
static int fit_batches(struct kafka *k, char *err, size_t err_n)
{
	uint64_t max =
		kafka_conf_topic_max(k->rk, k->spec.topic, k->spool ? CHECK_SPOOL_MS : ADMIN_MS);
	if (max == 0 || max >= BATCH_MAX + BATCH_MARGIN)
		return 0;
	snprintf(k->batch_size, sizeof(k->batch_size), "%llu",
		 (unsigned long long)(max > 2 * BATCH_MARGIN ? max - BATCH_MARGIN : max));
	log_info("kafka: topic '%s' takes %llu bytes a batch", k->spec.topic,
		 (unsigned long long)max);
	kafka_handle_close(k);
	return kafka_handle_open(k, err, err_n);
}

static int watch(struct kafka *k)
{
	const struct itimerspec tick = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};
	struct epoll_event ev = {.events = EPOLLIN};
	if (k->timer < 0 || k->epoll < 0 || timerfd_settime(k->timer, 0, &tick, NULL) < 0 ||
	    epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->event, &ev) < 0 ||
	    epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->timer, &ev) < 0)
		return -errno;
	if (k->spool && epoll_ctl(k->epoll, EPOLL_CTL_ADD, spool_fd(k->spool), &ev) < 0)
		return -errno;
	return 0;
}

/* A record of ours in the spool: stored is no news for anybody, lost is. */
static void on_stored(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      uint64_t bytes, const char *exit)
{
	struct kafka *k = ctx;
	(void)bytes;
	if (!exit) {
		if (k->cfg.stored)
			k->cfg.stored(k->cfg.report_ctx, kind, number);
		return;
	}
	k->failed += strcmp(exit, "spooled") != 0;
	if (k->cfg.report)
		k->cfg.report(k->cfg.report_ctx, kind, number, last_part, exit);
}

static int open_spool(struct kafka *k, char *err, size_t err_n)
{
	if (!k->cfg.spool || !k->cfg.spool[0])
		return 0;
	struct spool_cfg c = {.dir = k->cfg.spool,
			      .max_bytes = k->cfg.spool_bytes,
			      .instance = k->cfg.instance,
			      .stored = on_stored,
			      .ctx = k};
	k->spool = spool_open(&c, err, err_n);
	return k->spool ? 0 : -EIO;
}

/* With a spool, a Kafka that is not there yet is an outage like any other (K1); a topic that is not there is said. */
static int first_contact(struct kafka *k, char *err, size_t err_n)
{
	int e = check_topics(k, err, err_n);
	if (e == 0)
		e = fit_batches(k, err, err_n);
	if (e == 0)
		kafka_look_at_cluster(k, CHECK_SPOOL_MS);
	if (e == 0 || !k->spool)
		return e;
	log_warn("%s; records go to the spool until it does", err);
	k->direct = false;
	k->outages++;
	return 0;
}

static struct kafka *kafka_new(const struct sink_cfg *cfg)
{
	struct kafka *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->cfg = *cfg;
	k->direct = true;
	k->window = 1;
	k->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	k->client.own_port = cfg->own_port;
	k->client.own_port_ctx = cfg->own_port_ctx;
	k->client.quiet = true;
	taken_init(&k->retry);
	taken_init(&k->behind);
	taken_init(&k->suspects);
	kafka_client_init(&k->client);
	return k;
}

static struct sink *kafka_open(const struct sink_cfg *cfg, char *err, size_t err_n)
{
	struct kafka *k = kafka_new(cfg);
	snprintf(err, err_n, "kafka: no memory or file descriptor left");
	if (!k)
		return NULL;
	if (k->event < 0 || kafka_spec_parse(&k->spec, cfg->spec, err, err_n) != 0 ||
	    open_spool(k, err, err_n) != 0 || open_handle(k, err, err_n) != 0 ||
	    first_contact(k, err, err_n) != 0 || watch(k) != 0) {
		kafka_close((struct sink *)k);
		return NULL;
	}
	k->client.quiet = false;
	k->client.all_down = false;
	k->client.last_error[0] = 0;
	return (struct sink *)k;
}

static int kafka_submit(struct sink *s, struct record **rp, const char **exit)
{
	return kafka_route(kafka_of(s), rp, exit);
}

static int kafka_fd(struct sink *s)
{
	return kafka_of(s)->epoll;
}

/* The event fires when librdkafka's queue stops being empty; what a full turn leaves is there at the next tick. */
static void kafka_service(struct sink *s)
{
	struct kafka *k = kafka_of(s);
	uint64_t ticks;
	eventfd_t v;
	eventfd_read(k->event, &v);
	kafka_poll(k);
	if (k->spool)
		spool_service(k->spool);
	if (read(k->timer, &ticks, sizeof(ticks)) > 0)
		kafka_tick(k);
	else if (k->spool || k->retry.first)
		kafka_pump(k);
}

static int kafka_drain(struct sink *s, int timeout_ms)
{
	return kafka_finish(kafka_of(s), timeout_ms);
}

/* Taken and not reported: with librdkafka, waiting for another try, and what of ours is on disk. */
static bool kafka_held(struct sink *s, uint64_t *records, uint64_t *bytes)
{
	struct kafka *k = kafka_of(s);
	*records = k->held_records + k->retry.records + k->behind.records + k->suspects.records;
	*bytes = k->held_bytes + k->retry.bytes + k->behind.bytes + k->suspects.bytes;
	if (k->spool) {
		struct spool_stats st = spool_stats(k->spool);
		*records += st.waiting + st.resident;
		*bytes += st.bytes;
	}
	return *records != 0;
}

static size_t spool_status(const struct kafka *k, char *out, size_t n)
{
	struct spool_stats st = spool_stats(k->spool);
	return (size_t)snprintf(
		out, n,
		"; spool: %llu records on disk, %llu found, %llu evicted, %llu broken, %llu errors%s%s",
		(unsigned long long)st.resident, (unsigned long long)st.found,
		(unsigned long long)st.evicted, (unsigned long long)st.broken,
		(unsigned long long)st.errors, st.failing ? ", failing: " : "",
		st.failing ? st.last_error : "");
}

static const char *kafka_status(struct sink *s)
{
	struct kafka *k = kafka_of(s);
	const char *error = k->client.last_error;
	size_t n = (size_t)snprintf(
		k->status, sizeof(k->status),
		"acknowledged %llu calls, %llu bytes; waiting %llu, failed %llu, maybe twice %llu%s%s%s",
		(unsigned long long)k->calls, (unsigned long long)k->acked_bytes,
		(unsigned long long)k->held_records, (unsigned long long)k->failed,
		(unsigned long long)k->duplicates_possible,
		k->wrong_cluster     ? "; the wrong cluster: nothing is sent"
		: k->client.all_down ? "; no broker is reachable"
				     : "",
		error[0] ? "; last error: " : "", error);
	if (k->spool && n < sizeof(k->status))
		spool_status(k, k->status + n, sizeof(k->status) - n);
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
