/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.0 or 1.1 message: start line and header fields, read strictly (RFC 9112), and what
 * they say about the length of the body. Also its trailer section, which has the same fields.
 *
 * Decisions where recipients differ:
 *  - Lines end with CRLF, never with LF alone; a bare CR, NUL or other control is an error; obs-fold is an
 *    error (RFC 9112 5.2 allows a server to refuse it). Bytes 0x80-0xff in values, targets and reasons pass.
 *  - Content-Length: one field, one number of 1*DIGIT without a leading zero, below 2^63. RFC 9110 8.6 lets
 *    a recipient refuse equal duplicates; the leading zero is legal and refused, since others read octal.
 *  - Transfer-Encoding: codings of RFC 9112 7 only, without parameters; chunked once and last. A response
 *    may end with another known coding and then ends with its connection. With Content-Length, or in
 *    HTTP/1.0: error.
 *  - Two Host fields: accepted, the first names the service (RFC 9112 3.2 asks a server for 400; the server
 *    decides, and its answer is what we record). No Host in HTTP/1.1: accepted likewise.
 *  - HTTP/0.9, and any version but 1.0 and 1.1: error.
 *  - The SP behind the status code may be missing when the reason is (many servers leave it out).
 */
#pragma once
#include "rpc/framer.h"

enum { HTTP1_FIELDS_MAX = 256 };

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE, HTTP1_TRAILER };

enum http1_framing { HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_CLOSE };

/* Where the reading of a head that was not whole stopped; offsets from its first byte. Zeroed at first. */
struct http1_scan {
	uint32_t line; /* first byte of the first line not yet checked */
	uint32_t seen; /* up to here no LF ends that line */
	uint32_t fields; /* fields checked so far */
};

/* All borrowed from the input, but for the fields: those lie in a scratch of the thread. */
struct http1_head {
	bool started; /* the start line was read and is right */
	unsigned flags; /* after -EPROTO */
	uint8_t minor; /* HTTP/1.minor */
	uint16_t status;
	struct bytes method, target, reason;
	struct bytes host; /* first Host field */
	const struct header *fields;
	size_t n_fields;
	bool upgrade, upgrade_h2c;
	bool compressed; /* a transfer coding besides chunked */
	enum http1_framing framing;
	uint64_t length;
	/* inside the parser */
	bool length_seen, length_bad, coding_seen, coding_bad, chunked, host_seen;
	bool resumed;
};

/*
 * n > 0: the head is the first n bytes of `in`. 0: not whole yet, *scan notes how far it is right.
 * -EPROTO: h->flags says why; started, the start line and the fields before the fault stand.
 */
int64_t http1_head_parse(struct http1_head *h, enum http1_kind kind, struct bytes in,
			 const struct framer_limits *limits, struct http1_scan *scan);

/* The authority of an absolute-form target or of CONNECT, without userinfo; else Host. */
struct bytes http1_head_service(const struct http1_head *h);

/* Does a connection's direction begin with a request line, with a status line? */
enum probe_answer http1_head_probe_request(struct bytes in);
enum probe_answer http1_head_probe_response(struct bytes in);

bool http1_is_token(struct bytes b);

/* Registered with IANA, or in wide use: what is another token elsewhere may be the end of a body here. */
bool http1_method_known(struct bytes method);

/* Field text: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5). */
bool http1_is_text(struct bytes b);
