/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/flow_match.h"

/* Flows of one client address and port; sequence numbers this near may be of one stream. */
enum { CROWD_MAX = 64, NEAR_BYTES = 64 << 20 };

enum rank { RANK_NONE, RANK_ONLY, RANK_PORT, RANK_EXACT };

/* A packet seen as one of `dir` */
struct view {
	enum dir dir;
	const uint8_t *client, *server;
	uint16_t client_port, server_port;
	uint16_t socket_port; /* the server's port as the hook's socket has it; 0: none */
	unsigned end; /* whose socket that is: 0 the client's, 1 the server's */
};

static uint16_t own_socket_port(const struct packet *p, bool source)
{
	bool own = source == (p->hook != PACKET_INGRESS);
	return own ? p->sk_lport : p->sk_rport;
}

static struct view view_of(const struct packet *p, enum dir dir)
{
	bool request = dir == DIR_REQUEST;
	return (struct view) {.dir = dir,
			      .client = request ? p->src : p->dst,
			      .server = request ? p->dst : p->src,
			      .client_port = request ? p->sport : p->dport,
			      .server_port = request ? p->dport : p->sport,
			      .socket_port = own_socket_port(p, !request),
			      .end = (p->hook != PACKET_INGRESS) == !request};
}

/* The server's address in packets of this direction, when it is known */
static bool is_peer(const struct flow *f, enum dir dir, const uint8_t addr[16], uint16_t port)
{
	bool orig = dir == DIR_RESPONSE && f->orig_port;
	return port == (orig ? f->orig_port : f->server_port) &&
	       memcmp(addr, orig ? f->orig_addr : f->server_addr, 16) == 0;
}

static bool has_port(const struct flow_node *n, uint16_t port)
{
	return port && (port == n->f.server_port || port == n->f.orig_port ||
			port == n->socket_port[0] || port == n->socket_port[1]);
}

static bool is_near(uint32_t a, uint32_t b)
{
	return a - b + NEAR_BYTES <= 2u * NEAR_BYTES;
}

/* Could the numbers of the packet belong to the two streams of this flow? */
static bool fits(const struct flow_node *n, enum dir dir, const struct packet *p)
{
	const struct stream *own = &n->stream[flow_side(n, dir)];
	const struct stream *peer = &n->stream[!flow_side(n, dir)];
	if (p->flags & TCP_SYN) {
		if (own->started && own->base_seq != p->seq + 1)
			return false;
		return p->flags & TCP_ACK ? peer->started && p->ack - peer->base_seq <= peer->high
					  : own->started;
	}
	if (own->started && !is_near(p->seq, own->base_seq + (uint32_t)own->reach))
		return false;
	return !peer->started || is_near(p->ack, peer->base_seq + (uint32_t)peer->high);
}

static enum rank rank_of(const struct flow_node *n, const struct view *v, const struct packet *p)
{
	bool known = n->peer_known[v->dir];
	enum dir by = known ? v->dir : (enum dir) !v->dir;
	if (n->peer_known[by] && is_peer(&n->f, by, v->server, v->server_port))
		return RANK_EXACT;
	if (known || !fits(n, v->dir, p))
		return RANK_NONE;
	if (has_port(n, v->server_port) || has_port(n, v->socket_port))
		return RANK_PORT;
	bool another =
		v->socket_port && n->socket_port[v->end]; /* the same socket would have its port */
	return another || n->closed ? RANK_NONE : RANK_ONLY;
}

struct best {
	struct flow_node *node;
	enum rank rank;
	unsigned same; /* flows of this rank */
};

static struct best best_of(const struct flow_table *t, const struct packet *p, const struct view *v,
			   struct flow_node **crowd)
{
	struct best b = {0};
	unsigned n_client = 0;
	for (struct flow_node *n = *flow_table_bucket(t, p->scope, v->client, v->client_port); n;
	     n = n->chain) {
		if (!flow_table_same_client(n, p->scope, v->client, v->client_port))
			continue;
		enum rank r = rank_of(n, v, p);
		if (r == RANK_EXACT)
			return (struct best) {n, r, 1};
		if (++n_client >= CROWD_MAX)
			*crowd = n;
		if (r > b.rank)
			b = (struct best) {n, r, 0};
		b.same += r && r == b.rank;
	}
	if (b.rank == RANK_ONLY && b.same > 1)
		b = (struct best) {0};
	return b;
}

