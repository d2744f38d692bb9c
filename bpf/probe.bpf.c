/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sees each TCP packet at a cgroup_skb hook or in a socket filter and copies what was chosen into a
 * ring. The verdict is always "pass". UAPI headers only, no helper later than Linux 5.8 unless
 * `config` says that it is there. Every packet is counted in `seen` and in exactly one exit.
 */
#include <linux/if_packet.h>

#include "bpf/probe_common.h"
#include "bpf/probe_parse.h"
#include "bpf/probe_select.h"

#ifdef MUTATE_VERDICT /* a build that blocks traffic: the tests must catch it */
enum { PASS = 0 };
#else
enum { PASS = 1 };
#endif

enum { LO_IFINDEX = 1, NOTES_MAX = 65536 };

/* ---- two hooks, one copy ---- */

/* Directional flows that egress sees, so that ingress leaves them alone. */
struct note_key {
	__u64 scope;
	__u64 saddr[2], daddr[2];
	__u64 ports;
};
enum { NOTE_ISN = 1, NOTE_RST = 2 };
struct note {
	__u64 isn; /* of the SYN that egress saw, with NOTE_ISN: an older note is stale */
	__u64 flags;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NOTES_MAX);
	__type(key, struct note_key);
	__type(value, struct note);
} notes SEC(".maps");

static __always_inline void note_key_of(struct note_key *k, const struct seen *e)
{
	const __u64 *s = e->saddr, *d = e->daddr;

	/* Sender and receiver may be in different cgroups of one namespace. */
	k->scope = config.scope_cgroup ? 0 : e->scope;
	k->saddr[0] = s[0], k->saddr[1] = s[1];
	k->daddr[0] = d[0], k->daddr[1] = d[1];
	k->ports = (__u64)e->sport << 16 | e->dport;
}

static __always_inline void note_flow(const struct seen *e)
{
	bool syn = e->tcp_flags & EVENT_SYN, rst = e->tcp_flags & EVENT_RST;
	struct note fresh = {.isn = syn ? e->seq : 0,
			     .flags = (syn ? NOTE_ISN : 0) | (rst ? NOTE_RST : 0)};
	struct note_key k;
	struct note *old;

	note_key_of(&k, e);
	old = bpf_map_lookup_elem(&notes, &k);
	if (!old) {
		bpf_map_update_elem(&notes, &k, &fresh, BPF_ANY);
	} else if (syn) {
		old->isn = fresh.isn;
		old->flags = fresh.flags;
	} else if (rst) {
		old->flags |= NOTE_RST;
	}
}

/*
 * Egress has this packet too. A SYN that egress did not see makes the note stale (the sender's port
 * now belongs to a socket outside); a RST that it did not see came from no socket.
 */
static __always_inline bool noted(const struct seen *e)
{
	struct note_key k;
	struct note *n;

	note_key_of(&k, e);
	n = bpf_map_lookup_elem(&notes, &k);
	if (!n)
		return false;
	if (e->tcp_flags & EVENT_SYN && (!(n->flags & NOTE_ISN) || n->isn != e->seq)) {
		bpf_map_delete_elem(&notes, &k);
		return false;
	}
	return !(e->tcp_flags & EVENT_RST) || n->flags & NOTE_RST;
}

/* ---- the copy ---- */

