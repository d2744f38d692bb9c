/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/brpc_meta.h"

#include "rpc/pbwire.h"

static bool request_parse(struct bytes in, struct brpc_meta *m)
{
	struct cursor c = cursor_of(in);
	struct pbwire_field f;

	while (pbwire_next(&c, &f))
		switch (f.number << 3 | f.type) {
		case 1 << 3 | PBWIRE_LEN: m->service = f.bytes; break;
		case 2 << 3 | PBWIRE_LEN: m->method = f.bytes; break;
		case 3 << 3 | PBWIRE_VARINT: m->log_id = f.value; break;
		case 4 << 3 | PBWIRE_VARINT: m->trace_id = f.value; break;
		case 5 << 3 | PBWIRE_VARINT: m->span_id = f.value; break;
		case 7 << 3 | PBWIRE_LEN: m->request_id = f.bytes; break;
		case 8 << 3 | PBWIRE_VARINT: m->timeout_ms = f.value; break;
		}
	return !c.bad;
}

static bool response_parse(struct bytes in, struct brpc_meta *m)
{
	struct cursor c = cursor_of(in);
	struct pbwire_field f;

	while (pbwire_next(&c, &f))
		switch (f.number << 3 | f.type) {
		case 1 << 3 | PBWIRE_VARINT: m->error_code = (int32_t)f.value; break;
		case 2 << 3 | PBWIRE_LEN: m->error_text = f.bytes; break;
		}
	return !c.bad;
}

bool brpc_meta_parse(struct bytes in, struct brpc_meta *m)
{
	struct cursor c = cursor_of(in);
	struct pbwire_field f;

	*m = (struct brpc_meta) {0};
	while (pbwire_next(&c, &f))
		switch (f.number << 3 | f.type) {
		case 1 << 3 | PBWIRE_LEN:
			m->request = true;
			c.bad |= !request_parse(f.bytes, m);
			break;
		case 2 << 3 | PBWIRE_LEN:
			m->response = true;
			c.bad |= !response_parse(f.bytes, m);
			break;
		case 3 << 3 | PBWIRE_VARINT: m->compress = (int32_t)f.value; break;
		case 4 << 3 | PBWIRE_VARINT: m->corr = f.value; break;
		case 5 << 3 | PBWIRE_VARINT: m->attachment = (uint32_t)f.value; break;
		case 7 << 3 | PBWIRE_LEN: m->auth = true; break;
		}
	return !c.bad;
}
