/* SPDX-License-Identifier: Apache-2.0 */
/* The back ends `cgroup` and `socket`: one probe, two rings, one reader. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/membarrier.h>

#include "base/mem.h"
#include "capture/attach.h"
#include "capture/cgroup.h"
#include "capture/loader.h"
#include "capture/look.h"
#include "capture/probe_time.h"
#include "capture/ring_pair.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

struct attach {
	struct attach_cfg cfg; /* spec, ports: only during open */
	bool socket;
	struct loader loader;
	struct probe_time time;
	struct ring_pair rings;
	int epoll;
	/* cgroup */
	struct cgroup_set set;
	struct bpf_link *links[2 * CGROUP_DIRS_MAX];
	size_t n_links;
	/* socket */
	int packet_fd;
	char ifname[IF_NAMESIZE]; /* "": all */
	unsigned ifindex;
	/* what was read */
	bool detached; /* no program runs any more: nothing is in flight */
	uint64_t consumed, malformed, data_bytes, cut_bytes;
	char text[512];
};

/* In the order of enum probe_exit; true: a complete capture would have it */
static const struct {
	const char *name;
	bool lost;
} exits[EXIT_N] = {
	[EXIT_SUBMITTED] = {"submitted", false},
	[EXIT_NOT_TCP] = {"not_tcp", false},
	[EXIT_OTHER_INTERFACE] = {"other_interface", false},
	[EXIT_OTHER_NETNS] = {"other_netns", false},
	[EXIT_NOT_SELECTED] = {"not_selected", false},
	[EXIT_OWN] = {"own", false},
	[EXIT_OTHER_HOOK] = {"other_hook", false},
	[EXIT_IP_FRAG] = {"ip_frag", true},
	[EXIT_MALFORMED] = {"malformed", false},
	[EXIT_CONTROL] = {"control", false},
	[EXIT_SAMPLED_OUT] = {"sampled_out", false},
	[EXIT_MUTED] = {"muted", false},
	[EXIT_RING_FULL] = {"ring_full", true},
	[EXIT_COPY_FAIL] = {"copy_fail", true},
	[EXIT_TOO_BIG] = {"too_big", true},
};

/* ---- reading ---- */

static void give(void *ctx, struct bytes rec)
{
	struct attach *a = ctx;
	const struct event *e = (const void *)rec.p;

	if (rec.n < sizeof(*e) || e->data_len > rec.n - sizeof(*e) ||
	    e->payload_len < e->data_len) {
		a->malformed++;
		return;
	}
	struct packet p = {
		.ts_ns = e->ts_ns,
		.scope = e->scope == a->loader.own_netns ? 0 : e->scope,
		.sport = e->sport,
		.dport = e->dport,
		.sk_lport = e->sk_lport,
		.sk_rport = e->sk_rport,
		.seq = e->seq,
		.ack = e->ack,
		.len = e->payload_len,
		.data = bytes_of(e->data, e->data_len),
		.slot = e->flow_slot,
		.tag = e->flow_tag,
		.share = e->flow_share,
		.urg = e->urg_ptr,
		.flags = e->tcp_flags,
		.hook = e->hook,
	};
	memcpy(p.src, e->saddr, sizeof(p.src));
	memcpy(p.dst, e->daddr, sizeof(p.dst));
	a->consumed++;
	a->data_bytes += e->data_len;
	a->cut_bytes += e->payload_len - e->data_len;
	a->cfg.on_packet(a->cfg.ctx, &p);
}

static int drain(struct attach *a, unsigned budget)
{
	__atomic_store_n(&a->loader.control->sleeping, 0, __ATOMIC_RELAXED);
	return ring_pair_drain(&a->rings, budget, give, a) ? ATTACH_MORE : ATTACH_EMPTY;
}

static bool sleep_(struct attach *a)
{
	__atomic_store_n(&a->loader.control->sleeping, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring_pair_empty(&a->rings))
		return true;
	__atomic_store_n(&a->loader.control->sleeping, 0, __ATOMIC_RELAXED);
	return false;
}

static int fd_(struct attach *a)
{
	return a->epoll;
}

