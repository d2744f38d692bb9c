/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The road of a byte, wired: attach -> flow and stream -> conn -> call -> recorder -> sink, one epoll loop
 * thread that owns all of it, the timers, and the ledger records.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/attach.h"
#include "capture/governor.h"
#include "capture/recorder.h"
#include "capture/settings.h"
#include "sink/sink.h"

struct pipeline;

struct pipeline_cfg {
	const struct settings *settings;
	const char *version;
	/* Once a second, on the loop: progress, silence. May be NULL. */
	void (*tick)(void *ctx, struct pipeline *p);
	void (*attached)(void *ctx, struct pipeline *p); /* each time something was attached */
	void *ctx;
};

/* Opens the sink and everything but the attachment. NULL: err says why, in one line. */
struct pipeline *pipeline_new(const struct pipeline_cfg *cfg, char *err, size_t err_n);

/*
 * Attaches by settings.attach; `auto` takes the first of cgroup, socket, pcap whose probe() says yes.
 * Logs why others were passed over. `after`: only those behind it in that order (NULL: all). 0, or
 * negative with every reason in err, a line each.
 */
int pipeline_attach(struct pipeline *p, const struct attach_ops *after, char *err, size_t err_n);

/* Bytes move but nothing is seen: gives the present back end up and takes the next one of `auto`, once. */
void pipeline_attach_next(struct pipeline *p);

/* Nothing is attached: serves the sink and waits for so long. 0: a signal came; 1: the time is over. */
int pipeline_idle(struct pipeline *p, int ms);

/* Runs until a signal (SIGINT, SIGTERM), a limit, the end of the file, or pipeline_stop(). Then detaches,
 * drains, ends what is open, waits for the sink, writes the final ledger. 0; 1 when something of that failed. */
int pipeline_run(struct pipeline *p);
/* Nobody reads the sink any more (a closed stdout). */
bool pipeline_sink_finished(const struct pipeline *p);
void pipeline_stop(struct pipeline *p);

/* The rules of its settings are in force for calls that open from now on; what was muted is joined again. -ENOMEM:
 * the old ones stay. */
int pipeline_set_rules(struct pipeline *p);
void pipeline_free(struct pipeline *p);

struct pipeline_status {
	uint64_t seen_packets; /* handed over by the attachment */
	uint64_t bytes; /* payload in order */
	uint64_t open_calls, flows;
	const char *attach, *describe, *sink_status;
	const struct attach_ops *attach_ops;
	struct recorder_totals totals;
	double seconds;
	bool governed; /* a budget is set */
	bool probe_measured; /* the probe's part of the CPU is; else estimated */
	struct governor_state governor;
};
struct pipeline_status pipeline_status(const struct pipeline *p);
bool pipeline_protocol(const struct pipeline *p, size_t i, const char **name, uint64_t *calls);

/* All stages, in the order of the road. Number written. */
size_t pipeline_ledger(const struct pipeline *p, struct ledger_stage *out, size_t max);
