/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why nothing is captured: byte counters of sock_diag at two moments, compared. The first is taken
 * by watch_begin(), the second by the first question after it; the time between is the caller's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct watch;

/* NULL: no sock_diag, no memory. */
struct watch *watch_begin(void);
void watch_end(struct watch *w);

/* Connections with other hosts count as well (--interface any). */
void watch_any_interface(struct watch *w);

/* Bytes moved meanwhile on a connection (not sidetap's own) with one of these ports at either
 * end (none: any), or such a connection ended: the present back end does not see what is there. */
bool watch_moving(struct watch *w, const uint16_t *ports, size_t n_ports);

/* One line: "sidetap: nothing captured on port 9999 after 5 s: no socket has that port; loopback
 * bytes move on 8080 (nginx 812): try -p 8080". w may be NULL. */
void watch_explain(struct watch *w, FILE *out, const uint16_t *ports, size_t n_ports);
