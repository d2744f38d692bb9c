/* SPDX-License-Identifier: Apache-2.0 */
/* Packets from libpcap: an interface (lo by default), or a capture file. */
#include <errno.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "capture/attach.h"

enum {
	SNAPLEN = 262144,
	TIMEOUT_MS = 10,
	BUFFER_BYTES = 32 << 20,
	CLIENT_SETS = 4096, /* clients remembered: sets of ways */
	CLIENT_WAYS = 4,
	ARPHRD_LO = 772, /* hardware type of lo in cooked headers */
	COOKED_HOST = 0,
	COOKED_OUTGOING = 4,
};

/* The first ones in the order of enum packet_result */
enum pcap_exit {
	EXIT_SELECTED,
	EXIT_NOT_TCP,
	EXIT_IP_FRAG,
	EXIT_MALFORMED,
	EXIT_CONTROL,
	EXIT_UNSUPPORTED,
	EXIT_NOT_SELECTED,
	EXIT_OWN,
	EXIT_SAMPLED_OUT,
	EXIT_LOOPBACK_COPY, /* lo shows a packet going out and coming in */
	EXIT_AFTER_DETACH,
	EXIT_N
};
static const char *const exit_names[EXIT_N] = {
	"selected",     "not_tcp", "ip_frag",     "malformed",     "control",      "unsupported",
	"not_selected", "own",     "sampled_out", "loopback_copy", "after_detach",
};
_Static_assert(EXIT_UNSUPPORTED == (int)PACKET_UNSUPPORTED, "exits follow enum packet_result");

struct attach {
	struct attach_cfg cfg;
	pcap_t *pcap;
	bool live, loopback;
	int dlt;
	char interface[IFNAMSIZ];
	char describe[512];
	char note[160]; /* how the file ended, when not well */
	int64_t clock_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
	uint64_t detached_ns; /* unix time; 0: attached */
	bool past_detach, eof;
	bool host_copies; /* the file holds packets of lo coming in: those going out are copies */
	uint64_t in, exits[EXIT_N];
	struct pcap_stat last; /* of the kernel: 32 bits that wrap */
	uint64_t kernel_recv, kernel_drop;
	struct hash_key key;
	uint64_t clients[CLIENT_SETS][CLIENT_WAYS];
	uint8_t next_way[CLIENT_SETS];
	uint32_t chosen[65536 / 32];
	_Atomic uint32_t own[65536 / 32];
};

static bool has_bit(const uint32_t *words, uint16_t bit)
{
	return words[bit >> 5] >> (bit & 31) & 1;
}

static bool is_own(struct attach *a, uint16_t port)
{
	return atomic_load_explicit(&a->own[port >> 5], memory_order_relaxed) >> (port & 31) & 1;
}

static uint64_t endpoint_hash(const struct attach *a, const uint8_t addr[16], uint16_t port)
{
	uint8_t key[18];
	memcpy(key, addr, 16);
	memcpy(key + 16, &port, 2);
	return hash_bytes(a->key, bytes_of(key, sizeof(key))) | 1;
}

static uint64_t *client_find(struct attach *a, uint64_t hash)
{
	uint64_t *set = a->clients[hash >> 8 & (CLIENT_SETS - 1)];
	for (int i = 0; i < CLIENT_WAYS; i++)
		if (set[i] == hash)
			return &set[i];
	return NULL;
}

static void client_add(struct attach *a, uint64_t hash)
{
	size_t set = hash >> 8 & (CLIENT_SETS - 1);
	if (!client_find(a, hash))
		a->clients[set][a->next_way[set]++ % CLIENT_WAYS] = hash;
}

/*
 * Is it on a chosen port, or of a client that talked to one? The second finds the other direction
 * of a redirected connection. *client: hash of the client's address and port.
 */
static bool is_selected(struct attach *a, const struct packet *p, uint64_t *client)
{
	uint64_t src = endpoint_hash(a, p->src, p->sport), dst = endpoint_hash(a, p->dst, p->dport);
	if (!a->cfg.n_ports) {
		bool request = p->sport != p->dport ? p->sport > p->dport : src > dst;
		*client = request ? src : dst;
		return true;
	}
	bool to = has_bit(a->chosen, p->dport), from = has_bit(a->chosen, p->sport);
	if (to || from) {
		*client = to ? src : dst;
		client_add(a, *client);
		return true;
	}
	uint64_t *known = client_find(a, src);
	*client = src;
	if (known && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		*known = 0; /* that client's port has a new life */
		return false;
	}
	if (!known) {
		known = client_find(a, dst);
		*client = dst;
	}
	return known != NULL;
}

