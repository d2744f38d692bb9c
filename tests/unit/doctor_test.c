/* SPDX-License-Identifier: Apache-2.0 */
/* What doctor reads, what it advises (V1 .. V7), what it shows; and watch, on live connections
 * of a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/watch.h"

#define CAP(n) (1ull << (n))
enum { BPF = 39, PERFMON = 38 };

static void reads_status(void **state)
{
	(void)state;
	struct doctor_host h = {0};
	doctor_parse_status(
		&h,
		"Name:\tx\nUid:\t1000\t1001\t1002\t1003\nCapInh:\t0000000000000001\n"
		"CapEff:\t000000c000003000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n");
	assert_int_equal(h.uid, 1001);
	assert_int_equal(h.seccomp, 2);
	assert_true(h.no_new_privs);
	for (unsigned cap = 0; cap < 64; cap++)
		assert_int_equal(doctor_has_cap(&h, cap), cap == BPF || cap == PERFMON ||
								  cap == CAP_NET_ADMIN ||
								  cap == CAP_NET_RAW);
	doctor_parse_status(&h, "");
	assert_int_equal(h.seccomp, -1);
	assert_int_equal(h.caps, 0);
}

/* V6: cgroup v2 wherever it is mounted; v1 is none. */
static void v6_finds_cgroup2(void **state)
{
	(void)state;
	char at[256] = "";
	assert_true(doctor_parse_mountinfo(
		"43 32 0:35 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 "
		"cgroup2 rw,nsdelegate\n",
		at, sizeof(at)));
	assert_string_equal(at, "/sys/fs/cgroup/unified");
	assert_true(doctor_parse_mountinfo("1 2 0:3 / /a\\040b\\033c rw - cgroup2 none rw\n", at,
					   sizeof(at)));
	assert_string_equal(at, "/a b\\x1bc");
	assert_false(doctor_parse_mountinfo(
		"43 32 0:35 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", at, sizeof(at)));
	assert_false(doctor_parse_mountinfo("43 32 0:35 / /x - y rw - tmpfs cgroup2 rw\n", at,
					    sizeof(at)));
	assert_false(doctor_parse_mountinfo("", at, sizeof(at)));
}

/* A machine on which all is well */
static struct doctor *fine(void)
{
	struct doctor *d = calloc(1, sizeof(*d));
	assert_non_null(d);
	d->host = (struct doctor_host) {.release = "6.1.0",
					.machine = "x86_64",
					.major = 6,
					.minor = 1,
					.btf = true,
					.caps = CAP(BPF) | CAP(PERFMON) | CAP(CAP_NET_ADMIN) |
						CAP(CAP_NET_RAW) | CAP(CAP_SYS_PTRACE),
					.memlock_bytes = 8 << 20,
					.cgroup2 = "/sys/fs/cgroup",
					.own_cgroup = "/a"};
	strcpy(d->pod.first_process, "service");
	d->attach[0] = (struct doctor_attach) {.name = "cgroup", .exact = true, .works = true};
	d->attach[1] = (struct doctor_attach) {.name = "socket", .exact = true, .works = true};
	d->attach[2] = (struct doctor_attach) {.name = "pcap", .works = true};
	d->traffic.known = true;
	return d;
}

static bool advises(struct doctor *d, const char *words)
{
	doctor_advise(d);
	for (size_t i = 0; i < d->n_advice; i++)
		if (strstr(d->advice[i], words))
			return true;
	return false;
}

static void nothing_to_change(void **state)
{
	(void)state;
	struct doctor *d = fine();
	doctor_advise(d);
	assert_int_equal(d->n_advice, 0);
	assert_string_equal(doctor_choice(d)->name, "cgroup");
	free(d);
}

static void v1_v2_v3_capabilities(void **state)
{
	(void)state;
	struct doctor *d = fine();
	d->host.caps &= ~CAP(BPF);
	assert_true(advises(d, "capabilities BPF:"));
	d->host.caps |= CAP(CAP_SYS_ADMIN);
	assert_false(advises(d, "capabilities"));
	d->host.caps = CAP(BPF) | CAP(CAP_NET_RAW);
	assert_true(advises(d, "capabilities NET_ADMIN, PERFMON:"));
	d->host.caps = CAP(BPF) | CAP(CAP_NET_ADMIN) | CAP(CAP_NET_RAW);
	d->host.minor = 5;
	assert_false(advises(d, "capabilities"));
	d->host.minor = 4;
	assert_true(advises(d, "capabilities PERFMON:"));
	d->host.caps = 0;
	assert_true(advises(d, "capabilities BPF, NET_ADMIN, NET_RAW, PERFMON:"));
	assert_false(advises(d, "runAsUser: 0"));
	d->host.uid = 1000;
	assert_true(advises(d, "uid 1000"));
	free(d);
}

