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
#include "capture/sandbox.h"
#include "capture/settings.h"
#include "capture/turn.h"
#include "sink/sink.h"

struct pipeline;

struct pipeline_cfg {
	struct settings *settings; /* the caller's; pipeline_apply() changes it */
	const char *version;
	/* Once a second, on the loop: progress, silence. May be NULL. */
	void (*tick)(void *ctx, struct pipeline *p);
	void (*attached)(void *ctx, struct pipeline *p); /* each time something was attached */
	void (*hangup)(void *ctx, struct pipeline *p); /* SIGHUP came; NULL: it ends the capture */
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

/*
 * Another file descriptor for the loop: service() is called when it is readable, and once a second. At most
 * PIPELINE_WATCHES of them, for good. -errno.
 */
enum { PIPELINE_WATCHES = 4 };
int pipeline_watch(struct pipeline *p, int fd, void (*service)(void *ctx), void *ctx);

/* A local TCP port of sidetap's own: its packets are left out. */
void pipeline_own_port(struct pipeline *p, uint16_t port);

/*
 * The one place where a running capture changes: takes what can change while it runs of *next (settings_adopt());
 * a line of the log for each option that keeps its value. Between two calls of the loop, so a call is never torn:
 * sampling, body limit and redaction are those that the call opened with; timers and limits count from now on.
 * 1: something changed, and the configuration has a new version. 0: nothing did. -EINVAL: what it says cannot be made
 * (a rule of redaction), err in one line; all is as it was.
 */
int pipeline_apply(struct pipeline *p, struct settings *next, char *err, size_t err_n);
void pipeline_reload_refused(struct pipeline *p,
			     const char *why); /* counted, kept for the status */

/*
 * Detaches for real and ends what is open (`capture_ended`); the ledger goes on. Nothing is attached until
 * pipeline_resume(), which attaches as at the start: connections are joined late. 0; -EALREADY; -ENOTCONN: nothing was
 * attached yet; -EPERM: it could not attach again (--no-reattach, a file); resume: negative with the reasons in err.
 */
int pipeline_pause(struct pipeline *p);
int pipeline_resume(struct pipeline *p, char *err, size_t err_n);

struct pipeline_config {
	uint64_t version, changed_unix_ns; /* 1 from the start */
	uint64_t reloads, refused;
	uint64_t last_reload_unix_ns; /* that was taken; 0: none */
	bool last_refused; /* the last one was, because of `why` */
	const char *why;
};

/* Directories that the sink of these settings writes to (made here when they are not there), and files that it
 * reads: credentials. */
void pipeline_sink_files(const struct settings *s, struct sandbox_files *out);

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
	const char *instance;
	uint64_t start_unix_ns, attached_unix_ns; /* attached: 0 when not */
	uint64_t attachments; /* since the start */
	bool paused, stopping, from_file;
	struct turn_times slowest; /* turn of the loop, since the start */
	bool blocked_known; /* slowest.blocked_ns is: this kernel tells */
	uint64_t slowest_recent_ns; /* by the clock, in the last 10 to 20 s */
	uint64_t calls_seen, sink_records, sink_bytes; /* of the sink: taken, not yet reported */
	const struct settings *settings; /* in force */
	struct pipeline_config config;
};
struct pipeline_status pipeline_status(const struct pipeline *p);
bool pipeline_protocol(const struct pipeline *p, size_t i, const char **name, uint64_t *calls);

enum { PIPELINE_LEDGER_MAX = 32 };
/* All stages, in the order of the road. Number written. */
size_t pipeline_ledger(const struct pipeline *p, struct ledger_stage *out, size_t max);