/* A packet of lo going out, in a file that also has it coming in; told by the cooked header
 * alone. */
static bool is_loopback_copy(struct attach *a, struct bytes frame)
{
	unsigned type, hardware;
	if (a->live || (a->dlt != DLT_LINUX_SLL && a->dlt != DLT_LINUX_SLL2) || frame.n < 12)
		return false;
	if (a->dlt == DLT_LINUX_SLL) {
		type = (unsigned)(frame.p[0] << 8 | frame.p[1]);
		hardware = (unsigned)(frame.p[2] << 8 | frame.p[3]);
	} else {
		hardware = (unsigned)(frame.p[8] << 8 | frame.p[9]);
		type = frame.p[10];
	}
	if (hardware != ARPHRD_LO)
		return false;
	a->host_copies |= type == COOKED_HOST;
	return type == COOKED_OUTGOING && a->host_copies;
}

static enum pcap_exit take_frame(struct attach *a, struct bytes frame, uint32_t wire_len,
				 uint64_t unix_ns, struct packet *p)
{
	uint64_t ts = unix_ns, client;
	if (a->live)
		ts = (int64_t)unix_ns > a->clock_offset_ns ? unix_ns - (uint64_t)a->clock_offset_ns
							   : 0;
	if (a->detached_ns && unix_ns > a->detached_ns) {
		a->past_detach = true;
		return EXIT_AFTER_DETACH;
	}
	if (is_loopback_copy(a, frame))
		return EXIT_LOOPBACK_COPY;
	enum packet_result r = packet_parse(a->dlt, frame, wire_len, ts, p);
	if (r != PACKET_OK)
		return (enum pcap_exit)r;
	if (is_own(a, p->sport) || is_own(a, p->dport))
		return EXIT_OWN;
	if (!is_selected(a, p, &client))
		return EXIT_NOT_SELECTED;
	p->share = (uint32_t)(client >> 32);
	return client >> 32 < a->cfg.keep_below ? EXIT_SELECTED : EXIT_SAMPLED_OUT;
}

static void on_frame(u_char *user, const struct pcap_pkthdr *h, const u_char *data)
{
	struct attach *a = (struct attach *)user;
	struct packet p;
	/* nanoseconds: tv_usec holds them in this precision */
	uint64_t unix_ns = (uint64_t)h->ts.tv_sec * 1000000000u + (uint64_t)h->ts.tv_usec;
	enum pcap_exit exit = take_frame(a, bytes_of(data, h->caplen), h->len, unix_ns, &p);
	a->in++;
	a->exits[exit]++;
	if (exit == EXIT_SELECTED)
		a->cfg.on_packet(a->cfg.ctx, &p);
}

static void measure_clock(struct attach *a)
{
	a->clock_offset_ns = (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
}

static const char *interface_of(const struct attach_cfg *cfg)
{
	if (cfg->spec && *cfg->spec)
		return cfg->spec;
	return cfg->any_interface ? "any" : "lo";
}

static int attach_probe(const struct attach_cfg *cfg, char *why, size_t why_n)
{
	const char *name = interface_of(cfg);
	if (cfg->read_file) {
		if (strcmp(cfg->read_file, "-") == 0 || access(cfg->read_file, R_OK) == 0)
			return 0;
		int e = errno;
		snprintf(why, why_n, "%s: %s", cfg->read_file, strerror(e));
		return e == EACCES ? -EPERM : -ENOENT;
	}
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		int e = errno;
		if (e == EPERM || e == EACCES)
			snprintf(why, why_n,
				 "CAP_NET_RAW is missing: add NET_RAW to the capabilities");
		else
			snprintf(why, why_n, "packet sockets do not work here: %s", strerror(e));
		return e == EPERM || e == EACCES ? -EPERM : -ENOTSUP;
	}
	close(fd);
	if (attach_interface_gone(name, 0)) {
		snprintf(why, why_n, "no interface %s: choose one of `ip link`", name);
		return -ENOENT;
	}
	return 0;
}

