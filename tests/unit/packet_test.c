/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of every link type to packets; rows I2 - I5, I7, T16, T22. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/gen.h"

static const int links[] = {0, 1, 12, 14, 101, 108, 113, 228, 229, 276};
enum { N_LINKS = sizeof(links) / sizeof(*links), FRAME_MAX = 400000 };
static uint8_t frame[FRAME_MAX];

static struct packet made(const char *client, const char *server, struct bytes data)
{
	struct packet p = {.ts_ns = 77,
			   .sport = 40000,
			   .dport = 80,
			   .seq = 0xdeadbeef,
			   .ack = 0x12345678,
			   .flags = TCP_ACK | TCP_PSH | TCP_URG,
			   .urg = 3,
			   .len = (uint32_t)data.n,
			   .data = data,
			   .hook = PACKET_PCAP};
	gen_addr(p.src, client);
	gen_addr(p.dst, server);
	return p;
}

static void same(const struct packet *a, const struct packet *b)
{
	assert_memory_equal(a->src, b->src, 16);
	assert_memory_equal(a->dst, b->dst, 16);
	assert_int_equal(a->sport, b->sport);
	assert_int_equal(a->dport, b->dport);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->ack, b->ack);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->urg, b->urg);
	assert_int_equal(a->len, b->len);
	assert_int_equal(a->ts_ns, b->ts_ns);
	assert_int_equal(a->data.n, b->data.n);
	assert_memory_equal(a->data.p, b->data.p, b->data.n);
}

static enum packet_result parse(int link, size_t n, size_t wire, struct packet *out)
{
	uint8_t *exact = malloc(n + 1); /* so that a read past it is seen */
	memcpy(exact, frame, n);
	enum packet_result r = packet_parse(link, bytes_of(exact, n), (uint32_t)wire, 77, out);
	if (r == PACKET_OK && out->data.n) {
		assert_true(out->data.p >= exact && out->data.p + out->data.n <= exact + n);
		out->data.p = frame + (out->data.p - exact);
	}
	free(exact);
	return r;
}

static void every_link_type(void **state)
{
	(void)state;
	for (int i = 0; i < N_LINKS; i++)
		for (int v6 = 0; v6 < 2; v6++) {
			if ((links[i] == 228 && v6) || (links[i] == 229 && !v6))
				continue;
			struct packet p = v6 ? made("fd00::1", "fd00::2", BYTES("hello"))
					     : made("10.0.0.1", "10.0.0.2", BYTES("hello"));
			size_t n = gen_frame(&p, links[i], frame, sizeof(frame));
			struct packet q;
			assert_int_equal(parse(links[i], n, n, &q), PACKET_OK);
			same(&q, &p);
			/* padding of short Ethernet frames is no payload */
			memset(frame + n, 0xaa, 20);
			assert_int_equal(parse(links[i], n + 20, n + 20, &q), PACKET_OK);
			same(&q, &p);
			/* cut anywhere: never more than there is */
			for (size_t cut = 0; cut < n; cut++) {
				enum packet_result r = parse(links[i], cut, n, &q);
				if (cut + 5 < n)
					assert_int_equal(r, PACKET_MALFORMED);
				else
					assert_int_equal(r, PACKET_OK);
				if (r == PACKET_OK) {
					assert_int_equal(q.len, 5);
					assert_int_equal(q.data.n, 5 - (n - cut));
				}
			}
		}
	struct packet q;
	assert_int_equal(parse(147, 60, 60, &q), PACKET_UNSUPPORTED);
}

static void vlan_tags(void **state)
{
	(void)state;
	struct packet p = made("10.0.0.1", "10.0.0.2", BYTES("tagged")), q;
	size_t n = gen_frame(&p, 1, frame, sizeof(frame));
	static const uint8_t tags[8] = {0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6};
	memmove(frame + 20, frame + 12, n - 12);
	memcpy(frame + 12, tags, 8);
	assert_int_equal(parse(1, n + 8, n + 8, &q), PACKET_OK);
	same(&q, &p);
}

/* Super-segments of lo: no length in IPv4, a jumbo option in IPv6 */
static void I2_I3_super_segments(void **state)
{
	(void)state;
	static const size_t sizes[] = {65483, 65495, 65496, 65516, 65536, 131018, 261936};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			uint8_t *data = gen_bytes(DIR_REQUEST, 0, sizes[i]);
			struct packet p = made(v6 ? "::1" : "127.0.0.1", v6 ? "::1" : "127.0.0.1",
					       bytes_of(data, sizes[i]));
			struct packet q;
			size_t n = gen_frame(&p, 1, frame, sizeof(frame));
			assert_int_equal(parse(1, n, n, &q), PACKET_OK);
			same(&q, &p);
			/* a snap length cuts what is captured, not the length */
			assert_int_equal(parse(1, 1000, n, &q), PACKET_OK);
			assert_int_equal(q.len, sizes[i]);
			assert_true(q.data.n < 1000);
			free(data);
		}
}

