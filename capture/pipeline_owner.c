/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets behind a flow: whose they are, whether they are still there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/pipeline_state.h"

/* The sockets at the two ends as their owners see them: the client's, the server's. */
static void tuples_of(const struct flow *f, struct socks_tuple ends[2])
{
	struct socks_tuple *client = &ends[0], *server = &ends[1];
	*client = (struct socks_tuple) {.lport = f->client_port,
					.rport = f->orig_port ? f->orig_port : f->server_port};
	memcpy(client->local, f->client_addr, 16);
	memcpy(client->remote, f->orig_port ? f->orig_addr : f->server_addr, 16);
	*server = (struct socks_tuple) {.lport = f->server_port, .rport = f->client_port};
	memcpy(server->local, f->server_addr, 16);
	memcpy(server->remote, f->client_addr, 16);
}

/* First bytes of a connection: both its sockets are alive now, so their owners can be found. */
void pipeline_owners(void *ctx, struct conn *c)
{
	struct pipeline *p = ctx;
	char text[2][64] = {"", ""};
	if (!p->socks || p->from_file || !p->owner_budget)
		return;
	struct socks_tuple ends[2];
	tuples_of(c->flow, ends);
	p->owner_budget--;
	uint64_t now = pipeline_now(p);
	int a = socks_owner(p->socks, &ends[0], false, now, text[0], sizeof(text[0]));
	int b = socks_owner(p->socks, &ends[1], true, now, text[1], sizeof(text[1]));
	c->processes_known =
		a != -EAGAIN && b != -EAGAIN && b != 1; /* else asked again with the next bytes */
	free(c->processes);
	size_t n0 = strlen(text[0]) + 1, n1 = strlen(text[1]) + 1;
	c->processes = malloc(n0 + n1);
	if (c->processes) {
		memcpy(c->processes, text[0], n0);
		memcpy(c->processes + n0, text[1], n1);
	}
}

bool pipeline_alive(void *ctx, const struct flow *f)
{
	struct pipeline *p = ctx;
	struct socks_tuple ends[2];
	tuples_of(f, ends);
	return socks_exists(p->socks, &ends[1]) || socks_exists(p->socks, &ends[0]);
}
