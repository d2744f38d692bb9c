/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/dubbo2_body.h"

#include "rpc/hessian.h"
#include "rpc/jsonb.h"
#include "rpc/sized.h"

enum { ARGUMENTS_MAX = 255, NUMBERS_MAX = 32, STATUS_OK = 20 };

static const char cap_attachments[] = "dubbo2_attachments";
static const char cap_name[] = "dubbo2_name";

static _Thread_local struct {
	struct header headers[DUBBO2_HEADERS_MAX];
	size_t n, max;
	char *text;
	char numbers[NUMBERS_MAX * (SIZED_DECIMAL_MAX + 1)];
} scratch;

bool dubbo2_body_readable(uint8_t serialization)
{
	return serialization == DUBBO2_HESSIAN2 || serialization == DUBBO2_FASTJSON2;
}

/* ---- what both serializations share ---- */

static void start(struct dubbo2_body *b, size_t max_headers)
{
	*b = (struct dubbo2_body) {0};
	scratch.n = 0;
	scratch.max = max_headers < DUBBO2_HEADERS_MAX ? max_headers : DUBBO2_HEADERS_MAX;
	scratch.text = scratch.numbers;
}

static void name_set(struct dubbo2_body *b, struct bytes *to, struct bytes name)
{
	if (sized_is_name(name))
		*to = name;
	else if (name.n)
		b->cap = cap_name;
}

static bool is_generic(struct bytes method)
{
	return bytes_eq(method, BYTES("$invoke")) || bytes_eq(method, BYTES("$invokeAsync"));
}

static void header_add(struct dubbo2_body *b, struct bytes name, struct bytes value)
{
	if (scratch.n == scratch.max)
		b->cap = cap_attachments;
	else if (!sized_is_name(name))
		b->cap = cap_name;
	else
		scratch.headers[scratch.n++] = (struct header) {name, value, PROVENANCE_LITERAL};
}

static void header_add_number(struct dubbo2_body *b, struct bytes name, int64_t v)
{
	char *text = scratch.text;
	size_t room = (size_t)(scratch.numbers + sizeof(scratch.numbers) - text);

	if (room <= SIZED_DECIMAL_MAX) {
		b->cap = cap_attachments;
		return;
	}
	if (v < 0)
		*scratch.text++ = '-';
	sized_decimal(&scratch.text, v < 0 ? -(uint64_t)v : (uint64_t)v);
	header_add(b, name, bytes_of(text, (size_t)(scratch.text - text)));
}

static void headers_set(struct dubbo2_body *b)
{
	b->headers = scratch.headers;
	b->n_headers = scratch.n;
}

/* How many arguments the types name (JVMS 4.3.2: "Ljava/lang/String;[IZ"); -1: none such. */
static int arguments_count(struct bytes types)
{
	struct cursor c = cursor_of(types);
	int n = 0;

	while (cursor_left(&c)) {
		uint8_t t = cursor_u8(&c);
		if (t == '[')
			continue;
		if (t == 'L')
			while (!c.bad && cursor_u8(&c) != ';')
				;
		else if (!t || !strchr("ZBCSIJFD", t))
			return -1;
		if (c.bad || ++n > ARGUMENTS_MAX)
			return -1;
	}
	return types.n && types.p[types.n - 1] == '[' ? -1 : n;
}

/* ---- hessian2 ---- */

static void hessian_attachment(struct dubbo2_body *b, struct hessian *h, struct bytes name)
{
	int tag = hessian_peek(h);
	struct bytes value;
	int64_t number;

	if (hessian_string(h, &value)) {
		header_add(b, name, value);
	} else if (tag == 'T' || tag == 'F') {
		header_add(b, name, tag == 'T' ? BYTES("true") : BYTES("false"));
		hessian_skip(h);
	} else if (hessian_number(h, &number)) {
		header_add_number(b, name, number);
	} else {
		hessian_skip(h);
	}
}

