/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of Dubbo2 with hessian2 bodies, as tests need them. */
#pragma once
#include "tests/unit/encode.h"

enum { REQUEST = 0xc2, ONE_WAY = 0x82, REPLY = 0x02, EVENT = 0xe2, EVENT_REPLY = 0x22 };

static inline void put_frame(struct buf *b, unsigned flags, unsigned status, uint64_t id,
			     struct bytes body)
{
	put_be(b, 0xdabb, 2);
	put_be(b, flags, 1);
	put_be(b, status, 1);
	put_be(b, id, 8);
	put_be(b, body.n, 4);
	put(b, body);
}

/* A string in hessian2, of ASCII */
static inline void put_string(struct buf *b, struct bytes s)
{
	if (s.n < 32)
		put_be(b, s.n, 1);
	else if (s.n < 1024)
		put_be(b, 0x3000 + s.n, 2);
	else
		put_be(b, (uint64_t)'S' << 16 | s.n, 3);
	put(b, s);
}

static inline void put_start(struct buf *body, const char *service, const char *method,
			     const char *types)
{
	put_string(body, BYTES("2.0.2"));
	put_string(body, bytes_str(service));
	put_string(body, BYTES("1.2.3"));
	put_string(body, bytes_str(method));
	put_string(body, bytes_str(types));
}

static inline void put_attachments(struct buf *body, const char *service)
{
	put_text(body, "H");
	put_string(body, BYTES("path"));
	put_string(body, bytes_str(service));
	put_string(body, BYTES("timeout"));
	put_string(body, BYTES("3000"));
	put_text(body, "Z");
}

/* A call of one string argument */
static inline void put_request(struct buf *b, unsigned flags, uint64_t id, const char *method,
			       struct bytes argument)
{
	struct buf body = {0};

	put_start(&body, "demo.Shop", method, "Ljava/lang/String;");
	put_string(&body, argument);
	put_attachments(&body, "demo.Shop");
	put_frame(b, flags, 0, id, buf_bytes(&body));
	buf_fini(&body);
}
