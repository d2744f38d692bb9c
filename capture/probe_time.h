/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long BPF programs ran, as the kernel counts it while kernel.bpf_stats_enabled is 1: read from their fdinfo
 * (Linux 5.1), which needs no bpf() and so no capability.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROBE_TIME_MAX = 3 };

/* Zeroed is empty. */
struct probe_time {
	int fd[PROBE_TIME_MAX];
	size_t n;
};

/* Of these programs, by their file descriptors; what cannot be opened is left out. */
void probe_time_open(struct probe_time *t, const int *programs, size_t n);
/* False: not counted now, *ns is untouched. */
bool probe_time_read(const struct probe_time *t, uint64_t *ns);
void probe_time_close(struct probe_time *t);
