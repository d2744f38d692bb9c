/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of a connection that stand in its records. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/recorder_state.h"

static int addr_text(char *out, size_t n, const uint8_t addr[16], uint16_t port)
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
	char text[INET6_ADDRSTRLEN];
	if (memcmp(addr, v4, 12) == 0) {
		inet_ntop(AF_INET, addr + 12, text, sizeof(text));
		return snprintf(out, n, "%s:%u", text, port);
	}
	inet_ntop(AF_INET6, addr, text, sizeof(text));
	return snprintf(out, n, "[%s]:%u", text, port);
}

bool recorder_names(const struct recorder *r, struct conn *c)
{
	char text[320];
	const struct flow *f = c->flow;
	if (c->names)
		return true;
	size_t id = (size_t)snprintf(text, sizeof(text), "%s%llu", r->prefix,
				     (unsigned long long)c->number);
	size_t client =
		(size_t)addr_text(text + id, sizeof(text) - id, f->client_addr, f->client_port);
	size_t at = id + client;
	size_t server =
		(size_t)addr_text(text + at, sizeof(text) - at, f->server_addr, f->server_port);
	at += server;
	size_t orig = 0;
	if (f->orig_port)
		orig = (size_t)addr_text(text + at, sizeof(text) - at, f->orig_addr, f->orig_port);
	struct conn_names *n = malloc(sizeof(*n) + at + orig);
	if (!n)
		return false;
	memcpy(n->text, text, at + orig);
	n->id = bytes_of(n->text, id);
	n->client = bytes_of(n->text + id, client);
	n->server = bytes_of(n->text + id + client, server);
	n->original_destination = bytes_of(n->text + at, orig);
	c->names = n;
	return true;
}