static __always_inline __u64 wakeup_flags(void)
{
	if (!*(volatile __u32 *)&control.sleeping)
		return BPF_RB_NO_WAKEUP;
	*(volatile __u32 *)&control.sleeping = 0;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void fill(struct event *r, const struct seen *e, __u64 hash, __u64 ts_ns,
				 __u64 want)
{
	r->ts_ns = ts_ns;
	r->scope = e->scope;
	__builtin_memcpy(r->saddr, e->saddr, sizeof(r->saddr));
	__builtin_memcpy(r->daddr, e->daddr, sizeof(r->daddr));
	r->sport = e->sport;
	r->dport = e->dport;
	r->sk_lport = e->sk_lport;
	r->sk_rport = e->sk_rport;
	r->seq = e->seq;
	r->ack = e->ack;
	r->payload_len = e->payload_len;
	r->data_len = want;
	r->flow_slot = event_slot(hash);
	r->flow_tag = event_tag(hash);
	r->tcp_flags = e->tcp_flags;
	r->hook = e->hook;
	r->urg_ptr = e->urg_ptr;
	r->flow_share = hash >> 32;
}

/* Copies want <= size bytes from `off`. The mask, not a comparison, is what all verifiers since 5.8
 * take. */
static __always_inline bool put(struct __sk_buff *skb, const struct seen *e, __u64 hash,
				__u64 ts_ns, __u32 off, __u64 want, const __u64 size,
				struct probe_counters *c)
{
	struct event *r = NULL;
	__u64 n;

	if (!*(volatile __u32 *)&control.spill) {
		r = bpf_ringbuf_reserve(&hot, sizeof(*r) + size, 0);
		if (!r)
			*(volatile __u32 *)&control.spill = 1;
	}
	if (!r)
		r = bpf_ringbuf_reserve(&overflow, sizeof(*r) + size, 0);
	if (!r)
		LEAVE(EXIT_RING_FULL);
	fill(r, e, hash, ts_ns, want);
	if (size) {
		/* Read back: the verifier need not follow where the length came from, on each path
		 * anew. */
		n = *(volatile __u32 *)&r->data_len;
		n -= 1;
		barrier_var(n);
		n &= size - 1;
		n += 1;
		barrier_var(n);
		if (bpf_skb_load_bytes(skb, off, r->data, n) < 0) {
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
			LEAVE(EXIT_COPY_FAIL);
		}
	}
	/* Counted before it is visible: consumed <= submitted. And an atomic add stands between the
	 * reservation and the look at `sleeping`, as the reader's barrier does on its side. */
	count(c, EXIT_SUBMITTED, skb->len);
	if (size) /* an atomic add of 0 would be compiled into an OR, which needs Linux 5.12 */
		__sync_fetch_and_add(&c->payload_submitted, want);
	if (e->payload_len > want)
		__sync_fetch_and_add(&c->payload_cut, e->payload_len - want);
	bpf_ringbuf_submit(r, wakeup_flags());
	return true;
}

static __always_inline bool emit(struct __sk_buff *skb, const struct seen *e, __u64 hash,
				 __u64 ts_ns, __u32 off, __u32 want, struct probe_counters *c)
{
	if (!config.class_max)
		LEAVE(EXIT_TOO_BIG);
	if (want > config.class_max)
		want = config.class_max;
	if (want == 0)
		return put(skb, e, hash, ts_ns, off, want, 0, c);
	if (want <= EVENT_CLASS_MIN)
		return put(skb, e, hash, ts_ns, off, want, EVENT_CLASS_MIN, c);
	if (want <= 2048)
		return put(skb, e, hash, ts_ns, off, want, 2048, c);
	if (want <= 8192)
		return put(skb, e, hash, ts_ns, off, want, 8192, c);
	if (want <= 32768)
		return put(skb, e, hash, ts_ns, off, want, 32768, c);
	if (want <= 65536)
		return put(skb, e, hash, ts_ns, off, want, 65536, c);
	if (want <= 131072)
		return put(skb, e, hash, ts_ns, off, want, 131072, c);
	return put(skb, e, hash, ts_ns, off, want, EVENT_CLASS_MAX, c);
}

/* ---- connections that are not kept ---- */

/*
 * The share of a socket's connection, once one of its packets was left out: the next ones leave
 * before they are parsed (about a third of the cost). Compared anew each time, since the reader may
 * raise what is kept. Nothing is stored while all is kept: it is memory of the service's socket.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} left_out SEC(".maps");

/* `share` NULL: only what is stored. Established: no listener, and its addresses stay. */
static __always_inline __u64 *share_of(struct __sk_buff *skb, __u64 *share)
{
	struct bpf_sock *sk = skb->sk;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk || sk->state != BPF_TCP_ESTABLISHED)
		return NULL;
	return bpf_sk_storage_get(&left_out, sk, share, share ? BPF_SK_STORAGE_GET_F_CREATE : 0);
}

static __always_inline bool is_left_out(struct __sk_buff *skb, __u64 keep)
{
	__u64 *share = keep < KEEP_ALL ? share_of(skb, NULL) : NULL;

	return share && *share >= keep;
}

/* ---- one packet ---- */

enum { ALWAYS_SENT = EVENT_SYN | EVENT_FIN | EVENT_RST };

/* How many payload bytes the verdict of user space leaves; -1: none, not even the event. */
static __always_inline __s64 allowed(const struct seen *e, __u64 hash)
{
	const volatile __u64 *slot = at(&verdicts, event_slot(hash));
	__u64 v = slot ? *slot : 0;

	if (!v || v >> 4 != event_tag(hash))
		return e->payload_len;
	if ((v & 15) == VERDICT_HEAD && e->payload_len > config.head_bytes)
		return config.head_bytes;
	if ((v & 15) != VERDICT_MUTE)
		return e->payload_len;
	return e->tcp_flags & ALWAYS_SENT ? 0 : -1;
}

