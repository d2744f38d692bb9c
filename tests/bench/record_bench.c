/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds to encode a call of 1 KiB each way with 10 and 6 headers: best, median of the rounds.
 * */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sink/record.h"

enum { ROUNDS = 21, CALLS = 50000 };

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

static double round_ns(struct record_call *c)
{
	double start = now_ns();
	for (unsigned i = 0; i < CALLS; i++) {
		struct record *r = NULL;
		c->sequence = c->record_number = i + 1;
		if (record_encode(c, &r))
			abort();
		record_free(r);
	}
	return (now_ns() - start) / CALLS;
}

int main(void)
{
	static uint8_t body[1024];
	struct header request[10], response[6];
	struct record_capture capture = {.instance = "00112233aabbccdd",
					 .version = "0.1.0",
					 .attach = "cgroup",
					 .host = "node-7",
					 .pod = "pay-6b5",
					 .namespace_ = "shop",
					 .container = "sidetap",
					 .service_name = "pay",
					 .config_hash = "8899aabbccddeeff",
					 .config_version = 1,
					 .config_unix_ns = 1700000000000000000};
	for (unsigned i = 0; i < 10; i++)
		request[i] = (struct header) {BYTES("x-forwarded-for"), BYTES("10.1.2.3, 10.4.5.6"),
					      PROVENANCE_LITERAL};
	for (unsigned i = 0; i < 6; i++)
		response[i] = (struct header) {BYTES("content-type"), BYTES("application/json"),
					       PROVENANCE_LITERAL};
	struct record_call c = {
		.connection_id = BYTES("00112233aabbccdd-12"),
		.last_part = true,
		.protocol = "http1",
		.service = BYTES("pay.shop.svc:8080"),
		.method = BYTES("POST"),
		.path = BYTES("/v1/orders/12345"),
		.status = 200,
		.outcome = OUTCOME_OK,
		.status_text = BYTES("OK"),
		.request = {true,
			    1790000000000000000,
			    1790000000000100000,
			    request,
			    10,
			    NULL,
			    0,
			    {body, sizeof(body)},
			    sizeof(body),
			    1300},
		.response = {true,
			     1790000000000200000,
			     1790000000000300000,
			     response,
			     6,
			     NULL,
			     0,
			     {body, sizeof(body)},
			     sizeof(body),
			     1200},
		.client = BYTES("127.0.0.1:40000"),
		.server = BYTES("127.0.0.1:8080"),
		.weight = 1,
		.rule = BYTES("default"),
		.capture = &capture,
	};
	double ns[ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++)
		ns[i] = round_ns(&c);
	qsort(ns, ROUNDS, sizeof(*ns), ascending);
	printf("record encoder: %.0f calls/s, median %.0f ns, best %.0f ns\n", 1e9 / ns[ROUNDS / 2],
	       ns[ROUNDS / 2], ns[0]);
	return 0;
}