static void v4_v6_v7_kernel(void **state)
{
	(void)state;
	struct doctor *d = fine();
	d->host.seccomp = 2;
	assert_false(advises(d, "seccomp"));
	d->attach[0].works = d->attach[1].works = false;
	assert_true(advises(d, "seccomp"));
	assert_true(advises(d, "only pcap works"));
	assert_string_equal(doctor_choice(d)->name, "pcap");
	d->attach[2].works = false;
	assert_true(advises(d, "nothing can attach"));
	assert_null(doctor_choice(d));
	d->host.cgroup2[0] = 0;
	assert_true(advises(d, "cgroup v2 is not mounted"));
	d->host.major = 5;
	d->host.minor = 10;
	assert_true(advises(d, "RLIMIT_MEMLOCK (8 MiB)"));
	d->host.minor = 11;
	assert_false(advises(d, "RLIMIT_MEMLOCK"));
	d->host.minor = 7;
	assert_true(advises(d, "5.8 or later"));
	free(d);
}

static void v5_btf_is_not_needed(void **state)
{
	(void)state;
	struct doctor *d = fine();
	d->host.btf = false;
	doctor_advise(d);
	assert_int_equal(d->n_advice, 0);
	free(d);
}

static void advice_for_pods_and_sockmaps(void **state)
{
	(void)state;
	struct doctor *d = fine();
	d->pod.kubernetes = true;
	d->pod.processes = d->pod.same_network = 1;
	assert_true(advises(d, "--target"));
	d->pod.processes = d->pod.same_network = 3;
	d->pod.other_cgroup = 2;
	assert_false(advises(d, "--target"));
	assert_false(advises(d, "SYS_PTRACE"));
	d->host.caps &= ~CAP(CAP_SYS_PTRACE);
	assert_true(advises(d, "SYS_PTRACE"));
	d->traffic.silent = 3;
	assert_false(advises(d, "sockmap"));
	d->traffic.sockmaps = 1;
	assert_true(advises(d, "sockmap"));
	d->kafka.asked = true;
	assert_true(advises(d, "Kafka"));
	assert_false(advises(d, "SCRAM"));
	d->kafka.caveat = "no SCRAM here";
	assert_true(advises(d, "SCRAM"));
	free(d);
}

static char *screen(const struct doctor *d, bool colour)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	doctor_print(d, f, colour);
	fclose(f);
	return text;
}

static void ports_of(struct doctor *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		d->traffic.ports[i] = (struct doctor_port) {.port = (uint16_t)(8000 + i),
							    .process = "nginx 812",
							    .connections = 1234,
							    .bytes = 5 << 20,
							    .outside = i == 1};
	d->traffic.n_ports = n;
}

/* One screen: 100 columns; colour only when asked for. */
static void the_screen(void **state)
{
	(void)state;
	struct doctor *d = fine();
	ports_of(d, 20);
	d->traffic.more_ports = 3;
	d->host.caps = 0;
	d->attach[0].works = false;
	memset(d->attach[0].why, 'w', 200);
	for (size_t i = 20; i < 200; i += 20)
		d->attach[0].why[i] = ' ';
	doctor_advise(d);
	char *text = screen(d, false);
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "8000  nginx 812                      1,234      5 MiB\n"));
	assert_non_null(strstr(text, "and 13 more"));
	assert_non_null(strstr(text, "next: sidetap capture -p 8000\n"));
	size_t lines = 0;
	for (char *line = text; *line; lines++) {
		size_t n = strcspn(line, "\n");
		if (n > 100)
			fail_msg("%.*s", (int)n, line);
		line += n + (line[n] == '\n');
	}
	assert_true(lines <= 45);
	free(text);
	text = screen(d, true);
	assert_non_null(strstr(text, "\033[32m"));
	free(text);
	free(d);
}

static void the_json(void **state)
{
	(void)state;
	struct doctor *d = fine();
	char *text = NULL;
	size_t n;
	ports_of(d, 2);
	d->host.memlock_bytes = UINT64_MAX;
	d->traffic.sockmaps = -EPERM;
	d->attach[0].works = false;
	doctor_advise(d);
	FILE *f = open_memstream(&text, &n);
	assert_int_equal(doctor_print_json(d, f), 0);
	fclose(f);
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "choice")), "socket");
	assert_true(json_is_null(json_object_get(root, "sockmaps")));
	assert_int_equal(json_array_size(json_object_get(root, "ports")), 2);
	json_t *host = json_object_get(root, "host");
	assert_int_equal(json_integer_value(json_object_get(host, "memlock_bytes")), -1);
	assert_true(json_is_true(json_object_get(json_object_get(host, "capabilities"), "BPF")));
	assert_null(json_object_get(root, "kafka"));
	json_decref(root);
	free(text);
	d->attach[1].works = d->attach[2].works = false;
	f = open_memstream(&text, &n);
	assert_int_equal(doctor_print_json(d, f), 0);
	fclose(f);
	root = json_loads(text, 0, NULL);
	assert_true(json_is_null(json_object_get(root, "choice")));
	json_decref(root);
	free(text);
	free(d);
}

