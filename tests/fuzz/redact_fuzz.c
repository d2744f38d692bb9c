/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a body, by every engine: no harm, its beginning is redacted like the whole, and what leaves is still what it was:
 * redacted again it is not dropped as broken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/redact_rig.h"

static const struct {
	const char *rules, *type, *protocol, *transport;
	bool in_order; /* decides on a byte by those before it only */
} kinds[] = {
	{"  json: ['$..k', '$.a.b', '$.l[1]', {path: '$.d', action: drop}]", "application/json",
	 "http1", "", true},
	{"  json: ['$..k']", "text/event-stream", "http1", "", false},
	{"  form: [k, {name: d, action: drop}, 'p*']", "application/x-www-form-urlencoded", "http1",
	 "", false},
	{"  form: [k, {name: d, action: drop}]", "multipart/form-data; boundary=b", "http1", "",
	 false},
	{"  thrift: ['1', '2.1', '3.*', {path: '4', action: drop}, {path: '5', action: hash}]", "",
	 "thrift", "framed+binary", true},
	{"  thrift: ['1', '2.1', {path: '4', action: drop}]", "", "thrift", "unframed+old_binary",
	 true},
	{"  thrift: ['1', '2.1', {path: '4', action: drop}]", "", "ttheader",
	 "unframed+streaming+binary", true},
	{"  protobuf: ['1', '2.1', '3.*.1', {path: '4', action: drop}, {path: '5', action: hash}]",
	 "", "grpc", "", true},
	{"  protobuf: ['1']", "", "kitex_protobuf", "", true},
	{"  headers: ['x-*']", "", "dubbo2", "", false},
	{"  regex: ['k+', 'a.*b', {pattern: '[0-9]{3}', action: hash}]", "text/plain", "http1", "",
	 false},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds), IN_MAX = 16384 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct redactor *redactor_of(size_t i)
{
	static struct redactor *list[KINDS];
	if (!list[i])
		list[i] = rig_redactor(kinds[i].rules);
	return list[i];
}

static int run(size_t i, bool cut, struct bytes in, struct buf *out)
{
	struct header type = {BYTES("content-type"), bytes_str(kinds[i].type), PROVENANCE_LITERAL};
	struct redact_body b = {.protocol = kinds[i].protocol,
				.transport = kinds[i].transport,
				.headers = &type,
				.n_headers = 1,
				.cut = cut};
	struct redaction r = {redactor_of(i), &rig_counts, NULL};
	out->n = 0;
	int rc = redact_body(&r, &b, in, 4 << 20, out);
	must(rc > 0 || out->n == 0);
	if (rc == 0)
		must(buf_append(out, in) == 0);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct buf whole, part, again;
	if (n < 3 || n > IN_MAX)
		return 0;
	size_t kind = data[0] % KINDS;
	struct bytes in = bytes_of(data + 3, n - 3);
	size_t at = (size_t)(data[1] << 8 | data[2]) % (in.n + 1);
	int rc = run(kind, false, in, &whole);
	uint64_t invalid = rig_counts.dropped[REDACT_INVALID];
	if (rc >= 0 && kinds[kind].protocol[0] != 'd') {
		run(kind, false, buf_bytes(&whole), &again);
		must(rig_counts.dropped[REDACT_INVALID] == invalid);
	}
	int beginning = run(kind, true, bytes_head(in, at), &part);
	if (rc >= 0 && kinds[kind].in_order)
		must(beginning >= 0); /* what is right as a whole is right up to any byte */
	must(rig_counts.bodies > 0);
	return 0;
}
