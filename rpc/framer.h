/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of a protocol: the bytes of one connection in, pieces of messages out.
 *
 * A framer holds the state of both directions of one connection. It does no I/O, reads no clock,
 * starts no thread, logs nothing. It is pulled: the connection calls next() on one direction, then
 * on the other, until neither makes progress; so a framer may wait in one direction (an Upgrade
 * request waits for its answer) by asking for more there.
 *
 * Property that every framer must pass (tests/unit/split_test.c, over the whole protocol table): the
 * messages do not depend on how the bytes were cut into calls of next().
 *
 * A new protocol is one file rpc/NAME.c that exports framer_NAME, and one line in rpc/protocols.h; step by
 * step: docs/protocols.md, section 7.
 *
 * How the harder protocols fit:
 *  - an envelope that is part of the body (Thrift, Kitex Protobuf): HEAD | BODY in one piece, the
 *    head's fields and the body lie over the same bytes;
 *  - a field that only the payload tells (a Dubbo exception, a TApplicationException): ask for the few
 *    bytes with *need before giving HEAD, or give it with END;
 *  - one frame with several messages, or a DATA frame cut by its gRPC prefixes: one call of next() each;
 *  - a frame that ends both messages of a call (RST_STREAM, ttstream Rst): ABORT | BOTH, with
 *    attributes rst_code and rst_by; streams above GOAWAY's last id: one ABORT | BOTH each, n == 0, with
 *    head.outcome NO_RESPONSE;
 *  - one connection with two kinds of traffic (unary and streaming TTHeader): one framer, head.type;
 *  - HTTP/2 after `Upgrade: h2c`: SWITCH to framer_http2 with corr 1: the open request goes on as stream 1.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum dir { DIR_REQUEST = 0, DIR_RESPONSE = 1 }; /* client to server, server to client */

static inline enum dir dir_other(enum dir dir)
{
	return dir == DIR_REQUEST ? DIR_RESPONSE : DIR_REQUEST;
}

enum provenance { PROVENANCE_LITERAL, PROVENANCE_OBSERVED, PROVENANCE_UNKNOWN };

struct header {
	struct bytes name, value;
	enum provenance provenance;
};

struct attribute {
	const char *name; /* static */
	struct bytes value;
};

/* Values as in sink/record.proto. OUTCOME_UNKNOWN in a piece: not known yet. */
enum outcome {
	OUTCOME_UNKNOWN,
	OUTCOME_OK,
	OUTCOME_CLIENT_ERROR,
	OUTCOME_SERVER_ERROR,
	OUTCOME_DECLARED_EXCEPTION,
	OUTCOME_NO_RESPONSE,
	OUTCOME_ABORTED,
};

enum call_type {
	CALL_UNARY,
	CALL_ONEWAY,
	CALL_CLIENT_STREAM,
	CALL_SERVER_STREAM,
	CALL_BIDI_STREAM,
	CALL_STREAM, /* left in parts before the kind was known; tunnels */
};

/* The flags of a record (record.md), as bits. Framers raise COMPRESSED, SMUGGLING_SUSPECT,
 * PROTOCOL_ERROR and TRUNCATED; the others belong to capture/. Names: sink/record.c. */
enum call_flag {
	FLAG_TRUNCATED = 1 << 0,
	FLAG_LATE_JOIN = 1 << 1,
	FLAG_GAP = 1 << 2,
	FLAG_NO_RESPONSE = 1 << 3,
	FLAG_ORPHAN_RESPONSE = 1 << 4,
	FLAG_REDACTED = 1 << 5,
	FLAG_COMPRESSED = 1 << 6,
	FLAG_SMUGGLING_SUSPECT = 1 << 7,
	FLAG_PROTOCOL_ERROR = 1 << 8,
	FLAG_OVERLAP_CONFLICT = 1 << 9,
	FLAG_EVICTED = 1 << 10,
	FLAG_TIMEOUT = 1 << 11,
	FLAG_CAPTURE_ENDED = 1 << 12,
	FLAG_PART_MISSING = 1 << 13,
	FLAG_N = 14,
};

/*
 * Routing fields of a message. With PIECE_HEAD: what its head says. With PIECE_END: trailers and what
 * only the end tells (a gRPC status); fields left empty there change nothing.
 */
