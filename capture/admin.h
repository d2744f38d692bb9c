/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running capture as its operators see it: the configuration file that is watched, the socket of `sidetap ctl`,
 * metrics and health over HTTP. All of it on the loop thread, between two turns, so that what is read is consistent.
 *
 * Commands of the socket (capture/control.h) and what their answers add to "ok":
 *   {"command": "status"}                 admin_status()
 *   {"command": "ledger"}                 admin_ledger(), as `sidetap ledger --json` names things
 *   {"command": "sampling"}               "sampling": {"sample", "connections", "rules": [...]}
 *   {"command": "sampling", "set": YAML, "name": of the file}   "version": the configuration's; "changed"
 *   {"command": "reload"}                 "version", "changed"; a file that is wrong: its error with line and column
 *   {"command": "pause"}, {"command": "resume"}, {"command": "stop"}    nothing
 */
#pragma once
#include <jansson.h>

#include "capture/control.h"
#include "capture/metrics.h"
#include "capture/pipeline.h"

struct admin;

struct admin_cfg {
	struct pipeline *p; /* outlives the admin */
	struct settings *s; /* in force: the pipeline's */
};

/*
 * Opens what the settings ask for. An explicit --socket that cannot be is an error (NULL, one line in err); without
 * one, and for metrics and the watch of the file, it goes on without and says so in the log.
 */
struct admin *admin_open(const struct admin_cfg *cfg, char *err, size_t err_n);
void admin_close(struct admin *a); /* NULL is fine; removes the socket */

/* Reads the configuration file again. -EINVAL: refused, and said in the log; the old one stays. -ENOENT: there is
 * none to read. Else 1 (something changed) or 0. */
int admin_reload(struct admin *a);

/* The directory of the socket that is served, for the sandbox; NULL: none */
const char *admin_socket(const struct admin *a);

json_t *admin_status(const struct admin *a);
json_t *admin_ledger(const struct admin *a);
json_t *admin_sampling(const struct admin *a);
