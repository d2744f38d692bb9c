/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/thrift_message.h"

#include <errno.h>

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int thrift_varint(struct bytes in, unsigned max, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < max && i < in.n; i++) {
		v |= (uint64_t)(in.p[i] & 0x7f) << (7 * i);
		if (!(in.p[i] & 0x80)) {
			*out = v;
			return (int)i + 1;
		}
	}
	return in.n < max ? 0 : -EPROTO;
}

static bool name_valid(struct bytes name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
			return false;
	return true;
}

static bool type_valid(unsigned type)
{
	return type >= THRIFT_CALL && type <= THRIFT_ONEWAY;
}

/* As much of the name at `off` as is there. 1: all of it. */
static int name_read(struct bytes in, size_t off, uint64_t n, struct bytes *out, size_t *need)
{
	struct bytes there = bytes_head(bytes_from(in, off), n);

	if (!name_valid(there))
		return -EPROTO;
	*need = off + n;
	*out = there;
	return there.n == n;
}

/* u32 version and type | i32 length | name | i32 seqid */
static int strict_parse(struct bytes in, struct thrift_message *out, size_t *need)
{
	*need = 8;
	if ((in.n > 1 && in.p[1] != 1) || (in.n > 3 && !type_valid(in.p[3])))
		return -EPROTO;
	if (in.n < 8)
		return 0;
	uint32_t n = be32(in.p + 4);
	if (n == 0 || n > INT32_MAX)
		return -EPROTO;
	if (n > THRIFT_NAME_MAX)
		return -E2BIG;
	int r = name_read(in, 8, n, &out->name, need);
	*need += 4;
	if (r < 0 || in.n < *need)
		return r < 0 ? r : 0;
	out->form = THRIFT_BINARY;
	out->type = in.p[3];
	out->seqid = (int32_t)be32(in.p + 8 + n);
	out->struct_off = *need;
	return 1;
}

/* i32 length | name | u8 type | i32 seqid */
static int old_parse(struct bytes in, struct thrift_message *out, size_t *need)
{
	*need = 4;
	if ((in.n > 1 && in.p[1]) || (in.n > 2 && in.p[2] > 1))
		return -EPROTO;
	if (in.n < 4)
		return 0;
	uint32_t n = be32(in.p);
	if (n == 0 || n > THRIFT_NAME_MAX)
		return -EPROTO;
	int r = name_read(in, 4, n, &out->name, need);
	if (r < 0 || (in.n > 4 + n && !type_valid(in.p[4 + n])))
		return -EPROTO;
	*need += 5;
	if (in.n < *need)
		return 0;
	out->form = THRIFT_OLD_BINARY;
	out->type = in.p[4 + n];
	out->seqid = (int32_t)be32(in.p + 5 + n);
	out->struct_off = *need;
	return 1;
}

/* 0x82 | type and version | varint seqid | varint length | name */
static int compact_parse(struct bytes in, struct thrift_message *out, size_t *need)
{
	uint64_t seqid, n;

	*need = in.n + 1;
	if (in.n > 1 && ((in.p[1] & 0x1f) != 1 || !type_valid(in.p[1] >> 5)))
		return -EPROTO;
	if (in.n < 2)
		return 0;
	int a = thrift_varint(bytes_from(in, 2), 5, &seqid);
	if (a <= 0)
		return a;
	int b = thrift_varint(bytes_from(in, 2 + (size_t)a), 5, &n);
	if (b <= 0)
		return b;
	if (seqid > UINT32_MAX || n == 0 || n > INT32_MAX)
		return -EPROTO;
	if (n > THRIFT_NAME_MAX)
		return -E2BIG;
	int r = name_read(in, 2 + (size_t)a + (size_t)b, n, &out->name, need);
	if (r <= 0)
		return r;
	out->form = THRIFT_COMPACT;
	out->type = in.p[1] >> 5;
	out->seqid = (int32_t)(uint32_t)seqid;
	out->struct_off = *need;
	return 1;
}

int thrift_message_parse(struct bytes in, bool old, struct thrift_message *out, size_t *need)
{
	*out = (struct thrift_message) {0};
	*need = 1;
	if (in.n == 0)
		return 0;
	switch (in.p[0]) {
	case 0x80: return strict_parse(in, out, need);
	case 0x82: return compact_parse(in, out, need);
	case 0: return old ? old_parse(in, out, need) : -EPROTO;
	default: return -EPROTO;
	}
}

void thrift_name_split(struct bytes name, struct bytes *service, struct bytes *method)
{
	const uint8_t *colon = name.n ? memrchr(name.p, ':', name.n) : NULL;
	size_t n = colon ? (size_t)(colon - name.p) : 0;

	*service = bytes_of(name.p, n);
	*method = colon ? bytes_from(name, n + 1) : name;
}

const char *thrift_form_name(enum thrift_form form)
{
	static const char *const names[] = {"binary", "old_binary", "compact"};

	return names[form];
}