/* The map that ends the body. */
static void hessian_attachments(struct dubbo2_body *b, struct hessian *h)
{
	if (!hessian_map(h))
		return;
	while (!hessian_map_end(h)) {
		struct bytes name;
		if (!hessian_string(h, &name))
			return;
		hessian_attachment(b, h, name);
		if (h->c.bad)
			return;
	}
	if (!cursor_left(&h->c))
		headers_set(b);
}

static bool hessian_pass(struct dubbo2_body *b, struct hessian *h)
{
	bool passed = hessian_skip(h);

	if (h->over)
		b->cap = "hessian";
	return passed;
}

static void hessian_request(struct dubbo2_body *b, struct bytes in, bool whole)
{
	struct hessian h = hessian_of(in);
	struct bytes dubbo, service, version, method, types;

	if (!hessian_string(&h, &dubbo) || !hessian_string(&h, &service))
		return;
	name_set(b, &b->service, service);
	if (!hessian_string(&h, &version))
		return;
	name_set(b, &b->service_version, version);
	if (!hessian_string(&h, &method))
		return;
	name_set(b, &b->method, method);
	if (!hessian_string(&h, &types))
		return;
	int n = arguments_count(types);
	if (is_generic(method)) {
		struct hessian first = h;
		struct bytes name;
		if (hessian_string(&first, &name))
			name_set(b, &b->generic_method, name);
	}
	for (; whole && n > 0; n--)
		if (!hessian_pass(b, &h))
			return;
	if (n == 0)
		hessian_attachments(b, &h);
}

static void hessian_response(struct dubbo2_body *b, uint8_t status, struct bytes in, bool whole)
{
	struct hessian h = hessian_of(in);
	int32_t kind;

	if (status != STATUS_OK) {
		b->result_known = true;
		hessian_string_start(&h, &b->text);
		return;
	}
	if (!hessian_int(&h, &kind) || kind < 0 || kind > 5)
		return;
	b->result_known = true;
	b->exception = kind % 3 == 0;
	if (b->exception) {
		struct hessian value = h;
		hessian_exception_text(&value, &b->text);
	}
	if (!whole || kind < 3 || (kind != 5 && !hessian_pass(b, &h)))
		return;
	hessian_attachments(b, &h);
}

/* ---- fastjson2: each value behind its length ---- */

static bool json_value(struct cursor *c, struct cursor *value)
{
	struct bytes v = cursor_take(c, cursor_be32(c));

	*value = cursor_of(v);
	return !c->bad;
}

static bool json_string(struct cursor *c, struct bytes *s)
{
	struct cursor value;

	*s = bytes_of(NULL, 0);
	return json_value(c, &value) && jsonb_string(&value, s) && !cursor_left(&value);
}

static bool json_attachment(struct dubbo2_body *b, struct cursor *c, struct bytes name)
{
	struct cursor as_string = *c, as_int = *c;
	struct bytes value;
	int64_t number;

	if (jsonb_string(&as_string, &value)) {
		*c = as_string;
		header_add(b, name, value);
		return true;
	}
	if (!jsonb_int(&as_int, &number)) /* the way past other values is not known */
		return false;
	*c = as_int;
	header_add_number(b, name, number);
	return true;
}

static void json_attachments(struct dubbo2_body *b, struct cursor *body)
{
	struct cursor c;

	if (!json_value(body, &c) || cursor_left(body) || cursor_u8(&c) != JSONB_OBJECT)
		return;
	while (cursor_left(&c) && c.p[0] != JSONB_OBJECT_END) {
		struct bytes name;
		if (!jsonb_string(&c, &name) || !json_attachment(b, &c, name))
			break;
	}
	headers_set(b);
}

static void json_request(struct dubbo2_body *b, struct bytes in, bool whole)
{
	struct cursor c = cursor_of(in), value;
	struct bytes dubbo, service, version, method, types;

	if (!json_string(&c, &dubbo) || !json_string(&c, &service))
		return;
	name_set(b, &b->service, service);
	if (!json_string(&c, &version))
		return;
	name_set(b, &b->service_version, version);
	if (!json_string(&c, &method))
		return;
	name_set(b, &b->method, method);
	if (!json_string(&c, &types))
		return;
	int n = arguments_count(types);
	if (is_generic(method)) {
		struct cursor first = c;
		struct bytes name;
		if (json_string(&first, &name))
			name_set(b, &b->generic_method, name);
	}
	for (; whole && n > 0; n--)
		if (!json_value(&c, &value))
			return;
	if (n == 0)
		json_attachments(b, &c);
}