struct head {
	const char *protocol; /* static; NULL: the framer's name (grpc rides in http2) */
	const char *transport; /* static; NULL or "" when there is no inner form */
	struct bytes service, method, path;
	struct bytes status_text;
	/* the protocol's own; W3C and b3 headers are read by call */
	struct bytes trace_id, span_id;
	int32_t status;
	bool has_status;
	bool count_only; /* only count the body of this message, keep none of it */
	/* The body is a row of messages (PIECE_MESSAGE ends each): what is kept of a call with one each way is not told
	 * before it is known that no second one comes. */
	bool messages;
	/* corr proves nothing (a Thrift client that always sends 0, or always the same): on a connection joined
	 * late the pair is by order alone and carries `late_join` */
	bool by_order;
	enum outcome outcome; /* of a response, by the protocol's rule */
	enum call_type type; /* of a request, as far as its head tells */
	const struct header *headers; /* trailers with PIECE_END */
	size_t n_headers;
	/* Those of both messages end in one map of the call: of one name the later stays, lists of "unknown" are joined. */
	const struct attribute *attributes;
	size_t n_attributes;
};

/* What a piece is: any sum of HEAD, BODY, MESSAGE, END; or one of the others alone. */
enum piece_what {
	PIECE_HEAD = 1 << 0,
	PIECE_BODY = 1 << 1, /* a run of body bytes, after transfer decoding */
	PIECE_MESSAGE = 1 << 2, /* the body run ends one message of a stream (gRPC, ttstream) */
	PIECE_END = 1 << 3, /* the message is complete */
	PIECE_ABORT = 1 << 4, /* it ends here, cut (RST_STREAM, or close before its end) */
	PIECE_INTERIM = 1 << 5, /* 1xx: head.status only; no message */
	PIECE_CONTROL =
		1 << 6, /* the consumed bytes belong to no call (PING, SETTINGS, heartbeat) */
	/* This direction is done here; from the next byte on `to` reads it. Each direction gives its own,
	 * maybe on empty `in`; head.attributes belong to the calls that follow. */
	PIECE_SWITCH = 1 << 7,
	PIECE_BOTH = 1 << 8, /* with ABORT: both messages of the call end here */
};

struct framer_ops;

/*
 * All of it is borrowed: valid until the next call of any framer in this thread (heads stand in a scratch
 * of the thread, not in 65,536 connections), and no longer than `in`.
 */
struct piece {
	unsigned what;
	unsigned
		flags; /* enum call_flag, raised on the call; COMPRESSED with MESSAGE: on that message */
	enum dir dir; /* preset by the caller; a framer changes it for PUSH_PROMISE and the like */
	uint64_t corr; /* stream, sequence or correlation id; FIFO protocols leave it 0 */
	struct head head;
	struct bytes body;
	uint64_t missing; /* body bytes known to be lost just before `body` (after gap()) */
	const struct framer_ops *
		to; /* SWITCH: NULL = probe again. With corr: the open call goes on there by that id */
	const char *
		cap; /* static snake_case name of the limit that cut something here, counted by it; else NULL */
};

/* SURE: by probe_late only, a YES that the bytes alone prove (see late_sure) */
enum probe_answer { PROBE_NO, PROBE_MORE, PROBE_YES, PROBE_REVERSED, PROBE_SURE };

/* Why a direction ended */
enum end_how { END_FIN, END_RST, END_EVICTED, END_STOP, END_GAP };

/* What is known about a place where a message may start */
enum {
	RESYNC_SEGMENT_START = 1, /* the sender's segment began with in.p[0] */
	RESYNC_TURN =
		2, /* the bytes before it on the connection went the other way; so never right behind a gap of
			  * the same direction, unless the other side had what was lost when it spoke */
	/* Replies, PAIRING_FIFO: hints >> RESYNC_ASKED is 0, or 1 + how many of the newest requests await a reply
	 * that begins at in.p[0] or behind. */
	RESYNC_ASKED = 8,
};

enum framer_pairing {
	PAIRING_FIFO, /* replies in the order of requests */
	PAIRING_ID, /* by corr, FIFO among equal ones */
	PAIRING_TUNNEL, /* one call for the whole connection, opened by the first byte of either side; each
			 * direction gives its own HEAD at its first byte */
};

struct framer_limits {
	size_t header_bytes; /* 64 KiB */
	size_t header_count; /* 256 */
	uint32_t
		streams; /* open ones of a connection, 1,024: the least recently used leaves as ABORT | BOTH with
			   * FLAG_EVICTED and cap "streams" */
	size_t frame_bytes; /* 64 MiB: a longer claim is no frame (what a message keeps is call's limit) */
};

