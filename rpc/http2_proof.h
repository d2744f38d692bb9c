/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection joined late can prove of calls whose content-type is unknown: once one call was gRPC by its
 * frames, each later one that names the same unknown entries of the request direction's table is gRPC too, for its
 * content-type is one of them, and an entry never changes.
 *
 * By its frames: both directions are messages from the first byte to the last, and trailers of HTTP end the reply
 * (gRPC-Web and Connect have a message in their place); or the reply's content-type says so.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/http2_stream.h"

struct http2_fields;

enum { HTTP2_PROOFS_MAX = 8 }; /* the newest; the calls of others stay unknown */

struct http2_proofs; /* NULL: none as yet */

/* The unknown entries that a request head names, as far as they are all that is unknown in it. */
void http2_proof_note(struct http2_stream *s, const struct http2_fields *f);

/* Body bytes of a call that may be gRPC; `missing` of them were lost before. */
void http2_proof_data(struct http2_half *half, struct bytes in, uint64_t missing);

/* Trailers end the reply: were its frames gRPC's? */
bool http2_proof_by_frames(const struct http2_stream *s);

/* The call was gRPC. Without memory nothing is kept. */
void http2_proof_add(struct http2_proofs **proofs, const struct http2_stream *s);

bool http2_proof_holds(const struct http2_proofs *proofs, const struct http2_fields *f);
