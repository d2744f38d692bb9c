/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/socks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "capture/socks_owner.h"

enum { LISTENS_MAX = 4096, REPLY_BYTES = 32768, WAIT_MS = 500 };
#define SECOND 1000000000ull

struct listen {
	uint8_t addr[16];
	uint16_t port;
	bool v6only;
	uint32_t inode;
};

struct socks {
	int fd;
	uint32_t seq;
	bool listed;
	uint64_t listed_ns;
	size_t n_listens; /* more than LISTENS_MAX: the rest is not known */
	struct listen listens[LISTENS_MAX];
	struct owner owner;
	_Alignas(16) uint8_t reply[REPLY_BYTES];
};

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t v4_any[16] = {[10] = 0xff, [11] = 0xff}, v6_any[16];

struct request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

/* The kernel answers at once; the time limit is for a seccomp or namespace oddity that swallows
 * it. */
struct socks *socks_new(void)
{
	struct timeval wait = {.tv_usec = WAIT_MS * 1000};
	struct socks *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (s->fd < 0) {
		free(s);
		return NULL;
	}
	setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return s;
}

void socks_free(struct socks *s)
{
	if (!s)
		return;
	owner_fini(&s->owner);
	close(s->fd);
	free(s);
}

static int ask(struct socks *s, struct request *r)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	r->head.nlmsg_len = sizeof(*r);
	r->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	r->head.nlmsg_seq = ++s->seq;
	ssize_t n;
	do
		n = sendto(s->fd, r, sizeof(*r), 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void address(uint8_t to[16], unsigned family, const void *from)
{
	if (family == AF_INET6) {
		memcpy(to, from, 16);
		return;
	}
	memcpy(to, v4_prefix, 12);
	memcpy(to + 12, from, 4);
}

static void attributes(struct socks_entry *e, const struct inet_diag_msg *m, size_t n)
{
	const struct rtattr *a = (const struct rtattr *)(m + 1);
	size_t left = n - sizeof(*m);

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == INET_DIAG_SKV6ONLY && RTA_PAYLOAD(a) >= 1)
			e->v6only = *(const uint8_t *)RTA_DATA(a);
		if (a->rta_type != INET_DIAG_INFO)
			continue;
		struct tcp_info info = {0};
		size_t len = RTA_PAYLOAD(a);
		memcpy(&info, RTA_DATA(a), len < sizeof(info) ? len : sizeof(info));
		e->has_info = len >= offsetof(struct tcp_info, tcpi_bytes_received) + 8;
		e->bytes_acked = info.tcpi_bytes_acked;
		e->bytes_received = info.tcpi_bytes_received;
	}
}

/* False: too short */
static bool parse(const struct nlmsghdr *h, struct socks_entry *e)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	size_t n = h->nlmsg_len - NLMSG_HDRLEN;

	*e = (struct socks_entry) {0};
	if (n < sizeof(*m))
		return false;
	address(e->t.local, m->idiag_family, m->id.idiag_src);
	address(e->t.remote, m->idiag_family, m->id.idiag_dst);
	e->t.lport = ntohs(m->id.idiag_sport);
	e->t.rport = ntohs(m->id.idiag_dport);
	e->inode = m->idiag_inode;
	e->uid = m->idiag_uid;
	e->state = m->idiag_state;
	attributes(e, m, n);
	return true;
}

struct answer {
	void (*each)(void *ctx, const struct socks_entry *e);
	void *ctx;
	bool dump, interrupted;
};

/* 1: the answer is complete; 0: more comes; -errno of the kernel */
static int messages(struct socks *s, struct answer *a, size_t n)
{
	struct socks_entry e;
	for (struct nlmsghdr *h = (struct nlmsghdr *)s->reply; NLMSG_OK(h, n);
	     h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_seq != s->seq)
			continue; /* of an answer that was given up */
		a->interrupted = a->interrupted || (h->nlmsg_flags & NLM_F_DUMP_INTR);
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *error = NLMSG_DATA(h);
			return h->nlmsg_len < NLMSG_LENGTH(sizeof(error->error)) || !error->error
				       ? -EIO
				       : error->error;
		}
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && parse(h, &e))
			a->each(a->ctx, &e);
		if (!a->dump)
			return 1;
	}
	return 0;
}

