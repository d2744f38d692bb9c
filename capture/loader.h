/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the probe into the kernel, in the fastest form that this kernel and these privileges take,
 * and says in one line why when none is taken. Attaches nothing. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/event.h"
#include "capture/attach.h"

struct bpf_program;
struct probe; /* the generated skeleton */

/* The probe's forms, best first: direct packet access and the namespace's cookie (Linux 6.16);
 * direct access (before 6.5: CAP_PERFMON); headers by bpf_skb_load_bytes, which every kernel
 * since 5.8 takes. */
enum loader_form { LOADER_COOKIE, LOADER_DIRECT, LOADER_COPY };

struct loader_cfg {
	const struct attach_cfg *attach;
	bool socket; /* the filter; else the cgroup programs */
	bool any_interface;
	bool two_hooks; /* ingress too */
	bool only_own_netns; /* where the kernel can tell */
	bool several_netns; /* what is covered lies in more than one */
	bool own_elsewhere; /* no covered process is in our namespace */
};

struct loader {
	struct probe *skel;
	struct bpf_program *egress, *ingress, *filter; /* NULL: not loaded */
	/* Mapped memory of the probe: valid until loader_close() */
	struct probe_counters *counters;
	struct probe_control *control;
	uint64_t *own_ports, *verdicts;
	int hot_fd, overflow_fd;
	size_t hot_bytes, overflow_bytes;
	uint64_t own_netns; /* cookie; 0: not known */
	enum loader_form form;
};

/* 0; -EPERM, -ENOTSUP, -ENOMEM with one line in err: what failed, what to change. */
int loader_open(struct loader *l, const struct loader_cfg *cfg, char *err, size_t err_n);
void loader_close(struct loader *l);

/* One line for a failed step ("load", "attach to DIR"): the error, and what to change. Returns
 * -EPERM or -ENOTSUP. */
int loader_explain(char *out, size_t out_n, const char *step, int error, bool socket);
