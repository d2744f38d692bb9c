/* SPDX-License-Identifier: Apache-2.0 */
/* Is it Thrift? The probes of framer_thrift and framer_thrift_weak (rpc/framer.h). */
#pragma once
#include "rpc/framer.h"

/* Strict binary, framed or not, and framed compact: by the client's first envelope. */
enum probe_answer thrift_probe(struct bytes request, struct bytes response);

/* The same for a connection joined in the middle: a strict envelope; framed compact only when the frame ends with its
 * struct, another follows it, or both directions speak of one call. */
enum probe_answer thrift_probe_late(struct bytes request, struct bytes response);

/* Old binary and unframed compact: when the server's first message answers one of the client's first. */
enum probe_answer thrift_probe_weak(struct bytes request, struct bytes response);