static bool is_chosen(const struct flow_table *t, uint16_t port)
{
	for (size_t i = 0; port && i < t->cfg.n_ports; i++)
		if (t->ports[i] == port)
			return true;
	return false;
}

static bool listens(const struct flow_table *t, const struct packet *p, const struct view *v)
{
	return t->cfg.listens &&
	       (t->cfg.listens(t->cfg.listens_ctx, p->scope, v->server, v->server_port) ||
		(v->socket_port && v->socket_port != v->server_port &&
		 t->cfg.listens(t->cfg.listens_ctx, p->scope, v->server, v->socket_port)));
}

/* The direction of a packet that begins a flow. */
static enum dir direction_of(const struct flow_table *t, const struct packet *p, bool *certain)
{
	*certain = true;
	if (p->flags & TCP_SYN)
		return p->flags & TCP_ACK ? DIR_RESPONSE : DIR_REQUEST;
	struct view request = view_of(p, DIR_REQUEST), response = view_of(p, DIR_RESPONSE);
	bool to = listens(t, p, &request), from = listens(t, p, &response);
	if (to != from)
		return to ? DIR_REQUEST : DIR_RESPONSE;
	*certain = false;
	to = is_chosen(t, request.server_port) || is_chosen(t, request.socket_port);
	from = is_chosen(t, response.server_port) || is_chosen(t, response.socket_port);
	if (to != from)
		return to ? DIR_REQUEST : DIR_RESPONSE;
	if (p->sport != p->dport)
		return p->dport < p->sport ? DIR_REQUEST : DIR_RESPONSE;
	return memcmp(p->dst, p->src, 16) <= 0 ? DIR_REQUEST : DIR_RESPONSE;
}

struct flow_found flow_match_find(const struct flow_table *t, const struct packet *p)
{
	/* the higher port is mostly the client's: looked for first, it saves the other look */
	enum dir first = p->sport >= p->dport ? DIR_REQUEST : DIR_RESPONSE;
	struct flow_found found = {.dir = first};
	struct view v = view_of(p, first);
	struct best best = best_of(t, p, &v, &found.crowd);
	if (best.rank != RANK_EXACT) {
		v = view_of(p, !first);
		struct best other = best_of(t, p, &v, &found.crowd);
		if (other.rank > best.rank) {
			found.dir = !first;
			best = other;
		}
	}
	found.node = best.node;
	if (!found.node)
		found.dir = direction_of(t, p, &found.certain);
	return found;
}

void flow_match_learn(struct flow_node *n, enum dir dir, const struct packet *p)
{
	struct view v = view_of(p, dir);
	struct flow *f = &n->f;
	if (v.socket_port)
		n->socket_port[v.end] = v.socket_port;
	if (n->peer_known[dir])
		return;
	n->peer_known[dir] = true;
	if (!n->peer_known[!dir]) {
		memcpy(f->server_addr, v.server, 16);
		f->server_port = v.server_port;
		if (dir == DIR_RESPONSE && p->hook == PACKET_EGRESS && v.socket_port &&
		    v.socket_port !=
			    v.server_port) { /* the server's own address is still to come */
			memcpy(f->orig_addr, v.server, 16);
			f->orig_port = v.server_port;
			f->server_port = v.socket_port;
		}
		return;
	}
	if (dir == DIR_RESPONSE) {
		if (is_peer(f, DIR_REQUEST, v.server, v.server_port))
			return;
		memcpy(f->orig_addr, v.server, 16);
		f->orig_port = v.server_port;
		return;
	}
	if (!f->orig_port) { /* what replies come from was taken for the server */
		memcpy(f->orig_addr, f->server_addr, 16);
		f->orig_port = f->server_port;
	}
	memcpy(f->server_addr, v.server, 16);
	f->server_port = v.server_port;
	if (f->orig_port == f->server_port && memcmp(f->orig_addr, f->server_addr, 16) == 0)
		f->orig_port = 0;
}