/* Only what can be TCP; all of IPv6, whose jumbo packets hide behind a hop-by-hop header. */
static void live_filter(struct attach *a)
{
	struct bpf_program program;
	if (pcap_compile(a->pcap, &program, "ip6 or tcp or (vlan and (ip6 or tcp))", 1,
			 PCAP_NETMASK_UNKNOWN) < 0)
		return; /* then in user space alone */
	pcap_setfilter(a->pcap, &program);
	pcap_freecode(&program);
}

static bool live_open(struct attach *a, char *err, size_t err_n)
{
	char pcap_err[PCAP_ERRBUF_SIZE] = "";
	snprintf(a->interface, sizeof(a->interface), "%s", interface_of(&a->cfg));
	a->live = true;
	a->loopback = strcmp(a->interface, "lo") == 0;
	a->pcap = pcap_create(a->interface, pcap_err);
	if (!a->pcap) {
		snprintf(err, err_n, "pcap %s: %s", a->interface, pcap_err);
		return false;
	}
	pcap_set_snaplen(a->pcap, SNAPLEN);
	pcap_set_promisc(a->pcap, 0);
	pcap_set_timeout(a->pcap, TIMEOUT_MS);
	pcap_set_buffer_size(a->pcap, BUFFER_BYTES);
	pcap_set_tstamp_precision(a->pcap, PCAP_TSTAMP_PRECISION_NANO);
	if (pcap_activate(a->pcap) < 0 || pcap_setnonblock(a->pcap, 1, pcap_err) < 0) {
		snprintf(err, err_n, "pcap %s: %s", a->interface, pcap_geterr(a->pcap));
		return false;
	}
	if (a->loopback)
		pcap_setdirection(a->pcap, PCAP_D_IN);
	live_filter(a);
	measure_clock(a);
	return true;
}

static bool file_open(struct attach *a, char *err, size_t err_n)
{
	char pcap_err[PCAP_ERRBUF_SIZE] = "";
	const char *path = a->cfg.read_file;
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(path, "rbe");
	if (!f) {
		snprintf(err, err_n, "%s: %s", path, strerror(errno));
		return false;
	}
	a->pcap = pcap_fopen_offline_with_tstamp_precision(f, PCAP_TSTAMP_PRECISION_NANO, pcap_err);
	if (!a->pcap) {
		snprintf(err, err_n, "%s: not a capture file that can be read: %s", path, pcap_err);
		if (!is_stdin)
			fclose(f);
		return false;
	}
	return true;
}

static void attach_close(struct attach *a)
{
	if (!a)
		return;
	if (a->pcap)
		pcap_close(a->pcap); /* closes the file too */
	free(a);
}

static struct attach *attach_open(const struct attach_cfg *cfg, char *err, size_t err_n)
{
	struct attach *a = calloc(1, sizeof(*a));
	if (!a) {
		snprintf(err, err_n, "no memory");
		return NULL;
	}
	a->cfg = *cfg;
	a->key = hash_key_of(cfg->hash_seed);
	for (size_t i = 0; i < cfg->n_ports; i++)
		a->chosen[cfg->ports[i] >> 5] |= 1u << (cfg->ports[i] & 31);
	if (cfg->read_file ? !file_open(a, err, err_n) : !live_open(a, err, err_n)) {
		attach_close(a);
		return NULL;
	}
	a->dlt = pcap_datalink(a->pcap);
	struct packet p;
	if (packet_parse(a->dlt, bytes_of(NULL, 0), 0, 0, &p) == PACKET_UNSUPPORTED) {
		const char *name = pcap_datalink_val_to_name(a->dlt);
		snprintf(err, err_n, "%s: link type %s (%d) is not supported",
			 cfg->read_file ? cfg->read_file : a->interface, name ? name : "?", a->dlt);
		attach_close(a);
		return NULL;
	}
	return a;
}

static int attach_fd(struct attach *a)
{
	return a->live ? pcap_get_selectable_fd(a->pcap) : -1;
}

static int file_ended(struct attach *a, int r)
{
	a->eof = true;
	if (r < 0)
		snprintf(a->note, sizeof(a->note), "; ended early after %llu packets: %s",
			 (unsigned long long)a->in, pcap_geterr(a->pcap));
	return ATTACH_EOF;
}