static int open_rings(struct attach *a)
{
	const struct loader *l = &a->loader;
	a->rings.spill = &a->loader.control->spill;
	int err = ring_open(&a->rings.hot, l->hot_fd, l->hot_bytes);

	if (!err)
		err = ring_open(&a->rings.overflow, l->overflow_fd, l->overflow_bytes);
	if (err)
		return err;
	struct epoll_event ev = {.events = EPOLLIN};
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (a->epoll < 0 || epoll_ctl(a->epoll, EPOLL_CTL_ADD, l->hot_fd, &ev) != 0 ||
	    epoll_ctl(a->epoll, EPOLL_CTL_ADD, l->overflow_fd, &ev) != 0)
		return -errno;
	return 0;
}

/* ---- attaching ---- */

static int link_one(struct attach *a, struct bpf_program *p, const struct cgroup_dir *d, char *err,
		    size_t err_n)
{
	char step[PATH_MAX + 128];

	if (!p)
		return 0;
	struct bpf_link *link = bpf_program__attach_cgroup(p, d->fd);
	if (link) {
		a->links[a->n_links++] = link;
		return 0;
	}
	int e = errno;
	snprintf(step, sizeof(step), "attach to %s", d->path);
	return loader_explain(err, err_n, step, e, false);
}

static int open_cgroup(struct attach *a, const struct attach_cfg *cfg, char *err, size_t err_n)
{
	struct cgroup_netns seen;
	int e = look_cgroups(&a->set, &seen, cfg->spec, cfg->ports, cfg->n_ports, err, err_n);

	if (e)
		return e;
	struct loader_cfg lc = {
		.attach = cfg,
		.any_interface = cfg->any_interface,
		.two_hooks = !a->set.root,
		.only_own_netns = a->set.chosen,
		.several_netns = seen.several,
		.own_elsewhere = seen.foreign && !seen.own,
	};
	e = loader_open(&a->loader, &lc, err, err_n);
	if (!e && (e = open_rings(a)) < 0)
		return loader_explain(err, err_n, "mapping the rings", -e, false);
	for (size_t i = 0; !e && i < a->set.n; i++) {
		e = link_one(a, a->loader.egress, &a->set.d[i], err, err_n);
		if (!e)
			e = link_one(a, a->loader.ingress, &a->set.d[i], err, err_n);
	}
	return e;
}

static int bind_packet(struct attach *a)
{
	int prog = bpf_program__fd(a->loader.filter), on = 1;
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)a->ifindex};

	/* Protocol 0: nothing arrives before it is bound. */
	a->packet_fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->packet_fd < 0)
		return -errno;
	if (setsockopt(a->packet_fd, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog)) != 0)
		return -errno;
	/* On lo each packet comes twice, outgoing and host; elsewhere an outgoing one comes once.
	 */
	if (a->ifindex == 1 &&
	    setsockopt(a->packet_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0)
		return -errno;
	return bind(a->packet_fd, (const void *)&to, sizeof(to)) != 0 ? -errno : 0;
}

static int open_socket(struct attach *a, const struct attach_cfg *cfg, char *err, size_t err_n)
{
	const char *name = cfg->spec && *cfg->spec ? cfg->spec : cfg->any_interface ? "" : "lo";
	char step[64];

	snprintf(a->ifname, sizeof(a->ifname), "%s", name);
	a->ifindex = *name ? if_nametoindex(name) : 0;
	if (*name && !a->ifindex) {
		if (errno == ENODEV)
			snprintf(err, err_n, "socket:%s: there is no such interface", name);
		else
			snprintf(
				err, err_n,
				"socket:%s: no socket to look it up: raise the limit of open files "
				"(ulimit -n)",
				name);
		return -ENOENT;
	}
	struct loader_cfg lc = {.attach = cfg, .socket = true, .any_interface = a->ifindex != 1};
	int e = loader_open(&a->loader, &lc, err, err_n);
	if (e)
		return e;
	e = open_rings(a);
	if (!e)
		e = bind_packet(a);
	if (!e)
		return 0;
	snprintf(step, sizeof(step), "packet socket on %s", *name ? name : "all interfaces");
	return loader_explain(err, err_n, step, -e, true);
}