struct framer_ops {
	const char *name; /* value of the record's `protocol` */
	size_t state_size; /* the caller zeroes it, then calls init */
	enum framer_pairing pairing;
	bool skips_bodies; /* stays in step when body bytes are missing: gap() may answer 0 */
	/* Named by a weak signature: an error before its first complete call says that it was another protocol;
	 * what it gave until then is taken back, and the connection is opaque. */
	bool weak;

	/*
	 * What the first bytes of the connection's two directions say; either may be empty. Reads no
	 * further than 4 KiB. A strong magic may answer YES on one side alone, a weak one on both.
	 * REVERSED: yes, with client and server the other way round.
	 */
	enum probe_answer (*probe)(struct bytes request, struct bytes response);

	/*
	 * NULL: probe() serves. The same for a connection joined in the middle: one of the heads begins with a
	 * sender's segment that came after a turn (probably a frame or message start, maybe the middle of one), the
	 * other is empty or what came just before it. Reads frames rather than prefaces; two frames in a row that
	 * agree, or both directions, or a long strong magic. Wrongly YES costs the whole connection: better MORE.
	 */
	enum probe_answer (*probe_late)(struct bytes request, struct bytes response);
	/* Each YES of it is proved by the bytes alone: also asked at the first segment seen of a connection joined in the
	 * middle, which came after nobody knows what. */
	bool late_sure;

	/* late: the connection was joined in the middle; resync() comes before next(). -ENOMEM. */
	int (*init)(void *state, const struct framer_limits *limits, bool late);

	/*
	 * The next piece of `dir`, whose unread bytes are `in`. Sets all of *out and *need. After gap() and
	 * after the other direction moved it is worth calling with empty `in` too (END, SWITCH).
	 *  n > 0   n bytes are done, and `out` says what they were (what may be 0: part of the message)
	 *  n == 0  and out->what != 0: a piece that consumes nothing (an END after a gap, a SWITCH)
	 *  n == 0  and out->what == 0: needs more; *need is how many bytes from in.p on at least (0: any);
	 *          nothing visible has changed, the same bytes come again with more behind them, maybe still
	 *          fewer than *need
	 *  -EPROTO out->flags says why, out->corr where. Flags set: this is not (or no longer) the protocol,
	 *          for good. Flags 0: out of step after a loss or a late join; as after a lost gap() the
	 *          open message of this direction is given up and resync() may bring it back.
	 *          It holds for this direction; the answer stays the same until resync().
	 *  -ENOMEM
	 * A head that is wrong, but whose start says what was called, comes first as a HEAD with n == 0,
	 * flags raised, outcome UNKNOWN, and the fields before the fault; the next call gives -EPROTO with
	 * the same flags. Its bytes are not taken: they belong to what reads the direction afterwards.
	 * A head may be asked for whole (64 KiB at most); a body is given out as it comes.
	 */
	int64_t (*next)(void *state, enum dir dir, struct bytes in, struct piece *out,
			size_t *need);

	/*
	 * n bytes of `dir` are missing here. 0: kept in step, the body has a hole (next() tells with
	 * piece.missing, also with an END and empty body); -EPROTO: lost, the open message of this
	 * direction is given up and resync() comes next. Bytes before the gap that next() did not take
	 * are the caller's to drop.
	 */
	int (*gap)(void *state, enum dir dir, uint64_t n);

	/*
	 * Looks for a verified start of a message in `in`. 1: at in.p + *skip; the state of this direction
	 * stands before a message. 0: not in the first *skip bytes, drop those; wants more after them.
	 * hints speak of in.p[0]: bytes that were not skipped come again with the same hints and more
	 * behind them. May be called on one direction without success for as long as the other direction
	 * is needed to be sure (an HTTP/1 response waits for a known request).
	 */
	int (*resync)(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip);

	/* Optional: no bytes will come behind those that wait now; next() must not ask for more that it can do
	 * without. end() follows. */
	void (*last)(void *state, enum dir dir);

	/* The direction ended; called until it leaves out->what 0. Gives END for a message that a close
	 * completes (HTTP/1 read until close), ABORT for a cut one. */
	void (*end)(void *state, enum dir dir, enum end_how how, struct piece *out);

	void (*fini)(void *state);

	/*
	 * NULL, or: the state (after init) takes over from a framer that gave the SWITCH `from` with corr: the request
	 * of that id was sent whole, its answer comes (http2: stream 1, half closed by the client).
	 */
	int (*adopt)(void *state, const struct piece *from);
};