static __always_inline bool place(struct __sk_buff *skb, struct probe_counters *c, struct seen *e,
				  bool cookie)
{
	if (!config.any_interface && skb->ifindex != LO_IFINDEX)
		LEAVE(EXIT_OTHER_INTERFACE);
	if (e->hook == HOOK_FILTER) {
		if (config.any_interface && skb->ifindex == LO_IFINDEX &&
		    skb->pkt_type == PACKET_OUTGOING)
			LEAVE(EXIT_OTHER_HOOK);
	} else if (cookie) {
		e->scope = bpf_get_netns_cookie(skb);
		if (config.only_own_netns && e->scope != config.own_netns)
			LEAVE(EXIT_OTHER_NETNS);
	} else if (config.scope_cgroup) {
		e->scope = bpf_skb_cgroup_id(skb);
	}
	return true;
}

static __always_inline bool is_own(const struct seen *e, bool cookie)
{
	if (config.own_elsewhere || (cookie && e->scope != config.own_netns))
		return false;
	return port_in(&own_ports, e->sport) | port_in(&own_ports, e->dport);
}

static __always_inline __u64 time_of(struct __sk_buff *skb, int hook)
{
	__u64 t = hook == HOOK_EGRESS ? skb->tstamp : 0;

	return t ? t : bpf_ktime_get_ns();
}

/* True: it was submitted. */
static __always_inline bool mirror(struct __sk_buff *skb, int hook, bool direct, bool cookie,
				   struct probe_counters *c)
{
	struct seen e = {.hook = hook};
	__u64 addr[2], port, ports = 0, side, hash, share;
	__u64 keep = *(volatile __u64 *)&control.keep_below;
	__u32 off = 0;
	__s64 want;

	if (hook != HOOK_FILTER && is_left_out(skb, keep))
		LEAVE(EXIT_SAMPLED_OUT);
	if (!place(skb, c, &e, cookie) || !parse(skb, c, &e, &off, direct))
		return false;
	if (is_own(&e, cookie))
		LEAVE(EXIT_OWN);
	if (hook != HOOK_FILTER)
		ports = take_socket(skb, &e);
	side = select_client(&e, ports);
	if (side == NOBODY)
		LEAVE(EXIT_NOT_SELECTED);
	side_of(&e, side, addr, &port);
	hash = event_hash((const __u8 *)addr, port, config.hash_seed);
	share = hash >> 32;
	if (share >= keep) {
		if (hook != HOOK_FILTER)
			share_of(skb, &share);
		LEAVE(EXIT_SAMPLED_OUT);
	}
	if (!e.payload_len && !(e.tcp_flags & ALWAYS_SENT))
		LEAVE(EXIT_CONTROL);
	if (config.two_hooks && hook == HOOK_EGRESS)
		note_flow(&e);
	if (config.two_hooks && hook == HOOK_INGRESS && noted(&e))
		LEAVE(EXIT_OTHER_HOOK);
	want = allowed(&e, hash);
	if (want < 0)
		LEAVE(EXIT_MUTED);
	return emit(skb, &e, hash, time_of(skb, hook), off, want, c);
}

static __always_inline void handle(struct __sk_buff *skb, int hook, bool direct, bool cookie)
{
	struct probe_counters *c = at(&counters, bpf_get_smp_processor_id() & (PROBE_SLOTS - 1));

	if (!c)
		return;
	count(c, EXIT_SEEN, skb->len);
	mirror(skb, hook, direct, cookie, c);
}

#define CGROUP_PROGRAM(name, attach, hook, direct, cookie)                                         \
	SEC("cgroup_skb/" attach)                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		handle(skb, hook, direct, cookie);                                                 \
		return PASS;                                                                       \
	}

/* With the namespace's cookie (a helper of Linux 6.16); headers by direct packet access
 * (before 6.5: CAP_PERFMON); headers by bpf_skb_load_bytes. A helper that is missing must not even
 * stand in a branch that is never taken. */
CGROUP_PROGRAM(egress_cookie, "egress", HOOK_EGRESS, true, true)
CGROUP_PROGRAM(ingress_cookie, "ingress", HOOK_INGRESS, true, true)
CGROUP_PROGRAM(egress_direct, "egress", HOOK_EGRESS, true, false)
CGROUP_PROGRAM(ingress_direct, "ingress", HOOK_INGRESS, true, false)
CGROUP_PROGRAM(egress_copy, "egress", HOOK_EGRESS, false, false)
CGROUP_PROGRAM(ingress_copy, "ingress", HOOK_INGRESS, false, false)

/* On a packet socket: the rings have the bytes, so the socket's copy is refused (0). */
SEC("socket")
int filter(struct __sk_buff *skb)
{
	handle(skb, HOOK_FILTER, false, false);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