static int answers(struct socks *s, struct answer *a)
{
	int rc = 0;
	while (rc == 0) {
		ssize_t n = recv(s->fd, s->reply, sizeof(s->reply), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		rc = n == 0 ? -EIO : messages(s, a, (size_t)n);
	}
	return rc < 0 ? rc : 0;
}

static int dump_family(struct socks *s, uint8_t family, uint32_t states, bool info,
		       struct answer *a)
{
	struct request r = {
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		.body = {.sdiag_family = family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = states,
			 .idiag_ext = info ? 1 << (INET_DIAG_INFO - 1) : 0},
	};
	int rc = ask(s, &r);
	return rc < 0 ? rc : answers(s, a);
}

int socks_dump(struct socks *s, uint32_t states, bool info,
	       void (*each)(void *ctx, const struct socks_entry *e), void *ctx)
{
	struct answer a = {each, ctx, true, false};
	int rc = dump_family(s, AF_INET, states, info, &a);
	int rc6 = dump_family(s, AF_INET6, states, info, &a);
	if (rc6 == -ENOENT || rc6 == -EAFNOSUPPORT)
		rc6 = 0; /* a kernel without IPv6 */
	return rc < 0 ? rc : rc6 < 0 ? rc6 : a.interrupted ? -EIO : 0;
}

static void add_listen(void *ctx, const struct socks_entry *e)
{
	struct socks *s = ctx;
	if (s->n_listens == LISTENS_MAX)
		return;
	struct listen *l = &s->listens[s->n_listens++];
	*l = (struct listen) {.port = e->t.lport, .v6only = e->v6only, .inode = e->inode};
	memcpy(l->addr, e->t.local, 16);
}

static void list(struct socks *s, uint64_t now_ns)
{
	if (s->listed && now_ns - s->listed_ns < SECOND)
		return;
	s->n_listens = 0;
	s->listed = true;
	s->listed_ns = now_ns;
	socks_dump(s, 1u << SOCKS_LISTEN, false, add_listen, s);
}

static bool covers(const struct listen *l, const uint8_t addr[16])
{
	bool v4 = memcmp(addr, v4_prefix, 12) == 0;
	if (memcmp(l->addr, addr, 16) == 0)
		return true;
	if (memcmp(l->addr, v6_any, 16) == 0)
		return !v4 || !l->v6only;
	return v4 && memcmp(l->addr, v4_any, 16) == 0;
}

static const struct listen *listener(struct socks *s, const uint8_t addr[16], uint16_t port,
				     uint64_t now_ns)
{
	list(s, now_ns);
	for (size_t i = 0; i < s->n_listens; i++)
		if (s->listens[i].port == port && covers(&s->listens[i], addr))
			return &s->listens[i];
	return NULL;
}

bool socks_listens(struct socks *s, const uint8_t addr[16], uint16_t port, uint64_t now_ns)
{
	return listener(s, addr, port, now_ns) != NULL;
}

static void keep_entry(void *ctx, const struct socks_entry *e)
{
	*(struct socks_entry *)ctx = *e;
}

/* 0 and *out; -ENOENT. The kernel falls back to a listening socket: that is no answer. */
static int exact(struct socks *s, const struct socks_tuple *t, struct socks_entry *out)
{
	bool v4 = memcmp(t->local, v4_prefix, 12) == 0 && memcmp(t->remote, v4_prefix, 12) == 0;
	struct answer a = {keep_entry, out, false, false};
	struct request r = {
		.head.nlmsg_flags = NLM_F_REQUEST,
		.body = {.sdiag_family = v4 ? AF_INET : AF_INET6,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = ~0u,
			 .id = {.idiag_sport = htons(t->lport),
				.idiag_dport = htons(t->rport),
				.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
	};
	memcpy(r.body.id.idiag_src, t->local + (v4 ? 12 : 0), v4 ? 4 : 16);
	memcpy(r.body.id.idiag_dst, t->remote + (v4 ? 12 : 0), v4 ? 4 : 16);
	*out = (struct socks_entry) {0};
	int rc = ask(s, &r);
	if (rc == 0)
		rc = answers(s, &a);
	if (rc < 0)
		return rc;
	return out->state == SOCKS_LISTEN || out->t.rport != t->rport ? -ENOENT : 0;
}

/* Only the kernel's plain no is a no: a flow must not end because a netlink call failed. */
bool socks_exists(struct socks *s, const struct socks_tuple *t)
{
	struct socks_entry e;
	int rc = exact(s, t, &e);
	if (rc < 0)
		return rc != -ENOENT;
	return e.state != SOCKS_TIME_WAIT && e.state != SOCKS_CLOSE;
}

int socks_owner_inode(struct socks *s, uint32_t inode, uint64_t now_ns, char *out, size_t out_n)
{
	uint32_t pid;
	int rc = owner_find(&s->owner, inode, now_ns, &pid);
	if (rc == 0)
		owner_name(pid, out, out_n);
	return rc;
}

int socks_owner(struct socks *s, const struct socks_tuple *t, bool server, uint64_t now_ns,
		char *out, size_t out_n)
{
	struct socks_entry e;
	int rc = exact(s, t, &e);
	uint32_t inode = rc == 0 ? e.inode : 0;
	if (rc < 0 && rc != -ENOENT)
		return rc == -ETIMEDOUT ? -EAGAIN : rc;
	if (inode == 0 && server) {
		const struct listen *l = listener(s, t->local, t->lport, now_ns);
		inode = l ? l->inode : 0;
	}
	rc = socks_owner_inode(s, inode, now_ns, out, out_n);
	const struct listen *l =
		rc == -EAGAIN && server ? listener(s, t->local, t->lport, now_ns) : NULL;
	if (l && l->inode != inode && socks_owner_inode(s, l->inode, now_ns, out, out_n) == 0)
		return 1;
	return rc;
}
