/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet frames with TCP inside, right and wrong ones, for BPF_PROG_TEST_RUN. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { FRAME_MAX = 3200, FRAME_ETHER = 14 };
/* What every segment says */
enum { FRAME_SEQ = 0x11223344, FRAME_ACK = 0x55667788, FRAME_URG = 0x4321 };

struct frame {
	uint8_t b[FRAME_MAX];
	size_t n;
};

/* The same pseudo-random numbers in each run */
uint32_t frame_draw(uint32_t below);

void frame_add(struct frame *f, const void *p, size_t n);
void frame_ether(struct frame *f, unsigned type); /* begins a frame; so do the next two */
void frame_v4(struct frame *f, unsigned words, unsigned frag, unsigned proto, unsigned tot_len);
void frame_v6(struct frame *f, unsigned next);
void frame_ext(struct frame *f, unsigned next, unsigned units); /* (units + 1) * 8 bytes */
void frame_ext_frag(struct frame *f, unsigned next, unsigned off_flags);
void frame_tcp(struct frame *f, unsigned sport, unsigned dport, unsigned flags, unsigned doff,
	       size_t payload);

/* Whole frames: IPv4 from 127.0.0.1 to 127.0.0.2; IPv6 with so many extension headers; anything at
 * all */
void frame_plain(struct frame *f, unsigned sport, unsigned dport, unsigned flags, size_t payload);
void frame_chain(struct frame *f, unsigned headers, unsigned last, unsigned sport, unsigned dport,
		 size_t payload);
void frame_random(struct frame *f);