/* The kernel hands out a block when it is full or TIMEOUT_MS old: the last one may be neither yet. */
static bool block_comes(struct attach *a)
{
	struct pollfd p = {.fd = pcap_get_selectable_fd(a->pcap), .events = POLLIN};
	return poll(&p, 1, 10 * TIMEOUT_MS) > 0;
}

static int attach_drain(struct attach *a, unsigned budget)
{
	if (a->eof)
		return ATTACH_EOF;
	if (a->past_detach)
		return ATTACH_EMPTY;
	uint64_t until = a->in + budget;
	while (a->in < until && !a->past_detach) {
		int r = pcap_dispatch(a->pcap, (int)(until - a->in), on_frame, (u_char *)a);
		if (r > 0)
			continue;
		if (!a->live)
			return file_ended(a, r);
		if (r == 0 && a->detached_ns && block_comes(a))
			continue;
		if (r == 0)
			return ATTACH_EMPTY;
		return attach_interface_gone(a->interface, 0) ? ATTACH_GONE : -EIO;
	}
	return a->past_detach ? ATTACH_EMPTY : ATTACH_MORE;
}

static bool attach_sleep(struct attach *a)
{
	return a->live; /* the kernel makes the descriptor readable by itself */
}

static void attach_detach(struct attach *a)
{
	if (a->live && !a->detached_ns)
		a->detached_ns = clock_ns(CLOCK_REALTIME);
}

static void attach_own_port(struct attach *a, uint16_t port, bool in_use)
{
	uint32_t bit = 1u << (port & 31);
	if (in_use)
		atomic_fetch_or(&a->own[port >> 5], bit);
	else
		atomic_fetch_and(&a->own[port >> 5], ~bit);
}

static int attach_check(struct attach *a)
{
	if (!a->live)
		return 0;
	measure_clock(a); /* the wall clock may have been set */
	return attach_interface_gone(a->interface, 0) ? -ENOENT : 0;
}

static void kernel_stats(struct attach *a)
{
	struct pcap_stat now;
	if (!a->live || pcap_stats(a->pcap, &now) < 0)
		return;
	a->kernel_recv += now.ps_recv - a->last.ps_recv;
	a->kernel_drop += now.ps_drop - a->last.ps_drop;
	a->last = now;
}

static size_t attach_ledger(struct attach *a, struct ledger_stage *out, size_t max)
{
	if (max < 1)
		return 0;
	out[0] = (struct ledger_stage) {
		.name = "pcap", .unit = "packets", .in = a->in, .approximate = a->live};
	for (int i = 0; i < EXIT_N; i++)
		ledger_exit_add(&out[0], exit_names[i], a->exits[i], i == EXIT_IP_FRAG);
	if (!a->live || max < 2)
		return 1;
	kernel_stats(a);
	uint64_t dropped = a->kernel_drop < a->kernel_recv ? a->kernel_drop : a->kernel_recv;
	out[1] = (struct ledger_stage) {.name = "pcap_kernel",
					.unit = "packets",
					.in = a->kernel_recv,
					.approximate = true};
	ledger_exit_add(&out[1], "passed", a->kernel_recv - dropped, false);
	ledger_exit_add(&out[1], "dropped", dropped, true);
	return 2;
}

static const char *attach_describe(struct attach *a)
{
	const char *link = pcap_datalink_val_to_name(a->dlt);
	snprintf(a->describe, sizeof(a->describe), "pcap %s (%s%s)",
		 a->live ? a->interface : a->cfg.read_file, link ? link : "?", a->note);
	return a->describe;
}

static void attach_keep(struct attach *a, uint64_t keep_below)
{
	a->cfg.keep_below = keep_below;
}

const struct attach_ops attach_pcap = {
	.name = "pcap",
	.exact = false,
	.probe = attach_probe,
	.open = attach_open,
	.fd = attach_fd,
	.drain = attach_drain,
	.sleep = attach_sleep,
	.detach = attach_detach,
	.own_port = attach_own_port,
	.keep = attach_keep,
	.check = attach_check,
	.ledger = attach_ledger,
	.describe = attach_describe,
	.close = attach_close,
};
