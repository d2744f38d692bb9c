/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include "probe.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { LOG_BYTES = 256 * 1024, HOT_DEFAULT = 4 << 20, OVERFLOW_DEFAULT = 32 << 20 };
/* Numbers of capabilities, for headers older than Linux 5.8 */
enum { PERFMON = 38, BPF = 39 };
enum { LOAD_DESCRIPTORS = 24 }; /* maps, programs, BTF, and some for libbpf's questions */

static int kernel_release(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return 0;
	return major * 1000 + minor;
}

static uint64_t capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {0};

	if (syscall(SYS_capget, &h, d) != 0)
		return 0;
	return (uint64_t)d[1].effective << 32 | d[0].effective;
}

/* Names what of "CAP_BPF and CAP_X" is missing; false: nothing. */
static bool missing(char *out, size_t out_n, bool socket)
{
	uint64_t have = capabilities();
	int other = socket ? CAP_NET_RAW : CAP_NET_ADMIN;
	bool bpf = (have >> BPF & 1) || (have >> CAP_SYS_ADMIN & 1), net = have >> other & 1;
	const char *name = socket ? "CAP_NET_RAW" : "CAP_NET_ADMIN";

	if (bpf && net)
		return false;
	snprintf(out, out_n, "add %s%s%s", bpf ? "" : "CAP_BPF", bpf || net ? "" : " and ",
		 net ? "" : name);
	return true;
}

int loader_explain(char *out, size_t out_n, const char *step, int error, bool socket)
{
	char caps[64];
	const char *hint = "this kernel does not take it";
	int release = kernel_release();

	if (release && release < 5008) {
		snprintf(out, out_n, "%s: %s: the probe needs Linux 5.8 or later, this is %d.%d",
			 step, strerror(error), release / 1000, release % 1000);
		return -ENOTSUP;
	}
	if (error == EPERM || error == EACCES) {
		hint = "a seccomp filter or lockdown forbids bpf(): allow it";
		if (missing(caps, sizeof(caps), socket))
			hint = caps;
		else if (error == EACCES) /* the verifier's; the others answer EPERM */
			hint = "the verifier of this kernel refuses the probe: report it, and use --attach pcap";
		else if (release && release < 5011)
			hint = "before Linux 5.11 the rings count as locked memory: raise RLIMIT_MEMLOCK (ulimit -l) "
			       "or add CAP_SYS_RESOURCE";
	} else if (error == EBADF) {
		hint = "not a cgroup v2 directory (v1?): name one below the cgroup2 mount";
	} else if (error == EMFILE || error == ENFILE) {
		hint = "raise the limit of open files (ulimit -n)";
	} else if (error == ENOMEM) {
		hint = "not enough memory for the rings: make them smaller";
	}
	snprintf(out, out_n, "%s: %s: %s", step, strerror(error), hint);
	return error == EPERM || error == EACCES ? -EPERM : -ENOTSUP;
}

/* bpf_get_netns_cookie in cgroup programs came with Linux 6.16: ask by loading. */
static bool has_netns_cookie(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_netns_cookie},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET_EGRESS);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "cookie", "Dual BSD/GPL", code,
			       sizeof(code) / sizeof(*code), &opts);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static uint64_t own_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof(cookie);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n) != 0)
		cookie = 0;
	close(fd);
	return cookie;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

/* A ring's size as the kernel wants it: a power of two of whole pages */
static size_t ring_bytes(size_t want, size_t otherwise)
{
	size_t n = (size_t)sysconf(_SC_PAGESIZE);

	while (n < (want ? want : otherwise) && n < (size_t)1 << 30)
		n *= 2;
	return n;
}

static uint32_t class_max(size_t ring)
{
	uint32_t c = EVENT_CLASS_MAX;

	while (c && c + sizeof(struct event) + BPF_RINGBUF_HDR_SZ > ring)
		c = c > EVENT_CLASS_MIN ? c / 2 : 0;
	return c == 16384 || c == 4096 || c == 1024 ? c / 2 : c;
}

static void configure(struct loader *l, struct probe *k, const struct loader_cfg *cfg)
{
	const struct attach_cfg *a = cfg->attach;
	struct probe_config *c = &k->rodata->config;

	*c = (struct probe_config) {
		.own_netns = l->own_netns,
		.hash_seed = a->hash_seed,
		.head_bytes = a->head_bytes,
		.class_max = class_max(l->hot_bytes > l->overflow_bytes ? l->hot_bytes
									: l->overflow_bytes),
		.all_ports = a->n_ports == 0,
		.any_interface = cfg->any_interface,
		.only_own_netns = cfg->only_own_netns,
		.scope_cgroup = !cfg->socket && l->form != LOADER_COOKIE && cfg->several_netns,
		.two_hooks = cfg->two_hooks,
		.own_elsewhere = cfg->own_elsewhere,
	};
	k->data->control.keep_below = a->keep_below;
	bpf_map__set_max_entries(k->maps.hot, (uint32_t)l->hot_bytes);
	bpf_map__set_max_entries(k->maps.overflow, (uint32_t)l->overflow_bytes);
	if (!cfg->two_hooks)
		bpf_map__set_max_entries(k->maps.notes, 1);
	if (a->n_ports == 0)
		bpf_map__set_max_entries(k->maps.clients, 1);
}