static void detach(struct attach *a)
{
	a->detached = true;
	bool had = a->n_links || a->packet_fd >= 0;
	a->detached = true;

	while (a->n_links) {
		struct bpf_link *link = a->links[--a->n_links];
		(void)bpf_link__detach(link); /* at once; since 5.9. Destroying does it too, but may
						 do it later. */
		bpf_link__destroy(link);
	}
	if (a->packet_fd >= 0)
		close(a->packet_fd);
	a->packet_fd = -1;
	/* An RCU grace period: programs that still run have put their events into the rings. */
	if (had)
		(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

static void close_(struct attach *a)
{
	if (!a)
		return;
	detach(a);
	probe_time_close(&a->time);
	if (a->epoll >= 0)
		close(a->epoll);
	ring_close(&a->rings.hot);
	ring_close(&a->rings.overflow);
	loader_close(&a->loader);
	cgroup_set_close(&a->set);
	free(a);
}

static void open_time(struct attach *a)
{
	const struct bpf_program *all[] = {a->loader.egress, a->loader.ingress, a->loader.filter};
	int fds[3];
	size_t n = 0;

	for (int i = 0; i < 3; i++)
		if (all[i])
			fds[n++] = bpf_program__fd(all[i]);
	probe_time_open(&a->time, fds, n);
}

static struct attach *open_(const struct attach_cfg *cfg, bool socket, int *e, char *err,
			    size_t err_n)
{
	struct attach *a = calloc(1, sizeof(*a));

	*e = -ENOMEM;
	snprintf(err, err_n, "no memory");
	if (!a)
		return NULL;
	a->cfg = *cfg;
	a->socket = socket;
	a->epoll = a->packet_fd = -1;
	snprintf(err, err_n, "mapping the rings failed");
	*e = socket ? open_socket(a, cfg, err, err_n) : open_cgroup(a, cfg, err, err_n);
	a->cfg.spec = NULL;
	a->cfg.ports = NULL;
	if (*e == 0)
		open_time(a);
	if (*e == 0)
		return a;
	close_(a);
	return NULL;
}

static struct attach *open_on_cgroup(const struct attach_cfg *cfg, char *err, size_t err_n)
{
	int e;

	return open_(cfg, false, &e, err, err_n);
}

static struct attach *open_on_socket(const struct attach_cfg *cfg, char *err, size_t err_n)
{
	int e;

	return open_(cfg, true, &e, err, err_n);
}

/* Really loads and attaches, then takes it away. */
static int try(const struct attach_cfg *cfg, bool socket, char *why, size_t why_n)
{
	int e;
	struct attach *a = open_(cfg, socket, &e, why, why_n);

	close_(a);
	if (a && why_n)
		why[0] = 0;
	if (e == -EACCES)
		return -EPERM;
	return e == 0 || e == -EPERM || e == -ENOENT ? e : -ENOTSUP;
}

static int probe_cgroup(const struct attach_cfg *cfg, char *why, size_t why_n)
{
	return try(cfg, false, why, why_n);
}

static int probe_socket(const struct attach_cfg *cfg, char *why, size_t why_n)
{
	return try(cfg, true, why, why_n);
}

/* ---- the rest of the table ---- */

static void own_port(struct attach *a, uint16_t port, bool in_use)
{
	uint64_t *word = &a->loader.own_ports[port >> 6], bit = 1ull << (port & 63);

	if (in_use)
		__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED);
}

static void verdict(struct attach *a, uint32_t slot, uint32_t word)
{
	__atomic_store_n(&a->loader.verdicts[slot & (VERDICT_SLOTS - 1)], word, __ATOMIC_RELAXED);
}

static void keep(struct attach *a, uint64_t keep_below)
{
	__atomic_store_n(&a->loader.control->keep_below, keep_below, __ATOMIC_RELAXED);
}

static int check(struct attach *a)
{
	if (!a->socket)
		return cgroup_set_check(&a->set);
	return *a->ifname && attach_interface_gone(a->ifname, a->ifindex) ? -ENOENT : 0;
}

/* Exits first, `seen` last: a live snapshot shows at most packets in flight (held), never a
 * negative number. */
static void sum(const struct attach *a, bool bytes, uint64_t out[EXIT_N])
{
	memset(out, 0, EXIT_N * sizeof(*out));
	for (int exit = EXIT_N - 1; exit >= 0; exit--) {
		for (int slot = 0; slot < PROBE_SLOTS; slot++) {
			const struct probe_counters *c = &a->loader.counters[slot];
			out[exit] += __atomic_load_n(bytes ? &c->bytes[exit] : &c->packets[exit],
						     __ATOMIC_ACQUIRE);
		}
	}
}

static void kernel_stage(const struct attach *a, struct ledger_stage *s, bool bytes)
{
	uint64_t n[EXIT_N], out = 0;

	sum(a, bytes, n);
	*s = (struct ledger_stage) {.name = bytes ? "probe_bytes" : "probe",
				    .unit = bytes ? "bytes" : "packets",
				    .in = n[EXIT_SEEN]};
	for (int i = EXIT_SUBMITTED; i < EXIT_N; i++) {
		ledger_exit_add(s, exits[i].name, n[i], exits[i].lost);
		out += n[i];
	}
	s->held = a->detached ? 0 : s->in - out; /* in flight; detached, nothing can be */
}

static void ring_stage(const struct attach *a, struct ledger_stage *s)
{
	uint64_t n[EXIT_N];

	sum(a, false, n);
	*s = (struct ledger_stage) {.name = "ring", .unit = "events", .in = n[EXIT_SUBMITTED]};
	ledger_exit_add(s, "consumed", a->consumed, false);
	ledger_exit_add(s, "malformed", a->malformed, true);
	uint64_t left = s->in - a->consumed - a->malformed;
	ledger_exit_add(s, "lost_at_exit", a->detached ? left : 0, true);
	s->held = a->detached ? 0 : left;
}

static void payload_stage(const struct attach *a, struct ledger_stage *s)
{
	*s = (struct ledger_stage) {.name = "ring_payload", .unit = "bytes"};
	for (int slot = 0; slot < PROBE_SLOTS; slot++)
		s->in += __atomic_load_n(&a->loader.counters[slot].payload_submitted,
					 __ATOMIC_ACQUIRE) +
			 __atomic_load_n(&a->loader.counters[slot].payload_cut, __ATOMIC_ACQUIRE);
	ledger_exit_add(s, "consumed", a->data_bytes, false);
	ledger_exit_add(s, "cut", a->cut_bytes, true);
	uint64_t left = s->in - a->data_bytes - a->cut_bytes;
	ledger_exit_add(s, "lost_at_exit", a->detached ? left : 0, true);
	s->held = a->detached ? 0 : left;
}

static size_t ledger(struct attach *a, struct ledger_stage *out, size_t max)
{
	if (max > 0)
		kernel_stage(a, &out[0], false);
	if (max > 1)
		kernel_stage(a, &out[1], true);
	if (max > 2)
		ring_stage(a, &out[2]);
	if (max > 3)
		payload_stage(a, &out[3]);
	return max < 4 ? max : 4;
}

/* docs/performance.md, "The probe": a run that copies nothing, one that fills an event, a byte of payload */
enum { RUN_NS = 200, EVENT_NS = 450, KIB_NS = 62 };

static bool run_ns(struct attach *a, uint64_t *ns)
{
	uint64_t n[EXIT_N], bytes[EXIT_N];

	if (probe_time_read(&a->time, ns))
		return true;
	sum(a, false, n);
	sum(a, true, bytes);
	*ns = n[EXIT_SEEN] * RUN_NS + n[EXIT_SUBMITTED] * EVENT_NS +
	      bytes[EXIT_SUBMITTED] / 1024 * KIB_NS;
	return false;
}

static const char *describe(struct attach *a)
{
	size_t n = 0;

	if (a->socket) {
		snprintf(a->text, sizeof(a->text), "socket %s",
			 *a->ifname ? a->ifname : "all interfaces");
		return a->text;
	}
	n += (size_t)snprintf(a->text, sizeof(a->text), "cgroup");
	for (size_t i = 0; i < a->set.n && n < sizeof(a->text); i++)
		n += (size_t)snprintf(a->text + n, sizeof(a->text) - n, "%s %s", i ? "," : "",
				      a->set.d[i].path);
	if (n < sizeof(a->text))
		snprintf(a->text + n, sizeof(a->text) - n, " (%s)",
			 a->loader.form == LOADER_COPY ? "load_bytes" : "direct");
	return a->text;
}

#define COMMON                                                                                     \
	.exact = true, .fd = fd_, .drain = drain, .sleep = sleep_, .detach = detach,               \
	.own_port = own_port, .verdict = verdict, .keep = keep, .run_ns = run_ns, .check = check,  \
	.ledger = ledger, .describe = describe, .close = close_

const struct attach_ops attach_cgroup = {
	.name = "cgroup", .probe = probe_cgroup, .open = open_on_cgroup, COMMON};
const struct attach_ops attach_socket = {
	.name = "socket", .probe = probe_socket, .open = open_on_socket, COMMON};