/* A child with a listener and two connections of its own; it moves bytes, or ends, when told. */
struct child {
	pid_t pid;
	int in, out;
	uint16_t port;
};

static int listener(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 8) < 0)
		_exit(1);
	getsockname(fd, (struct sockaddr *)&a, &n);
	*port = ntohs(a.sin_port);
	return fd;
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		_exit(1);
	return fd;
}

/* Commands: 'c' connect, 'm' move 10,000 bytes, 'o' one connection that comes and goes. Each is
 * answered. */
static void serve(int in, int out)
{
	char c, block[10000] = {0};
	uint16_t port;
	int l = listener(&port), client = -1, server = -1;
	if (write(out, &port, sizeof(port)) < 0)
		_exit(1);
	while (read(in, &c, 1) == 1) {
		if (c == 'c') {
			client = dial(port);
			server = accept(l, NULL, NULL);
		}
		if (c == 'm') {
			if (write(client, block, sizeof(block)) != sizeof(block))
				_exit(1);
			for (ssize_t left = sizeof(block), n; left; left -= n)
				if ((n = read(server, block, (size_t)left)) <= 0)
					_exit(1);
		}
		if (c == 'o') {
			int once = dial(port), there = accept(l, NULL, NULL);
			close(once);
			if (read(there, block, 1) != 0)
				_exit(1);
			close(there);
		}
		if (write(out, &c, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static struct child child_start(void)
{
	struct child c = {0};
	int in[2], out[2];
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	fflush(NULL);
	c.pid = fork();
	if (c.pid == 0) {
		close(in[1]);
		close(out[0]);
		serve(in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	c.in = in[1];
	c.out = out[0];
	assert_int_equal(read(c.out, &c.port, sizeof(c.port)), sizeof(c.port));
	return c;
}

static void tell(struct child *c, char what)
{
	assert_int_equal(write(c->in, &what, 1), 1);
	assert_int_equal(read(c->out, &what, 1), 1);
}

static void child_end(struct child *c)
{
	int status = -1;
	close(c->in);
	close(c->out);
	waitpid(c->pid, &status, 0);
	assert_int_equal(status, 0);
}

static char *explained(struct watch *w, uint16_t port)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	watch_explain(w, f, &port, 1);
	fclose(f);
	assert_ptr_equal(strchr(text, '\n'), text + n - 1);
	return text;
}

static void says(struct watch *w, uint16_t port, const char *words)
{
	char *text = explained(w, port);
	if (!strstr(text, words))
		fail_msg("%s (want: %s)", text, words);
	free(text);
}

static void watch_sees_bytes_move(void **state)
{
	(void)state;
	struct child c = child_start();
	char want[120];
	uint16_t other = c.port ^ 1;
	struct watch *w = watch_begin();
	assert_non_null(w);
	says(w, c.port, "doctor_test ");
	says(w, c.port, "listens there, nobody is connected");
	assert_false(watch_moving(w, &c.port, 1));
	watch_end(w);

	tell(&c, 'c');
	w = watch_begin();
	assert_false(watch_moving(w, &c.port, 1));
	says(w, c.port, "1 open connection never carried a byte over TCP");
	watch_end(w);

	w = watch_begin();
	tell(&c, 'm');
	assert_true(watch_moving(w, &c.port, 1));
	assert_true(watch_moving(w, NULL, 0));
	says(w, c.port, "moved there (doctor_test ");
	says(w, c.port,
	     "9.77 KiB"); /* once, though two sockets counted them; a SYN's byte rounds away */
	assert_false(watch_moving(w, &other, 1));
	snprintf(want, sizeof(want), "%u (doctor_test %d)", c.port, c.pid);
	says(w, other, "no socket has that port; loopback bytes move on ");
	says(w, other, want);
	snprintf(want, sizeof(want), "nothing captured on port %u after 0 s: ", other);
	says(w, other, want);
	watch_end(w);

	w = watch_begin();
	says(w, c.port, "1 connection there, no byte moved");
	watch_end(w);
	child_end(&c);
}

/* Connections that came and went between the two looks leave TIME_WAIT only. */
static void watch_sees_short_connections(void **state)
{
	(void)state;
	struct child c = child_start();
	struct watch *w = watch_begin();
	tell(&c, 'o');
	assert_true(watch_moving(w, &c.port, 1));
	watch_end(w);
	w = watch_begin(); /* old ones are no news */
	assert_false(watch_moving(w, &c.port, 1));
	watch_end(w);
	child_end(&c);
}

/* Neither our end nor the broker's, which is another process */
static void watch_leaves_out_its_own(void **state)
{
	(void)state;
	struct child c = child_start();
	int client = dial(c.port);
	struct watch *w = watch_begin();
	assert_int_equal(write(client, "x", 1), 1);
	assert_false(watch_moving(w, &c.port, 1));
	watch_end(w);
	close(client);
	child_end(&c);
}

static void watch_without_sock_diag(void **state)
{
	(void)state;
	says(NULL, 80, "nothing captured on port 80 yet, and sock_diag");
	watch_end(NULL);
}

static unsigned unix_use_of(const char *path)
{
	struct snapshot_unix u;
	assert_int_equal(snapshot_unix(&u), 0);
	for (size_t i = 0; i < SNAPSHOT_UNIX_TOP; i++)
		if (u.top[i].n && strcmp(u.top[i].path, path) == 0)
			return u.top[i].n;
	return 0;
}

/* UNIX_CONNECTIONS to an abstract name; how many doctor counts for it */
enum { UNIX_CONNECTIONS = 200 };
static unsigned unix_counted(int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd[2 * UNIX_CONNECTIONS], l = socket(AF_UNIX, type, 0);
	char shown[64];
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "doctor\x1b%d", getpid());
	socklen_t len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.sun_path + 1));
	snprintf(shown, sizeof(shown), "@doctor\\x1b%d", getpid());
	assert_int_equal(bind(l, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(l, 8), 0);
	assert_int_equal(unix_use_of(shown), 0);
	for (int i = 0; i < UNIX_CONNECTIONS; i++) {
		fd[2 * i] = socket(AF_UNIX, type, 0);
		assert_int_equal(connect(fd[2 * i], (struct sockaddr *)&a, len), 0);
		fd[2 * i + 1] = accept(l, NULL, NULL);
	}
	unsigned counted = unix_use_of(shown);
	for (int i = 0; i < 2 * UNIX_CONNECTIONS; i++)
		close(fd[i]);
	close(l);
	return counted;
}

static void unix_sockets_are_counted(void **state)
{
	(void)state;
	assert_int_equal(unix_counted(SOCK_STREAM), UNIX_CONNECTIONS);
	assert_int_equal(unix_counted(SOCK_SEQPACKET), 0);
}

static void doctor_sees_traffic(void **state)
{
	(void)state;
	struct child c = child_start();
	struct doctor_traffic *t = calloc(1, sizeof(*t));
	const struct doctor_port *found = NULL;
	char want[64];
	tell(&c, 'c');
	tell(&c, 'm');
	doctor_look_traffic(t);
	assert_true(t->known);
	for (size_t i = 0; i < t->n_ports; i++)
		if (t->ports[i].port == c.port)
			found = &t->ports[i];
	assert_non_null(found);
	snprintf(want, sizeof(want), "doctor_test %d", c.pid);
	assert_string_equal(found->process, want);
	assert_int_equal(found->connections, 1);
	assert_in_range(found->bytes, 10000, 10001);
	free(t);
	child_end(&c);
}

static void doctor_sees_this_machine(void **state)
{
	(void)state;
	struct doctor_host h;
	struct doctor_pod p;
	doctor_look_host(&h);
	assert_int_equal(h.uid, geteuid());
	assert_true(h.major >= 3 && *h.machine);
	doctor_look_pod(&p, h.cgroup2);
	assert_true(p.processes >= 1 && p.same_network >= 1 && *p.first_process);
}

int main(void)
{
	/* the child's name in what is tested; comm is 15 characters */
	prctl(PR_SET_NAME, "doctor_test");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_status),
		cmocka_unit_test(v6_finds_cgroup2),
		cmocka_unit_test(nothing_to_change),
		cmocka_unit_test(v1_v2_v3_capabilities),
		cmocka_unit_test(v4_v6_v7_kernel),
		cmocka_unit_test(v5_btf_is_not_needed),
		cmocka_unit_test(advice_for_pods_and_sockmaps),
		cmocka_unit_test(the_screen),
		cmocka_unit_test(the_json),
		cmocka_unit_test(watch_sees_bytes_move),
		cmocka_unit_test(watch_sees_short_connections),
		cmocka_unit_test(watch_leaves_out_its_own),
		cmocka_unit_test(watch_without_sock_diag),
		cmocka_unit_test(unix_sockets_are_counted),
		cmocka_unit_test(doctor_sees_traffic),
		cmocka_unit_test(doctor_sees_this_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
