/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded 64-bit hash for tables whose keys a peer chooses: SipHash-1-3 (Aumasson, Bernstein:
 * SipHash, 2012), so that nobody without the seed can aim at one bucket.
 */
#pragma once
#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

struct hash_key {
	uint64_t k0, k1;
};

/* splitmix64: one seed into well mixed words */
static inline uint64_t hash_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static inline struct hash_key hash_key_of(uint64_t seed)
{
	return (struct hash_key) {hash_mix(seed), hash_mix(~seed)};
}

static inline uint64_t hash_rotl(uint64_t x, unsigned b)
{
	return x << b | x >> (64 - b);
}

static inline void hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = hash_rotl(v[1], 13) ^ v[0];
	v[0] = hash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = hash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = hash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = hash_rotl(v[1], 17) ^ v[2];
	v[2] = hash_rotl(v[2], 32);
}

static inline uint64_t hash_bytes(struct hash_key k, struct bytes b)
{
	uint64_t v[4] = {k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d,
			 k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573};
	uint64_t tail = (uint64_t)b.n << 56, w = 0;
	size_t i = 0;
	for (; i + 8 <= b.n; i += 8) {
		memcpy(&w, b.p + i, 8);
		w = le64toh(w);
		v[3] ^= w;
		hash_round(v);
		v[0] ^= w;
	}
	for (unsigned shift = 0; i < b.n; i++, shift += 8)
		tail |= (uint64_t)b.p[i] << shift;
	v[3] ^= tail;
	hash_round(v);
	v[0] ^= tail;
	v[2] ^= 0xff;
	hash_round(v);
	hash_round(v);
	hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
