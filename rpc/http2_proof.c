/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_proof.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/http2_head.h"

struct proof {
	uint32_t entries[HPACK_UNKNOWN_MAX];
	uint8_t n;
};

struct http2_proofs {
	struct proof list[HTTP2_PROOFS_MAX];
	uint32_t added;
};

void http2_proof_note(struct http2_stream *s, const struct http2_fields *f)
{
	s->n_unknown = f->unknown_whole ? f->n_unknown : 0;
	memcpy(s->unknown, f->unknown_entries, s->n_unknown * sizeof(s->unknown[0]));
}

void http2_proof_data(struct http2_half *half, struct bytes in, uint64_t missing)
{
	struct grpc_run run;

	half->raw |= missing > 0;
	while (in.n && !half->raw) {
		int64_t n = grpc_split_next(&half->split, in, &run);
		half->raw |= n < 0;
		in = bytes_from(in, n < 0 ? 0 : (size_t)n);
	}
}

static bool half_is_grpc(const struct http2_half *half)
{
	return half->data && !half->raw && !half->missing && !grpc_split_cut(&half->split);
}

bool http2_proof_by_frames(const struct http2_stream *s)
{
	return s->http_status == 200 && s->half[DIR_REQUEST].state == HTTP2_DONE &&
	       half_is_grpc(&s->half[DIR_REQUEST]) && half_is_grpc(&s->half[DIR_RESPONSE]);
}

static bool has(const uint32_t *list, size_t n, uint32_t entry)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == entry)
			return true;
	return false;
}

static bool covers(const uint32_t *list, size_t n, const struct proof *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!has(list, n, p->entries[i]))
			return false;
	return p->n > 0;
}

static bool proven(const struct http2_proofs *proofs, const uint32_t *list, size_t n)
{
	for (size_t i = 0; proofs && i < HTTP2_PROOFS_MAX; i++)
		if (covers(list, n, &proofs->list[i]))
			return true;
	return false;
}

void http2_proof_add(struct http2_proofs **proofs, const struct http2_stream *s)
{
	if (!s->n_unknown || proven(*proofs, s->unknown, s->n_unknown))
		return;
	if (!*proofs)
		*proofs = calloc(1, sizeof(**proofs));
	if (!*proofs)
		return;
	struct proof *p = &(*proofs)->list[(*proofs)->added++ % HTTP2_PROOFS_MAX];
	p->n = s->n_unknown;
	memcpy(p->entries, s->unknown, p->n * sizeof(p->entries[0]));
}

bool http2_proof_holds(const struct http2_proofs *proofs, const struct http2_fields *f)
{
	return proven(proofs, f->unknown_entries, f->n_unknown);
}
