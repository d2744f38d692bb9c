/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/kafka_state.h"

enum {
	WINDOW_MAX = 4 << 20,
	STALL_NS_SECONDS = 5, /* held and nothing acknowledged: an outage */
	PURGE_MS = 3, /* for what a fatal handle gives back at once */
	POLL_BATCH_MS = 2, /* of reports in one go: the loop has other things to do */
	SPOOL_MS = 5000, /* at the end, for the disk */
	SETTLE_MS = 100, /* after the last record that a purge gave back */
	BEHIND_BYTES =
		40 << 20 /* wait for that at most: a whole queue, and as much as comes meanwhile */
};
#define SECOND 1000000000ull
#define MS     1000000ull

/* ---- into the spool ---- */

static const char *spool_exit(int e)
{
	return e == -ENOSPC ? "spool_no_space" : e == -EAGAIN ? "spool_behind" : "spool_io_error";
}

/* Nobody will ask again whether an attempt arrived. */
static const char *lost_exit(const struct record *r, int e)
{
	return r->maybe_there ? "possibly_persisted" : spool_exit(e);
}

/* From the spool first: it is older than what the capture gave. */
static bool is_older(const struct record *a, const struct record *b)
{
	if (a->token || b->token)
		return a->token && (!b->token || a->token < b->token);
	return a->number < b->number;
}

static struct record *merge(struct record *a, struct record *b)
{
	struct record *out = NULL, **tail = &out;
	while (a && b) {
		struct record **from = is_older(b, a) ? &b : &a;
		*tail = *from;
		*from = (*from)->next;
		tail = &(*tail)->next;
	}
	*tail = a ? a : b;
	return out;
}

/* Takes the longest rising run off the list. */
static struct record *run_take(struct record **list)
{
	struct record *first = *list, *at = first;
	while (at->next && !is_older(at->next, at))
		at = at->next;
	*list = at->next;
	at->next = NULL;
	return first;
}

/* A purge gives back what was queued before what was in flight, and of that the newer half first: a few long runs,
 * merged two by two, as carries of a binary counter. */
static void sort_by_age(struct taken *t)
{
	enum { LEVELS = 40 };
	struct record *level[LEVELS] = {NULL}, *list = t->first, *all = NULL;
	while (list) {
		struct record *run = run_take(&list);
		int i = 0;
		for (; i < LEVELS - 1 && level[i]; i++) {
			run = merge(level[i], run);
			level[i] = NULL;
		}
		level[i] = level[i] ? merge(level[i], run) : run;
	}
	for (int i = 0; i < LEVELS; i++)
		if (level[i])
			all = all ? merge(level[i], all) : level[i];
	t->first = all;
	t->tail = &t->first;
	while (*t->tail)
		t->tail = &(*t->tail)->next;
}

/* More of them may come, and in any order: all that is newer waits on. */
static void wait_behind(struct kafka *k, struct record *r)
{
	taken_push(&k->behind, r);
	k->behind_sorted = false;
	k->settle_ns = clock_ns(CLOCK_MONOTONIC) + SETTLE_MS * MS;
}

/* What waits in librdkafka comes back, in the reports of the next turns, and goes to the spool before anything newer
 * does; what is in flight stays. */
static void outage(struct kafka *k, const char *why)
{
	if (k->direct) {
		k->outages++;
		log_warn("kafka: %s: records go to the spool from now on", why);
	}
	k->direct = k->answered = false;
	k->window = 1;
	kafka_purge_begin(k);
	k->progress_ns = clock_ns(CLOCK_MONOTONIC);
	k->pause_ns = k->progress_ns + SECOND;
	k->settle_ns = k->progress_ns + SETTLE_MS * MS;
}

/* All that the purge gave back is here, in any order. */
static void purge_heard(struct kafka *k)
{
	kafka_purge_end(k);
	sort_by_age(&k->retry);
}

/* Nothing older may come any more. */
static bool is_settled(const struct kafka *k)
{
	return !k->purging && clock_ns(CLOCK_MONOTONIC) >= k->settle_ns;
}

