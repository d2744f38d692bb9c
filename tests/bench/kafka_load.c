/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records into the Kafka sink as fast as it takes them, and the same records as input of kcat:
 *   kafka_load URI RECORDS           sends them, waits until all are delivered
 *   kafka_load write FILE RECORDS    KEY "|k|" RECORD "|~|", for kcat -K'|k|' -D'|~|'
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/sink.h"

enum { BODY = 1024, BODIES = 4096, CONNECTIONS = 32 };

static uint64_t delivered, lost;
static uint8_t bodies[BODIES][BODY]; /* made before: their making is no cost of a sink */

static void on_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		      const char *exit)
{
	(void)ctx, (void)kind, (void)number, (void)last_part;
	delivered += !exit;
	lost += exit != NULL;
}

/* As compressible as JSON: of each 16 bytes a few differ */
static void body_fill(uint8_t *body, uint64_t number)
{
	for (unsigned i = 0; i < BODY; i += 16) {
		char text[17];
		number = number * 6364136223846793005u + 1442695040888963407u;
		snprintf(text, sizeof(text), "{\"amount\":\"%03x\"}", (unsigned)(number >> 52));
		memcpy(body + i, text, 16);
	}
}

static struct record *make(uint64_t number)
{
	uint8_t *body = bodies[number % BODIES];
	char id[32];
	struct record *r = NULL;
	snprintf(id, sizeof(id), "00112233aabbccdd-%u", (unsigned)(number % CONNECTIONS));
	struct record_call c = {
		.connection_id = bytes_str(id),
		.sequence = number / CONNECTIONS + 1,
		.record_number = number,
		.last_part = true,
		.protocol = "http1",
		.service = BYTES("pay.shop.svc:8080"),
		.method = BYTES("POST"),
		.path = BYTES("/v1/orders/12345"),
		.status = 200,
		.outcome = OUTCOME_OK,
		.response = {.present = true, .body = {body, BODY}, .body_bytes = BODY}};
	if (record_encode(&c, &r) < 0)
		abort();
	return r;
}

static int write_file(const char *path, uint64_t n)
{
	FILE *f = fopen(path, "w");
	if (!f)
		return 1;
	for (uint64_t i = 1; i <= n; i++) {
		struct record *r = make(i);
		struct bytes key = record_bytes(r, r->key);
		fprintf(f, "%.*s|k|", (int)key.n, (const char *)key.p);
		fwrite(r->data, 1, r->n, f);
		fputs("|~|", f);
		record_free(r);
	}
	return fclose(f) != 0;
}

static void turn(const struct sink_ops *ops, struct sink *s, int ms)
{
	struct pollfd f = {.fd = ops->fd(s), .events = POLLIN};
	if (poll(&f, 1, ms) > 0)
		ops->service(s);
}

static void send_one(const struct sink_ops *ops, struct sink *s, uint64_t number)
{
	const char *exit = "";
	struct record *r = make(number);
	int e;
	while ((e = ops->submit(s, &r, &exit)) == -EAGAIN)
		turn(ops, s, 1);
	if (e < 0) {
		fprintf(stderr, "kafka_load: refused: %s\n", exit);
		abort();
	}
	if (number % 256 == 0)
		turn(ops, s, 0);
}

int main(int argc, char **argv)
{
	char err[512] = "";
	const struct sink_ops *ops;
	struct sink_cfg cfg = {.instance = "00112233aabbccdd", .report = on_report};
	for (uint64_t i = 0; i < BODIES; i++)
		body_fill(bodies[i], i);
	if (argc == 4 && strcmp(argv[1], "write") == 0)
		return write_file(argv[2], strtoull(argv[3], NULL, 10));
	if (argc != 3) {
		fprintf(stderr, "usage: kafka_load URI RECORDS | kafka_load write FILE RECORDS\n");
		return 2;
	}
	uint64_t n = strtoull(argv[2], NULL, 10);
	struct sink *s = sink_open(argv[1], &cfg, &ops, err, sizeof(err));
	if (!s) {
		fprintf(stderr, "kafka_load: %s\n", err);
		return 1;
	}
	for (uint64_t i = 1; i <= n; i++)
		send_one(ops, s, i);
	ops->drain(s, 60000);
	ops->close(s);
	printf("%llu delivered, %llu lost\n", (unsigned long long)delivered,
	       (unsigned long long)lost);
	return delivered != n;
}
