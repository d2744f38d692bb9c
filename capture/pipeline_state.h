/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a pipeline, shared by pipeline.c (wiring and loop), pipeline_attach.c and pipeline_ledger.c only. */
#pragma once
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "capture/call.h"
#include "capture/conn.h"
#include "capture/flow.h"
#include "capture/governor.h"
#include "capture/pipeline.h"
#include "capture/remains.h"
#include "capture/socks.h"

enum { PIPELINE_STAGES_MAX = 16, PIPELINE_OWN_WORDS = 65536 / 64 };

struct pipeline {
	struct pipeline_cfg cfg;
	struct settings *s;
	char instance[17], host[256];
	const struct attach_ops *ops;
	struct attach *attach;
	struct ledger_stage past[PIPELINE_STAGES_MAX]; /* of attachments that are gone */
	size_t n_past;
	const struct sink_ops *sink_ops;
	struct sink *sink;
	struct flow_table *flows;
	struct conns *conns;
	struct calls *calls;
	struct recorder *recorder;
	struct remains *remains; /* ours, with a spool */
	struct remains_found *dead; /* those of processes that were killed, told by us */
	struct socks *socks;
	_Atomic uint64_t own[PIPELINE_OWN_WORDS];
	sigset_t set; /* that the loop takes through signals */
	int ep, ep_sleep, signals; /* ep_sleep: ep and the attachment */
	bool stop, failed, from_file;
	bool ledger_lost; /* what the sink last said of one of ours */
	struct governor *governor; /* NULL: no budget */
	int statm; /* /proc/self/statm; -1: none */
	uint64_t govern_ns, probe_ns,
		probe_last_ns; /* the probe's time: in all, of this attachment */
	bool probe_measured; /* and not estimated */
	bool governed_off; /* detached by it */
	uint64_t keep_below; /* attach_cfg.keep_below, and attach_ops.keep, now */
	bool limited; /* by --limit: attached to nothing from then on */
	uint64_t start_ns, start_unix_ns, last_ns, last_busy_ns, settle_ns, tick_ns, ledger_ns,
		ledger_unix_ns;
	uint64_t packets, sweep_count;
	uint64_t batch_bytes; /* payload since the last poll */
	uint64_t owner_budget; /* process look-ups left in this second */
	struct {
		int fd;
		void (*service)(void *ctx);
		void *ctx;
	} watches[PIPELINE_WATCHES];
	size_t n_watches;
	struct pipeline_config config;
	char refused_why[512];
	bool paused;
	uint64_t attachments, attached_unix_ns;
	struct turn turn; /* of the loop: from one wait to the next */
	uint64_t slow_ns[2], slow_since_ns; /* the longest in this and in the last 10 s */
};

void pipeline_packet(void *ctx, const struct packet *pkt); /* attach_packet_fn */

/* Closes the attachment; its counters stay in the ledger. */
void pipeline_detach(struct pipeline *p);

uint64_t pipeline_now(const struct pipeline *p); /* in the domain of the packets */
void pipeline_owners(void *ctx, struct conn *c); /* conns_cfg.opened */
bool pipeline_alive(void *ctx, const struct flow *f); /* of flow_sweep() */

/* The budget (capture/governor.h): before the stages are opened, on each turn of the loop, at the end. */
void pipeline_govern_begin(struct pipeline *p);
void pipeline_govern(struct pipeline *p, uint64_t now_ns);
void pipeline_govern_apply(struct pipeline *p); /* the settings have other budgets or connections */
void pipeline_govern_end(struct pipeline *p);
void pipeline_govern_detaching(struct pipeline *p); /* its counters are about to go */

uint64_t pipeline_seed(const struct pipeline *p); /* of what sampling draws by */

bool pipeline_never(void *ctx, struct conn *c, const char *protocol); /* conns_cfg.never */
bool pipeline_verdict(void *ctx, uint32_t slot, uint32_t word); /* flow_cfg.verdict */

/* A --limit is reached: the end, or with --idle nothing is attached any more. */
void pipeline_limit(struct pipeline *p);

/* Adds the counters of a stage to those of attachments that are gone. */
void pipeline_keep_stage(struct pipeline *p, const struct ledger_stage *s);

/* Redoes what the stages took from the settings. */
void pipeline_push_live(struct pipeline *p);
struct call_limits pipeline_call_limits(const struct pipeline *p);

/* Before each wait of the loop; turn_begin() is due after it. */
void pipeline_turn_ends(struct pipeline *p);

/* Serves the watches among these events; all of them with n < 0. */
void pipeline_serve_watches(struct pipeline *p, const struct epoll_event *e, int n);

/* Hands a Ledger record to the sink. */
int pipeline_write_ledger(struct pipeline *p, bool final);