static void json_response(struct dubbo2_body *b, uint8_t status, struct bytes in, bool whole)
{
	struct cursor c = cursor_of(in), value;
	int64_t kind;

	if (status != STATUS_OK) {
		b->result_known = true;
		json_string(&c, &b->text);
		return;
	}
	if (!json_value(&c, &value) || !jsonb_int(&value, &kind) || kind < 0 || kind > 5)
		return;
	b->result_known = true;
	b->exception = kind % 3 == 0;
	if (whole && kind >= 3 && (kind == 5 || json_value(&c, &value)))
		json_attachments(b, &c);
}

/* ---- either ---- */

void dubbo2_body_request(struct dubbo2_body *b, uint8_t serialization, struct bytes in, bool whole,
			 size_t max_headers)
{
	start(b, max_headers);
	if (serialization == DUBBO2_HESSIAN2)
		hessian_request(b, in, whole);
	else if (serialization == DUBBO2_FASTJSON2)
		json_request(b, in, whole);
	if (!whole)
		b->cap = cap_attachments;
}

void dubbo2_body_response(struct dubbo2_body *b, uint8_t serialization, uint8_t status,
			  struct bytes in, bool whole, size_t max_headers)
{
	start(b, max_headers);
	if (serialization == DUBBO2_HESSIAN2)
		hessian_response(b, status, in, whole);
	else if (serialization == DUBBO2_FASTJSON2)
		json_response(b, status, in, whole);
	if (!whole)
		b->cap = cap_attachments;
}

/* Digits and dots, maybe with a suffix of letters: "2.0.2" */
static bool is_version(struct bytes v)
{
	if (v.n < 3 || v.n > 16 || v.p[0] < '0' || v.p[0] > '9')
		return false;
	for (size_t i = 0; i < v.n; i++) {
		uint8_t c = v.p[i], low = c | 0x20;
		if (!(c >= '0' && c <= '9') && c != '.' && c != '-' && !(low >= 'a' && low <= 'z'))
			return false;
	}
	return memchr(v.p, '.', v.n) != NULL;
}

static bool hessian_check(bool request, uint8_t status, struct bytes in)
{
	struct hessian h = hessian_of(in);
	struct bytes dubbo;
	int tag = hessian_peek(&h);

	if (request)
		return hessian_string(&h, &dubbo) && is_version(dubbo);
	if (status == STATUS_OK)
		return tag >= 0x90 && tag <= 0x95;
	return tag >= 0 && (tag <= 0x1f || (tag >= 0x30 && tag <= 0x33) || tag == 'R' ||
			    tag == 'S' || tag == 'N');
}

static bool json_check(bool request, uint8_t status, struct bytes in, uint32_t len)
{
	struct cursor c = cursor_of(in), value;
	struct bytes dubbo;
	int64_t kind;

	if (request)
		return json_string(&c, &dubbo) && is_version(dubbo);
	if (status == STATUS_OK)
		return json_value(&c, &value) && jsonb_int(&value, &kind) && kind >= 0 && kind <= 5;
	return cursor_be32(&c) <= len - 4 && !c.bad;
}

int dubbo2_body_check(uint8_t serialization, bool request, uint8_t status, struct bytes in,
		      uint32_t len)
{
	size_t want = len < DUBBO2_START_MAX ? len : DUBBO2_START_MAX;

	if (!dubbo2_body_readable(serialization))
		return 1;
	if (in.n < want)
		return 0;
	in = bytes_head(in, want);
	bool good = serialization == DUBBO2_HESSIAN2 ? hessian_check(request, status, in)
						     : json_check(request, status, in, len);
	return good ? 1 : -1;
}