static void choose(struct loader *l, struct probe *k, const struct loader_cfg *cfg, char *log)
{
	struct bpf_program *const egress[] = {k->progs.egress_cookie, k->progs.egress_direct,
					      k->progs.egress_copy};
	struct bpf_program *const ingress[] = {k->progs.ingress_cookie, k->progs.ingress_direct,
					       k->progs.ingress_copy};
	struct bpf_program *p;

	l->egress = cfg->socket ? NULL : egress[l->form];
	l->ingress = cfg->two_hooks ? ingress[l->form] : NULL;
	l->filter = cfg->socket ? k->progs.filter : NULL;
	bpf_object__for_each_program(p, k->obj)
	{
		bpf_program__set_autoload(p, p == l->egress || p == l->ingress || p == l->filter);
		if (log)
			bpf_program__set_log_buf(p, log, LOG_BYTES);
	}
}

/* The line of the verifier's log that tells: the last before its statistics */
static void log_line_of(const char *log, char *out, size_t out_n)
{
	const char *stats = strstr(log, "\nprocessed "), *end = stats ? stats : log + strlen(log);

	while (end > log && end[-1] == '\n')
		end--;
	const char *start = end;
	while (start > log && start[-1] != '\n')
		start--;
	snprintf(out, out_n, "%.*s", (int)(end - start), start);
}

static void *map_array(const struct bpf_map *m, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(m), 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap_array(void *p, size_t n)
{
	if (p)
		munmap(p, n);
}

enum {
	COUNTERS_BYTES = PROBE_SLOTS * sizeof(struct probe_counters),
	PORTS_BYTES = PORT_WORDS * sizeof(uint64_t),
	VERDICTS_BYTES = VERDICT_SLOTS * sizeof(uint64_t),
};

static int map_arrays(struct loader *l, const struct probe *k, const struct attach_cfg *a)
{
	uint64_t *chosen = map_array(k->maps.chosen_ports, PORTS_BYTES);

	l->counters = map_array(k->maps.counters, COUNTERS_BYTES);
	l->own_ports = map_array(k->maps.own_ports, PORTS_BYTES);
	l->verdicts = map_array(k->maps.verdicts, VERDICTS_BYTES);
	for (size_t i = 0; chosen && i < a->n_ports; i++)
		chosen[a->ports[i] >> 6] |= 1ull << (a->ports[i] & 63);
	unmap_array(chosen, PORTS_BYTES);
	return chosen && l->counters && l->own_ports && l->verdicts ? 0 : -ENOMEM;
}

static void unmap_arrays(struct loader *l)
{
	unmap_array(l->counters, COUNTERS_BYTES);
	unmap_array(l->own_ports, PORTS_BYTES);
	unmap_array(l->verdicts, VERDICTS_BYTES);
	l->counters = NULL;
	l->own_ports = l->verdicts = NULL;
}

static int try_load(struct loader *l, const struct loader_cfg *cfg, char *log)
{
	struct probe *k = probe__open();

	if (!k)
		return -errno;
	configure(l, k, cfg);
	choose(l, k, cfg, log);
	int err = probe__load(k);
	if (!err)
		err = map_arrays(l, k, cfg->attach);
	if (err) {
		unmap_arrays(l);
		probe__destroy(k);
		l->egress = l->ingress = l->filter = NULL;
		return err;
	}
	l->skel = k;
	l->control = &k->data->control;
	l->hot_fd = bpf_map__fd(k->maps.hot);
	l->overflow_fd = bpf_map__fd(k->maps.overflow);
	return 0;
}

/* Without one left libbpf takes the kernel for an older one, and fails by another name. */
static bool few_descriptors(void)
{
	struct rlimit r;
	int left = 0;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return false;
	for (rlim_t fd = 0; fd < r.rlim_cur && left < LOAD_DESCRIPTORS; fd++)
		left += fcntl((int)fd, F_GETFD) < 0;
	return left < LOAD_DESCRIPTORS;
}

int loader_open(struct loader *l, const struct loader_cfg *cfg, char *err, size_t err_n)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	char *log = calloc(1, LOG_BYTES), step[200] = "load", line[160];
	int e;

	libbpf_set_print(quiet);
	(void)setrlimit(RLIMIT_MEMLOCK,
			&all); /* matters before 5.11 only; loader_explain() names it */
	*l = (struct loader) {.own_netns = own_cookie(),
			      .hot_bytes = ring_bytes(cfg->attach->hot_bytes, HOT_DEFAULT),
			      .overflow_bytes =
				      ring_bytes(cfg->attach->overflow_bytes, OVERFLOW_DEFAULT)};
	l->form = cfg->socket                          ? LOADER_COPY
		  : l->own_netns && has_netns_cookie() ? LOADER_COOKIE
						       : LOADER_DIRECT;
	for (;;) {
		if (log)
			log[0] = 0;
		e = try_load(l, cfg, log);
		if (!e || e == -EPERM || e == -ENOMEM || l->form == LOADER_COPY)
			break;
		l->form++;
	}
	if (e && log && log[0]) {
		log_line_of(log, line, sizeof(line));
		snprintf(step, sizeof(step), "load: %s", line);
	}
	free(log);
	if (!e)
		return 0;
	*l = (struct loader) {0};
	if (few_descriptors())
		return loader_explain(err, err_n, "load", EMFILE, cfg->socket);
	return loader_explain(err, err_n, step, -e, cfg->socket);
}

void loader_close(struct loader *l)
{
	unmap_arrays(l);
	probe__destroy(l->skel);
	*l = (struct loader) {0};
}
