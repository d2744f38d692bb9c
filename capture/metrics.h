/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics and health over HTTP, on the loop thread (libmicrohttpd without threads of its own):
 *   /metrics   the Prometheus text format, or OpenMetrics when the Accept header asks for it
 *   /healthz   200 while the loop turns
 *   /readyz    200 while it is attached and not paused; 503 with the reason
 * Labels are names of the program (stages, exits, protocols) and of sampling rules, never what was on the wire (S3).
 *
 * Bounded: METRICS_CLIENTS connections at once (more wait in the backlog), each for one answer and METRICS_SECONDS,
 * METRICS_CLIENT_BYTES of memory each; nothing but GET and HEAD.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "capture/control.h"
#include "capture/pipeline.h"
#include "sink/text.h"

enum { METRICS_CLIENTS = 16, METRICS_SECONDS = 5, METRICS_CLIENT_BYTES = 16 << 10 };

struct metrics_cfg {
	const char *
		listen; /* "127.0.0.1:9464", "[::1]:9464" (port 0: any), "unix:/run/sidetap/metrics.sock" */
	struct pipeline *p; /* outlives it */
	const struct control *control; /* NULL: none */
};

struct metrics;

/* NULL: one line in err; the capture goes on without (C8). A TCP port is told to the pipeline as its own. */
struct metrics *metrics_open(const struct metrics_cfg *cfg, char *err, size_t err_n);
void metrics_close(struct metrics *m); /* NULL is fine */

int metrics_fd(const struct metrics *m); /* readable: metrics_service() */
void metrics_service(struct metrics *m); /* also once a second */
unsigned metrics_clients(const struct metrics *m); /* connections now */
const char *metrics_where(const struct metrics *m); /* "127.0.0.1:9464" with the real port */

/* The text itself. openmetrics: its form of counters, and "# EOF" at the end. */
void metrics_write(const struct pipeline *p, const struct control *control, bool openmetrics,
		   struct text *out);
