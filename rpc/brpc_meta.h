/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RpcMeta of bRPC's baidu_std (apache/brpc src/brpc/policy/baidu_rpc_meta.proto): what routes and pairs a message.
 */
#pragma once
#include "base/bytes.h"

struct brpc_meta {
	bool request, response; /* the fields 1 and 2 are there; a message is a reply if 2 is */
	struct bytes service, method, request_id, error_text; /* borrowed */
	uint64_t log_id, trace_id, span_id, corr, attachment;
	uint64_t timeout_ms;
	int32_t error_code, compress;
	bool auth; /* a credential is there; it is never handed out */
};

/* false: no such message. */
bool brpc_meta_parse(struct bytes in, struct brpc_meta *m);
