/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves the privileges that mirroring no longer needs once it is attached. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Before any payload is read: no core dumps (RLIMIT_CORE 0, PR_SET_DUMPABLE 0), no_new_privs. 0,
 * -errno. */
int sandbox_early(void);

/*
 * Capabilities belong to threads, and new ones inherit. Runs fn on a thread of its own without any
 * capability and waits for it: what fn starts (a sink's threads) never has one, while the caller
 * keeps its own for attaching. 0; -errno and fn did not run.
 */
int sandbox_unprivileged(void (*fn)(void *ctx), void *ctx);

/*
 * After attaching: drops every capability of the calling thread but those in the list that
 * re-attaching needs (CAP_BPF, or CAP_SYS_ADMIN where there is none; CAP_NET_ADMIN, CAP_NET_RAW,
 * CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH) when keep_attach, all of them otherwise; from
 * the bounding and ambient sets too (bounding as far as CAP_SETPCAP allows: no_new_privs, set here
 * as well, closes that road anyway).
 *
 * Ends by reading back all threads of the process. 0; -EBUSY: another thread, started outside of
 * sandbox_unprivileged(), holds more than that still; -errno; with one line in err.
 */
int sandbox_drop(bool keep_attach, char *err, size_t err_n);