static void I4_fragments(void **state)
{
	(void)state;
	struct packet p = made("10.0.0.1", "10.0.0.2", BYTES("hello")), q;
	size_t n = gen_frame(&p, 228, frame, sizeof(frame));
	frame[6] = 0x20; /* more fragments */
	assert_int_equal(parse(228, n, n, &q), PACKET_IP_FRAG);
	frame[6] = 0, frame[7] = 1; /* an offset */
	assert_int_equal(parse(228, n, n, &q), PACKET_IP_FRAG);
	frame[6] = 0x40, frame[7] = 0; /* do not fragment */
	assert_int_equal(parse(228, n, n, &q), PACKET_OK);
}

/* One IPv6 packet with a chain of extension headers of 8 bytes each, whose types these are */
static enum packet_result chain(const uint8_t *types, size_t n_types, uint16_t fragment,
				struct packet *q)
{
	struct packet p = made("::1", "::1", BYTES("hello"));
	size_t n = gen_frame(&p, 229, frame, sizeof(frame)), ext = n_types * 8;
	memmove(frame + 40 + ext, frame + 40, n - 40);
	memset(frame + 40, 0, ext);
	frame[5] = (uint8_t)(frame[5] + ext);
	uint8_t *next = frame + 6;
	for (size_t i = 0; i < n_types; i++) {
		*next = types[i];
		next = frame + 40 + i * 8;
		if (types[i] == 44) {
			next[2] = (uint8_t)(fragment >> 8);
			next[3] = (uint8_t)fragment;
		}
	}
	*next = 6;
	return parse(229, n + ext, n + ext, q);
}

static void I5_extension_headers(void **state)
{
	(void)state;
	struct packet q, p = made("::1", "::1", BYTES("hello"));
	static const uint8_t some[] = {0, 43, 60, 44, 135},
			     many[] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
	assert_int_equal(chain(some, sizeof(some), 0, &q), PACKET_OK);
	same(&q, &p);
	assert_int_equal(chain(some, sizeof(some), 1, &q), PACKET_IP_FRAG);
	assert_int_equal(chain(some, sizeof(some), 0x0100, &q), PACKET_IP_FRAG);
	assert_int_equal(chain(many, 8, 0, &q), PACKET_OK);
	assert_int_equal(chain(many, 9, 0, &q), PACKET_UNSUPPORTED);
}

static void I7_not_tcp(void **state)
{
	(void)state;
	struct packet p = made("10.0.0.1", "10.0.0.2", BYTES("hello")), q;
	size_t n = gen_frame(&p, 1, frame, sizeof(frame));
	frame[14 + 9] = 17; /* UDP */
	assert_int_equal(parse(1, n, n, &q), PACKET_NOT_TCP);
	frame[14 + 9] = 1; /* ICMP */
	assert_int_equal(parse(1, n, n, &q), PACKET_NOT_TCP);
	frame[12] = 0x08, frame[13] = 0x06; /* ARP */
	assert_int_equal(parse(1, n, n, &q), PACKET_NOT_TCP);
}

static void T16_checksum_is_not_judged(void **state)
{
	(void)state;
	struct packet p = made("10.0.0.1", "10.0.0.2", BYTES("hello")), q;
	size_t n = gen_frame(&p, 228, frame, sizeof(frame));
	for (int i = 0; i < 256; i++) {
		frame[36] = (uint8_t)i;
		assert_int_equal(parse(228, n, n, &q), PACKET_OK);
	}
}

static void T22_malformed(void **state)
{
	(void)state;
	struct packet p = made("10.0.0.1", "10.0.0.2", BYTES("hello")), q;
	size_t n = gen_frame(&p, 228, frame, sizeof(frame));
	for (unsigned offset = 0; offset < 16;
	     offset++) { /* data offset, in words; 25 bytes of TCP */
		frame[32] = (uint8_t)(offset << 4);
		assert_int_equal(parse(228, n, n, &q),
				 offset == 5 || offset == 6 ? PACKET_OK : PACKET_MALFORMED);
		if (offset == 6) /* four bytes of garbage options: skipped, never read */
			assert_int_equal(q.len, 1);
	}
	frame[32] = 0x50;
	for (unsigned words = 0; words < 5; words++) { /* IP header length */
		frame[0] = (uint8_t)(0x40 | words);
		assert_int_equal(parse(228, n, n, &q), PACKET_MALFORMED);
	}
	frame[0] = 0x45;
	frame[3] = 19; /* total length: less than the header */
	assert_int_equal(parse(228, n, n, &q), PACKET_MALFORMED);
	frame[3] = (uint8_t)(n + 1); /* more than the wire had */
	assert_int_equal(parse(228, n, n, &q), PACKET_MALFORMED);
	frame[3] = (uint8_t)n;
	frame[33] = TCP_ACK;
	frame[3] = 40; /* no payload: the rest is padding */
	assert_int_equal(parse(228, n, n, &q), PACKET_CONTROL);
	frame[33] = TCP_ACK | TCP_FIN;
	assert_int_equal(parse(228, n, n, &q), PACKET_OK);
	assert_int_equal(q.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_link_type),
		cmocka_unit_test(vlan_tags),
		cmocka_unit_test(I2_I3_super_segments),
		cmocka_unit_test(I4_fragments),
		cmocka_unit_test(I5_extension_headers),
		cmocka_unit_test(I7_not_tcp),
		cmocka_unit_test(T16_checksum_is_not_judged),
		cmocka_unit_test(T22_malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
