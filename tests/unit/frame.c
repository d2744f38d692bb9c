/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

static uint64_t seed = 0x9e3779b97f4a7c15;

uint32_t frame_draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 16) % below);
}

void frame_add(struct frame *f, const void *p, size_t n)
{
	assert_true(f->n + n <= FRAME_MAX);
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static void frame_be16(struct frame *f, unsigned v)
{
	frame_add(f, (uint8_t[]) {(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void frame_be32(struct frame *f, uint32_t v)
{
	frame_be16(f, v >> 16);
	frame_be16(f, v & 0xffff);
}

void frame_ether(struct frame *f, unsigned type)
{
	f->n = 0;
	frame_add(f, (uint8_t[12]) {0}, 12);
	frame_be16(f, type);
}

void frame_v4(struct frame *f, unsigned words, unsigned frag, unsigned proto, unsigned tot_len)
{
	frame_ether(f, 0x0800);
	frame_add(f, (uint8_t[]) {(uint8_t)(0x40 | words), 0}, 2);
	frame_be16(f, tot_len);
	frame_be16(f, 1);
	frame_be16(f, frag);
	frame_add(f, (uint8_t[]) {64, (uint8_t)proto, 0, 0}, 4);
	frame_add(f, (uint8_t[]) {127, 0, 0, 1, 127, 0, 0, 2}, 8);
	for (unsigned i = 5; i < words; i++)
		frame_be32(f, 0x01010101);
}

void frame_v6(struct frame *f, unsigned next)
{
	frame_ether(f, 0x86dd);
	frame_be32(f, 0x60000000);
	frame_be16(f, 0);
	frame_add(f, (uint8_t[]) {(uint8_t)next, 64}, 2);
	for (uint8_t i = 0; i < 32; i++)
		frame_add(f, &i, 1);
}

/* An extension header of (units + 1) * 8 bytes */
void frame_ext(struct frame *f, unsigned next, unsigned units)
{
	frame_add(f, (uint8_t[]) {(uint8_t)next, (uint8_t)units, 0, 0, 0, 0, 0, 0}, 8);
	for (unsigned i = 0; i < units; i++)
		frame_add(f, (uint8_t[8]) {0}, 8);
}

void frame_ext_frag(struct frame *f, unsigned next, unsigned off_flags)
{
	frame_add(f, (uint8_t[]) {(uint8_t)next, 0}, 2);
	frame_be16(f, off_flags);
	frame_be32(f, 77);
}

void frame_tcp(struct frame *f, unsigned sport, unsigned dport, unsigned flags, unsigned doff,
	       size_t payload)
{
	frame_be16(f, sport);
	frame_be16(f, dport);
	frame_be32(f, FRAME_SEQ);
	frame_be32(f, FRAME_ACK);
	frame_add(f, (uint8_t[]) {(uint8_t)(doff << 4), (uint8_t)flags}, 2);
	frame_be16(f, 1024);
	frame_be16(f, 0);
	frame_be16(f, FRAME_URG);
	for (unsigned i = 5; i < doff; i++)
		frame_be32(f, 0x01010101);
	for (size_t i = 0; i < payload; i++)
		frame_add(f, (uint8_t[]) {(uint8_t)(i * 7 + 1)}, 1);
}

void frame_plain(struct frame *f, unsigned sport, unsigned dport, unsigned flags, size_t payload)
{
	frame_v4(f, 5, 0, IPPROTO_TCP, (unsigned)(40 + payload));
	frame_tcp(f, sport, dport, flags, 5, payload);
}

void frame_chain(struct frame *f, unsigned headers, unsigned last, unsigned sport, unsigned dport,
		 size_t payload)
{
	frame_v6(f, headers ? 60 : last);
	for (unsigned i = 0; i < headers; i++)
		frame_ext(f, i + 1 < headers ? 60 : last, i % 3);
	frame_tcp(f, sport, dport, 0x18, 5, payload);
}

void frame_random(struct frame *f)
{
	unsigned kind = frame_draw(6), size = frame_draw(4) == 0 ? 0
					      : frame_draw(4)    ? frame_draw(200)
								 : frame_draw(1400);

	if (kind < 2)
		frame_plain(f, frame_draw(65536), frame_draw(65536), frame_draw(256), size);
	else if (kind == 2)
		frame_chain(f, frame_draw(11), frame_draw(3) ? IPPROTO_TCP : frame_draw(256), 1, 2,
			    77);
	else if (kind == 3) {
		frame_v4(f, 5 + frame_draw(11), frame_draw(2) ? 0 : frame_draw(65536),
			 frame_draw(4) ? IPPROTO_TCP : frame_draw(256), frame_draw(65536));
		frame_tcp(f, frame_draw(65536), frame_draw(65536), frame_draw(256),
			  5 + frame_draw(11), size);
	} else {
		frame_v6(f, frame_draw(2) ? IPPROTO_FRAGMENT : frame_draw(256));
		frame_ext_frag(f, frame_draw(2) ? IPPROTO_TCP : frame_draw(256),
			       frame_draw(2) ? 0 : frame_draw(65536));
		frame_tcp(f, frame_draw(65536), frame_draw(65536), frame_draw(256), 5, size);
	}
	for (unsigned i = frame_draw(6); i > 0; i--)
		f->b[12 + frame_draw((uint32_t)f->n - 12)] = (uint8_t)frame_draw(256);
	if (frame_draw(4) == 0)
		f->n = FRAME_ETHER + 20 + frame_draw((uint32_t)f->n - FRAME_ETHER - 19);
}
