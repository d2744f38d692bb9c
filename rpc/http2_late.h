/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where HTTP/2 begins: by its preface, and in the middle of a connection by frames that agree. A header block that
 * decodes, with pseudo-headers of its direction, is the strongest sign; else a chain of two whole frames. A
 * candidate that more bytes may prove is waited for, so that the place found does not depend on cuts; beyond
 * 64 KiB it is none.
 */
#pragma once
#include "rpc/framer.h"

/* framer_ops.probe, framer_ops.probe_late */
enum probe_answer http2_late_preface(struct bytes request, struct bytes response);
enum probe_answer http2_late_probe(struct bytes request, struct bytes response);

enum http2_late_found { HTTP2_LATE_MORE, HTTP2_LATE_FRAME, HTTP2_LATE_PREFACE };

/* As framer_ops.resync. fresh: no stream was seen, so the preface may still come. */
enum http2_late_found http2_late_find(enum dir dir, struct bytes in, unsigned hints, bool fresh,
				      size_t *skip);