/* What a purge gave back and what came meanwhile, by age, once that is over. */
static void behind_to_spool(struct kafka *k)
{
	if (!k->behind.first || !is_settled(k))
		return;
	if (!k->behind_sorted)
		sort_by_age(&k->behind);
	k->behind_sorted = true; /* what the capture adds is newer */
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + POLL_BATCH_MS * MS;
	while (k->behind.first && clock_ns(CLOCK_MONOTONIC) < end) {
		struct record *r = taken_pop(&k->behind);
		int e = spool_put(k->spool, &r);
		if (e == -EAGAIN) {
			taken_unshift(&k->behind, r);
			return;
		}
		if (e < 0)
			kafka_report(k, r, lost_exit(r, e));
	}
}

/* ---- what became of a record ---- */

void kafka_acked(struct kafka *k, const struct record *r)
{
	k->progress_ns = clock_ns(CLOCK_MONOTONIC);
	k->answered = true;
	if (!r->token)
		return;
	k->outstanding -= r->n;
	k->window = k->window < WINDOW_MAX / 2 ? 2 * k->window + r->n : WINDOW_MAX;
	spool_release(k->spool, r->token);
}

static void quarantine(struct kafka *k, struct record *r)
{
	k->quarantined++;
	if (r->token)
		spool_release(k->spool, r->token);
	kafka_report(k, r, "too_large");
}

void kafka_returned(struct kafka *k, struct record *r, rd_kafka_resp_err_t err, bool maybe_there,
		    bool solo)
{
	char text[8];
	r->maybe_there = r->maybe_there || maybe_there;
	if (!solo) /* a fatal error purges by itself, and that may be heard of before the error */
		k->renewing |= rd_kafka_fatal_error(k->rk, text, sizeof(text)) != 0;
	if (r->token)
		k->outstanding -= r->n;
	if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && solo)
		quarantine(k, r);
	else if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		taken_push(&k->suspects, r); /* one of its batch was too large: which one? */
	else if (r->token || k->renewing)
		taken_push(&k->retry, r);
	else if (k->spool)
		wait_behind(k, r);
	else
		kafka_report(k, r, r->maybe_there ? "possibly_persisted" : kafka_exit_name(err));
	bool purged =
		err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
	if (!k->returning && !k->renewing && !purged && err != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		k->trouble = err;
}

/* K11: the handle takes nothing any more. What it held goes to a new one, in its order. */
static void renew(struct kafka *k)
{
	char err[256];
	k->renewals++;
	k->renewing = true;
	log_warn("kafka: the producer failed (%s): a new one goes on",
		 k->client.last_error[0] ? k->client.last_error : "fatal error");
	rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + PURGE_MS * MS;
	while (rd_kafka_outq_len(k->rk) > 0 && clock_ns(CLOCK_MONOTONIC) < end)
		rd_kafka_poll(k->rk, 1);
	if (rd_kafka_outq_len(k->rk) > 0 || (k->purging && !atomic_load(&k->purged)))
		return; /* goes on at the next tick */
	kafka_handle_close(k);
	sort_by_age(&k->retry);
	k->renewing = kafka_handle_open(k, err, sizeof(err)) < 0;
	k->window = WINDOW_MAX;
}

/* ---- out ---- */

static struct record *next_waiting(struct kafka *k)
{
	struct spool_read in;
	if (k->retry.first)
		return taken_pop(&k->retry);
	if (!k->spool || !spool_next(k->spool, &in))
		return NULL;
	in.r->token = in.token;
	in.r->foreign = in.foreign;
	return in.r;
}

/* From retry and the spool into librdkafka, as far as the window goes. */
void kafka_pump(struct kafka *k)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	if (k->renewing || k->purging || k->wrong_cluster || now < k->pause_ns)
		return;
	while (k->retry.first || (k->spool && k->outstanding < k->window)) {
		struct record *r = next_waiting(k);
		if (!r)
			break;
		size_t n = r->token ? r->n : 0;
		rd_kafka_resp_err_t e = kafka_produce(k, r, false);
		if (e == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) { /* by message.max.bytes */
			quarantine(k, r);
			continue;
		}
		if (e) {
			taken_unshift(&k->retry, r);
			if (e != RD_KAFKA_RESP_ERR__QUEUE_FULL)
				k->pause_ns = now + SECOND;
			if (e == RD_KAFKA_RESP_ERR__FATAL)
				renew(k);
			return;
		}
		k->outstanding += n;
		if (clock_ns(CLOCK_MONOTONIC) - now > POLL_BATCH_MS * MS)
			return;
	}
	if (!k->direct && k->answered && !k->retry.first && !k->behind.first && is_settled(k) &&
	    spool_is_drained(k->spool)) {
		k->direct = true;
		log_info("kafka: the spool is drained: records go to Kafka directly");
	}
}

