/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the body of a Dubbo2 message tells (apache/dubbo DecodeableRpcInvocation, DecodeableRpcResult).
 * Request: Dubbo's version, path, service version, method, types of the arguments, arguments, attachments. Reply: a
 * number (0 exception, 1 value, 2 null; 3, 4, 5 the same with attachments), the value, attachments. A reply
 * with another status than 20: one string.
 *
 * Attachments lie behind the arguments. Those are stepped over; where that is not possible, or does not end
 * exactly at the body's end, there are no attachments rather than wrong ones.
 */
#pragma once
#include "rpc/framer.h"

enum { DUBBO2_HESSIAN2 = 2, DUBBO2_FASTJSON2 = 23, DUBBO2_HEADERS_MAX = 256 };

/* All of it borrowed from the body; headers and numbers lie in a scratch of the thread. */
struct dubbo2_body {
	struct bytes service, method, service_version;
	struct bytes generic_method; /* of a call to $invoke: the method that is meant */
	struct bytes text; /* of an error or an exception */
	bool result_known, exception;
	const struct header *headers;
	size_t n_headers;
	const char *cap; /* a limit that left something out */
};

/* Is a body in this serialization read at all? */
bool dubbo2_body_readable(uint8_t serialization);

/* `in`: the body, or its beginning when it is not `whole`. At most max_headers. */
void dubbo2_body_request(struct dubbo2_body *b, uint8_t serialization, struct bytes in, bool whole,
			 size_t max_headers);
void dubbo2_body_response(struct dubbo2_body *b, uint8_t serialization, uint8_t status,
			  struct bytes in, bool whole, size_t max_headers);

/* Could the body of a message begin so? 1, 0: needs DUBBO2_START_MAX bytes, or the whole; -1: no. */
enum { DUBBO2_START_MAX = 24 };
int dubbo2_body_check(uint8_t serialization, bool request, uint8_t status, struct bytes in,
		      uint32_t len);
