/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the Kafka sink. Three files: kafka_produce.c holds the handle and hears what became of each record,
 * kafka_flow.c decides where a record goes, kafka.c is the sink.
 *
 * A record is in one place: with librdkafka (held), in `retry` or `behind`, with the spool, or reported.
 *
 *   direct:  capture -> librdkafka
 *   else:    capture -> spool;  spool -> librdkafka within a window, until the spool is drained
 *
 * The window begins at one record and grows while they are acknowledged: that first one is the question whether Kafka
 * answers again. What a purge gives back goes before what comes later, so each connection keeps its order.
 */
#pragma once
#include "sink/kafka_conf.h"
#include "sink/kafka_embedded.h"
#include "sink/sink.h"
#include "sink/spool.h"
#include "sink/taken.h"

struct kafka {
	struct kafka_client client; /* first: the handle's opaque */
	struct sink_cfg cfg;
	struct kafka_spec spec;
	struct kafka_embedded *embedded;
	const char *brokers;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue; /* of its reports */
	rd_kafka_topic_t *topic[2]; /* by enum record_kind */
	char batch_size[16]; /* within what the topic takes */
	int event, timer,
		epoll; /* epoll over event, timer and the spool's: what the loop waits for */

	struct spool *spool; /* NULL: none */
	bool direct;
	bool answered; /* an acknowledgement came since the last outage */
	bool renewing; /* the handle is fatal: what it gives back goes to the next one */
	bool returning; /* a purge is giving back what was queued */
	rd_kafka_resp_err_t
		trouble; /* a report that speaks of an outage; looked at after the reports */
	struct taken retry; /* before anything from the spool */
	struct taken behind; /* what a purge gave back, in any order, and what came meanwhile */
	bool behind_sorted;
	uint64_t settle_ns; /* until then they wait for more */
	bool purging; /* until all that it gives back was heard of, nothing goes to the spool or out of it */
	pthread_t purger;
	atomic_bool purged; /* all reports of the purge are in the queue */
	uint64_t window,
		outstanding; /* bytes from the spool or retry that may be, and are, with librdkafka */
	uint64_t progress_ns; /* of the last acknowledgement, or since anything is held */
	uint64_t pause_ns; /* nothing from the spool before */

	/* a refused batch: each of its records again, alone (K8) */
	rd_kafka_t *solo;
	rd_kafka_topic_t *solo_topic[2];
	struct taken suspects;
	uint64_t solo_held;

	char cluster[64]; /* id of the cluster that was there first (K10) */
	bool wrong_cluster;

	uint64_t held_records, held_bytes;
	uint64_t calls, acked_bytes, failed; /* calls: acknowledged last parts */
	uint64_t duplicates_possible; /* sent again after an attempt that may have arrived */
	uint64_t outages, renewals, quarantined;
	bool overflowed; /* embedded: over what it keeps */
	char status[640];
};

/* kafka_produce.c */
int kafka_handle_open(struct kafka *k, char *err, size_t err_n); /* rk and topics, unchecked */
void kafka_handle_close(struct kafka *k); /* at once; the handle ends on a thread of its own */
void kafka_handles_end(struct kafka *k); /* both, and waits until their threads are gone */
/* 0: librdkafka has it. Else the error, and the record is still the caller's. */
rd_kafka_resp_err_t kafka_produce(struct kafka *k, struct record *r, bool solo);
const char *kafka_exit_name(rd_kafka_resp_err_t err);
void kafka_report(struct kafka *k, struct record *r, const char *exit); /* and frees it */
/* Begins to take back what is queued (not what is in flight), on a thread: librdkafka's own may keep it waiting. */
void kafka_purge_begin(struct kafka *k);
void kafka_purge_end(struct kafka *k); /* waits for the thread */

/* kafka_flow.c */
void kafka_returned(struct kafka *k, struct record *r, rd_kafka_resp_err_t err, bool maybe_there,
		    bool solo);
void kafka_acked(struct kafka *k, const struct record *r);
int kafka_route(struct kafka *k, struct record **r, const char **exit);
void kafka_tick(struct kafka *k);
void kafka_look_at_cluster(struct kafka *k, int timeout_ms);
void kafka_pump(struct kafka *k);
void kafka_poll(struct kafka *k);
int kafka_finish(struct kafka *k, int timeout_ms);