static void pump_suspects(struct kafka *k)
{
	while (k->suspects.first) {
		struct record *r = taken_pop(&k->suspects);
		size_t n = r->token ? r->n : 0;
		if (kafka_produce(k, r, true)) {
			taken_unshift(&k->suspects, r);
			return;
		}
		k->outstanding += n;
	}
}

/* ---- in ---- */

static int to_spool(struct kafka *k, struct record **r, const char **exit)
{
	behind_to_spool(k);
	if (k->behind.first || !is_settled(k)) {
		if (k->behind.bytes >= BEHIND_BYTES) {
			*exit = "spool_behind";
			return -EAGAIN;
		}
		taken_push(&k->behind, *r);
		*r = NULL;
		return 0;
	}
	int e = spool_put(k->spool, r);
	if (e < 0)
		*exit = spool_exit(e);
	return e;
}

static int refused(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR__FATAL:
	case RD_KAFKA_RESP_ERR__QUEUE_FULL: return -EAGAIN;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return -E2BIG;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: return -EACCES;
	default: return -EIO;
	}
}

int kafka_route(struct kafka *k, struct record **r, const char **exit)
{
	if (!k->direct && k->spool)
		return to_spool(k, r, exit);
	if (k->retry.first)
		kafka_pump(k);
	rd_kafka_resp_err_t e = k->retry.first || k->renewing ? RD_KAFKA_RESP_ERR__QUEUE_FULL
				: k->wrong_cluster ? RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
						   : kafka_produce(k, *r, false);
	if (e == 0) {
		*r = NULL;
		return 0;
	}
	if (e == RD_KAFKA_RESP_ERR__FATAL)
		renew(k);
	*exit = k->wrong_cluster ? "wrong_cluster" : kafka_exit_name(e);
	if (!k->spool || e == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return refused(e);
	if (e != RD_KAFKA_RESP_ERR__FATAL)
		outage(k, rd_kafka_err2str(e));
	return k->direct ? -EAGAIN : to_spool(k, r, exit);
}

/* ---- time ---- */

static void cluster_is_wrong(struct kafka *k, const char *id)
{
	log_error("kafka: this is cluster %s, not %s as before: nothing is sent to it%s%s%s", id,
		  k->cluster, k->spool ? "; if it is the right one, delete " : "",
		  k->spool ? k->cfg.spool : "", k->spool ? "/sidetap.cluster and start again" : "");
	k->wrong_cluster = true;
	if (k->spool)
		outage(k, "the wrong cluster");
	else
		rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE);
}

/* K10: the bootstrap address may lead elsewhere one day. What the directory of the spool knows counts. */
void kafka_look_at_cluster(struct kafka *k, int timeout_ms)
{
	char *id = rd_kafka_clusterid(k->rk, timeout_ms);
	if (!id)
		return;
	if (!k->cluster[0] && k->spool)
		snprintf(k->cluster, sizeof(k->cluster), "%s", spool_pinned(k->spool));
	if (!k->cluster[0]) {
		snprintf(k->cluster, sizeof(k->cluster), "%s", id);
		if (k->spool)
			spool_pin(k->spool, k->cluster);
	}
	bool wrong = strncmp(k->cluster, id, sizeof(k->cluster) - 1) != 0;
	if (wrong && !k->wrong_cluster)
		cluster_is_wrong(k, id);
	k->wrong_cluster = wrong;
	rd_kafka_mem_free(k->rk, id);
}

