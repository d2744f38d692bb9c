/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of `sidetap ctl`: a UNIX stream socket that answers requests on the loop thread. Only the owner of the
 * process and root are served (SO_PEERCRED; the socket's mode is 0600 as well).
 *
 * Protocol: the client sends one line, a JSON object {"command": "...", ...}; the answer is one line, a JSON object,
 * with "ok": true, or "ok": false, "error": "what to do" and "code": 1 (ran and failed) or 2 (wrong request); then
 * the connection is closed. Commands and their answers: capture/admin.h.
 *
 * Bounded: CONTROL_CLIENTS at once (one more is told so and closed), CONTROL_REQUEST_MAX bytes a request, CONTROL_MS
 * from the connection to the end of the answer (half messages, slow readers). A client that leaves loses its answer.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONTROL_CLIENTS = 8,
	CONTROL_REQUEST_MAX = 256 << 10,
	CONTROL_MS = 5000,
	CONTROL_PATH_MAX = 107, /* of struct sockaddr_un, with room for the end */
};

struct control;

/* The answer to a request, for the caller to drop; NULL: no memory. `request` is borrowed. */
typedef json_t *control_handle_fn(void *ctx, const json_t *request);

struct control_cfg {
	/* Where; NULL: PID.sock in the default directory (control_directory()), PID-2.sock ... when another process
	 * namespace shares it */
	const char *path;
	control_handle_fn *handle;
	void *ctx;
};

/*
 * Its directory is made (mode 0700, one level) when it is not there. A path that exists is replaced when it is a socket of ours that nobody serves; anything else there (a file, a
 * symlink, a live socket), a directory that others may write to, a path over CONTROL_PATH_MAX: refused.
 * NULL: one line in err.
 */
struct control *control_open(const struct control_cfg *cfg, char *err, size_t err_n);
void control_close(struct control *c); /* removes the socket */

/* "/run/sidetap" for root, else "$XDG_RUNTIME_DIR/sidetap"; -ENOENT: neither can be */
int control_directory(char *out, size_t out_n);

const char *control_path(const struct control *c);
int control_fd(const struct control *c); /* readable: control_service() */
void control_service(struct control *c, uint64_t now_ns); /* monotonic; also once a second */

struct control_counts {
	uint64_t requests; /* answered */
	uint64_t refused_uid, refused_busy, refused_request, timed_out;
	unsigned clients; /* now */
};
struct control_counts control_counts(const struct control *c);

/* {"ok": false, "code": code, "error": text} */
json_t *control_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
