/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fields of a header block say (RFC 9113 section 8): pseudo-headers, whether it is well formed, and the
 * routing fields of a message. Nothing that is not valid becomes a routing field. What a late join hides
 * (fields with unknown names) is never guessed: such routing fields stay empty and are named in `unknown`.
 */
#pragma once
#include "rpc/hpack.h"
#include "rpc/http2_stream.h"

struct http2_fields {
	const struct header *list;
	size_t n;
	struct bytes method, scheme, path, authority, protocol, host, content_type, content_length;
	int32_t status; /* 0: none */
	bool has_content_type, has_content_length;
	bool request, response; /* it has pseudo-headers of one */
	bool unknown; /* a field with an unknown name */
	bool pseudo_unknown; /* one that may be a pseudo-header */
	bool te_trailers, grpc_named; /* te: trailers; a grpc-* field besides status and message */
	bool malformed;
	const uint32_t *unknown_entries; /* struct hpack_list */
	uint8_t n_unknown;
	bool unknown_whole;
};

void http2_fields_read(struct http2_fields *f, const struct hpack_list *list);

/* May it begin a request, a response? Else it is trailers. ended: END_STREAM came with it. */
bool http2_fields_is_request(const struct http2_fields *f, bool ended);
bool http2_fields_is_response(const struct http2_fields *f, bool ended);

/*
 * The head of a request, of a final response, the end of a response (trailers, or END_STREAM with DATA: n_headers
 * 0). proven: its content-type, not known here, is gRPC's. Set what they find in *s and in out->head, flags and cap; headers stay the caller's.
 */
void http2_head_request(const struct http2_fields *f, struct http2_stream *s, bool proven,
			struct piece *out);
void http2_head_response(const struct http2_fields *f, struct http2_stream *s, bool ended,
			 struct piece *out);
void http2_head_end(const struct http2_fields *f, struct http2_stream *s, struct piece *out);

/* A late join hides whether the block is a final response: fields that no 1xx has would tell. */
bool http2_fields_unsure(const struct http2_fields *f, bool ended);

/* An answer without its request, which may be gRPC's */
void http2_head_unsure(struct piece *out);

/* A response whose head was lost */
void http2_head_lost(struct piece *out);