void kafka_tick(struct kafka *k)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	if (k->renewing) {
		renew(k);
		return;
	}
	kafka_look_at_cluster(k, 0);
	if (k->spool)
		behind_to_spool(k);
	pump_suspects(k);
	/* a refused batch costs its producer seconds: only those that are alone wait for them */
	uint64_t held = k->held_records - k->solo_held;
	bool stalled = held && now - k->progress_ns > STALL_NS_SECONDS * SECOND;
	if (k->spool && k->direct && held && k->client.all_down)
		outage(k, "no broker is reachable");
	else if (k->spool && stalled && (k->direct || k->outstanding))
		outage(k, "no answer for 5 s");
	kafka_pump(k);
}

/* Reports, for at most a few ms: 1,000 a ms come when an outage ends. */
void kafka_poll(struct kafka *k)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + POLL_BATCH_MS * MS;
	bool purged = k->purging && atomic_load(&k->purged);
	/* one batch's at a time: rd_kafka_poll() would give all there are */
	int got = 0;
	while (k->queue && (got = rd_kafka_queue_poll_callback(k->queue, 0)) > 0 &&
	       clock_ns(CLOCK_MONOTONIC) < end)
		;
	if (purged && got == 0)
		purge_heard(k);
	while (k->solo && rd_kafka_poll(k->solo, 0) > 0 && clock_ns(CLOCK_MONOTONIC) < end)
		;
	if (clock_ns(CLOCK_MONOTONIC) >=
	    end) /* there may be more, and the event tells only when there was none */
		eventfd_write(k->event, 1);
	rd_kafka_resp_err_t trouble = k->trouble;
	k->trouble = 0;
	if (trouble && k->spool) /* what is queued behind what failed must not overtake it */
		outage(k, rd_kafka_err2str(trouble));
	else if (trouble)
		k->pause_ns = clock_ns(CLOCK_MONOTONIC) + SECOND;
}

/* ---- the end ---- */

/* At the end the disk is waited for. */
static void spool_or_lose(struct kafka *k, struct record *r, uint64_t end)
{
	int e;
	while ((e = spool_put(k->spool, &r)) == -EAGAIN && clock_ns(CLOCK_MONOTONIC) < end)
		poll(NULL, 0, 1);
	if (e < 0)
		kafka_report(k, r, lost_exit(r, e));
}

static void rest_to_spool(struct kafka *k)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + SPOOL_MS * MS;
	taken_move(&k->behind, &k->retry);
	taken_move(&k->behind, &k->suspects);
	sort_by_age(&k->behind);
	for (struct record *r; (r = taken_pop(&k->behind));) {
		if (r->token) /* still on disk */
			record_free(r);
		else if (k->spool)
			spool_or_lose(k, r, end);
		else
			kafka_report(k, r, r->maybe_there ? "possibly_persisted" : "purged");
	}
}

int kafka_finish(struct kafka *k, int timeout_ms)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), end = now + (uint64_t)timeout_ms * MS;
	/* with a spool there is no need to wait for a broker that does not answer */
	uint64_t patience = k->spool && !k->direct ? now + SECOND : end;
	while ((k->held_records || k->suspects.first || (k->retry.first && !k->spool)) &&
	       now < (k->direct ? end : patience)) {
		kafka_poll(k);
		pump_suspects(k);
		if (!k->spool)
			kafka_pump(k);
		rd_kafka_flush(k->rk, 20);
		if (k->solo)
			rd_kafka_flush(k->solo, 20);
		now = clock_ns(CLOCK_MONOTONIC);
		if (k->spool && k->held_records && now - k->progress_ns > STALL_NS_SECONDS * SECOND)
			break;
	}
	bool late = k->held_records != 0;
	k->returning = true;
	kafka_purge_end(k);
	if (late)
		rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	if (late && k->solo)
		rd_kafka_purge(k->solo, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	for (int waited = 0; k->held_records && waited < SPOOL_MS; waited += 10) {
		rd_kafka_poll(k->rk, 10);
		kafka_poll(k);
	}
	k->returning = false;
	rest_to_spool(k);
	if (k->spool)
		spool_tell_kept(k->spool, SPOOL_MS);
	return late && !k->spool ? -ETIMEDOUT : 0;
}
