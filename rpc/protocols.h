/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol table. Order = order of probing; opaque claims what is left and is last. */
#pragma once
#include "rpc/framer.h"

/* clang-format off */
#define PROTOCOLS(X) \
	X(proxy)     \
	X(http2)     \
	X(http1)     \
	X(brpc)      \
	X(dubbo2)    \
	X(ttheader)  \
	X(theader)   \
	X(kitex_protobuf) \
	X(thrift)    \
	X(thrift_weak) \
	X(opaque)
/* clang-format on */

#define PROTOCOL_DECLARE(name) extern const struct framer_ops framer_##name;
PROTOCOLS(PROTOCOL_DECLARE)
#undef PROTOCOL_DECLARE
