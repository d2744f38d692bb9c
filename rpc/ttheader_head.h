/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a TTHeader frame (cloudwego/gopkg protocol/ttheader, cloudwego docs "transport protocol TTHeader"):
 *
 *   u32 length behind it | u16 0x1000 | u16 flags | i32 sequence | u16 header size / 4 |
 *   u8 protocol | u8 n, n transforms | info blocks, zeroes | payload
 *
 * Int keys become attributes of the call, by these names in the order of their numbers: mesh_version, transport_type,
 * log_id, from_service, from_cluster, from_idc, to_service, to_cluster, to_idc, to_method, env, dest_address,
 * rpc_timeout_ms, read_timeout_ms, ring_hash_key, ddp_tag, with_mesh_header, connect_timeout_ms, span_context,
 * short_connection, from_method, stress_tag, msg_type, http_content_type, raw_ring_hash_key, lb_type,
 * cluster_shard_id. Those of a reply have the prefix "reply_", since the request's stand under the plain name; what
 * the record says elsewhere is left out: msg_type and to_method of a reply, and frame_type. Numbers from 28 on have no
 * names: they are in `int_keys` ("28=a,31=b"; `reply_int_keys`), as many as fit into 1 KiB.
 *
 * String keys become headers, in the order on the wire; the ACL token is the header gdpr-token among them.
 */
#pragma once
#include "rpc/framer.h"

enum {
	TTHEADER_FIXED = 14, /* bytes before the header proper */
	TTHEADER_MAGIC = 0x1000,
	TTHEADER_OUT_OF_ORDER = 0x01,
	TTHEADER_STREAMING = 0x02,
	TTHEADER_KEYS = 28,
	TTHEADER_HEADERS_MAX = 256,
	TTHEADER_ATTRIBUTES_MAX = TTHEADER_KEYS + 4,
};

enum ttheader_key {
	TTHEADER_TO_SERVICE = 6,
	TTHEADER_TO_METHOD = 9,
	TTHEADER_MSG_TYPE = 22,
	TTHEADER_FRAME_TYPE = 27,
};

/* Values of the key FRAME_TYPE */
enum ttheader_frame {
	TTHEADER_META = 1,
	TTHEADER_HEADER = 2,
	TTHEADER_DATA = 3,
	TTHEADER_TRAILER = 4,
	TTHEADER_RST = 5,
};

/* All spans lie over the bytes parsed. */
struct ttheader_head {
	uint64_t total; /* bytes of the whole frame */
	uint32_t size; /* bytes before the payload */
	uint32_t seq;
	uint16_t flags;
	uint8_t protocol; /* id on the wire */
	uint8_t transforms;
	bool fixed; /* the fields above are right */
	bool cut; /* the header is longer than the limit: its end was not read */
	const char *cap; /* of a limit that was met */
	struct bytes key[TTHEADER_KEYS]; /* the last of each; p is NULL when there was none */
	uint16_t n_keys, n_headers;
	struct bytes isn, biz_status, biz_message, cancel_path, ready_to_reset, traceparent;
	struct bytes others; /* int keys without a name, as text in the thread's scratch */
	const struct header *headers; /* in the thread's scratch, until the next parse */
};

/*
 * Reads the header at the start of `in`. > 0: the bytes it takes, all of head.size, or limits->header_bytes of them
 * (cut). 0: needs *need bytes. -EPROTO: no header; what was read before the fault is in *h, and h->fixed tells
 * whether the fixed part was right. A cut header is only read when it is `eager` to find a fault (while searching):
 * a prefix then gives 0 or -EPROTO, whatever comes behind it.
 */
int64_t ttheader_head_parse(struct ttheader_head *h, struct bytes in, bool eager,
			    const struct framer_limits *limits, size_t *need);

/* 1 ... 6 of key MSG_TYPE; 0: none, or no such number */
unsigned ttheader_head_type(const struct ttheader_head *h);

/* enum ttheader_frame; 0: none */
unsigned ttheader_head_frame(const struct ttheader_head *h);

/* "isn", else the key TO_SERVICE; only when it is a name (printable ASCII without blanks, not too long). */
struct bytes ttheader_head_service(const struct ttheader_head *h);
struct bytes ttheader_head_method(const struct ttheader_head *h);

/* False: no biz-status, or it is 0. */
bool ttheader_head_biz(const struct ttheader_head *h, int32_t *status);

/* Attributes, headers and trace ids of a message of `dir` into *out; attributes lie in the thread's scratch, with
 * `extra` (name NULL: none) behind them. */
void ttheader_head_fill(const struct ttheader_head *h, enum dir dir, struct attribute extra,
			struct head *out);

/* A name that may be shown as method or service */
bool ttheader_head_is_name(struct bytes b);

/* A business error of a reply, over what its payload says. */
void ttheader_head_biz_fill(const struct ttheader_head *h, struct head *out);

/* A Rst frame sent in `dir`, with the code of its payload in *out: attributes rst_by, rst_code, ttscp. */
void ttheader_head_rst_fill(const struct ttheader_head *h, enum dir dir, struct head *out);
