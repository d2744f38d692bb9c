/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest transfers over loopback, and the judge of what was captured of it. Bodies are
 * generated from the path, so that sender, receiver and judge need no common file.
 *
 *   transfer serve PORT		HTTP/1.1 server; returns once it listens
 *   transfer get PORT			every transfer once on one connection, compared byte for byte
 *   transfer judge ATTACH FILE	`sidetap export -f jsonl --bodies base64` against what was sent;
 *				ATTACH: the back end that each record must name
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct transfer {
	const char *path;
	size_t request, response; /* body bytes */
	size_t write; /* the sender's write size */
};

static const struct transfer transfers[] = {
	{"/small", 0, 1024, 16384},
	{"/large", 0, 5 << 20, 16384},
	{"/bulk", 0, 5 << 20, 262144},
	{"/upload", 1 << 20, 1024, 65536},
};
enum { N_TRANSFERS = sizeof(transfers) / sizeof(transfers[0]), HEAD_MAX = 4096 };

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "transfer: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* n bytes that only (path, side) decides, of all values; xorshift64*. */
static uint8_t *body_new(const char *path, bool response, size_t n)
{
	uint64_t x = response ? 0x9e3779b97f4a7c15 : 0xd1b54a32d192ed03;
	for (; *path; path++)
		x = (x ^ (uint8_t)*path) * 0x100000001b3;
	uint8_t *p = malloc(n + 8);
	if (!p)
		die("memory");
	for (size_t i = 0; i < n; i += 8) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		uint64_t v = x * 0x2545f4914f6cdd1d;
		memcpy(p + i, &v, 8);
	}
	return p;
}

static void send_all(int fd, const void *p, size_t n, size_t write_size)
{
	const uint8_t *at = p;
	while (n) {
		ssize_t r = send(fd, at, n < write_size ? n : write_size, MSG_NOSIGNAL);
		if (r <= 0)
			die("send");
		at += r;
		n -= (size_t)r;
	}
}

static void recv_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);
		if (r <= 0)
			die("recv");
		p += r;
		n -= (size_t)r;
	}
}

/* One head, byte by byte; false: the peer closed before it. */
static bool recv_head(int fd, char *head)
{
	for (size_t n = 0; n < HEAD_MAX - 1;) {
		ssize_t r = recv(fd, head + n, 1, 0);
		if (r <= 0)
			return false;
		head[++n] = 0;
		if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
			return true;
	}
	return false;
}

/* First byte that differs; n: none. */
static size_t differs_at(const uint8_t *a, const uint8_t *b, size_t n)
{
	if (memcmp(a, b, n) == 0)
		return n;
	size_t i = 0;
	while (a[i] == b[i])
		i++;
	return i;
}

static void recv_body(int fd, const struct transfer *t, bool response)
{
	size_t n = response ? t->response : t->request;
	uint8_t *want = body_new(t->path, response, n), *got = malloc(n + 1);
	if (!got)
		die("memory");
	recv_all(fd, got, n);
	if (differs_at(got, want, n) != n) {
		fprintf(stderr, "transfer: %s: loopback itself changed the body\n", t->path);
		exit(1);
	}
	free(want);
	free(got);
}

static void send_message(int fd, const struct transfer *t, bool response)
{
	size_t n = response ? t->response : t->request;
	char head[HEAD_MAX];
	int len = response ? snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n")
			   : snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: guest\r\n",
				      n ? "POST" : "GET", t->path);
	len += snprintf(head + len, sizeof(head) - (size_t)len, "Content-Length: %zu\r\n\r\n", n);
	uint8_t *body = body_new(t->path, response, n);
	send_all(fd, head, (size_t)len, (size_t)len);
	send_all(fd, body, n, t->write);
	free(body);
}

static const struct transfer *transfer_find(const char *path, size_t n)
{
	for (size_t i = 0; i < N_TRANSFERS; i++)
		if (strlen(transfers[i].path) == n && memcmp(transfers[i].path, path, n) == 0)
			return &transfers[i];
	return NULL;
}

static void serve_connection(int fd)
{
	char head[HEAD_MAX];
	while (recv_head(fd, head)) {
		const char *path = strchr(head, ' ');
		const struct transfer *t =
			path ? transfer_find(path + 1, strcspn(path + 1, " ")) : NULL;
		if (!t)
			break;
		recv_body(fd, t, false);
		send_message(fd, t, true);
	}
	close(fd);
}

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in) {.sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port)),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int serve(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		die("listen");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return 0;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int c = accept(fd, NULL, NULL);
		if (c >= 0 && fork() == 0) {
			close(fd);
			serve_connection(c);
			exit(0);
		}
		if (c >= 0)
			close(c);
	}
}

static int get(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	char head[HEAD_MAX];
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (size_t i = 0; i < N_TRANSFERS; i++) {
		send_message(fd, &transfers[i], false);
		if (!recv_head(fd, head))
			die("no response");
		recv_body(fd, &transfers[i], true);
	}
	close(fd);
	return 0;
}

/* ---- judge ---- */

/* Value + 1 of each digit; 0: no digit */
static uint8_t b64_digits[256];

static void b64_init(void)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (uint8_t i = 0; digits[i]; i++)
		b64_digits[(uint8_t)digits[i]] = i + 1;
}

/* RFC 4648 section 4; number of bytes, at most strlen(s) */
static size_t b64_decode(const char *s, uint8_t *out)
{
	uint32_t acc = 0;
	size_t n = 0;
	int bits = 0;
	uint8_t v;
	for (; (v = b64_digits[(uint8_t)*s]) != 0; s++) {
		acc = acc << 6 | (uint32_t)(v - 1);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	return n;
}

static bool judge_body(const struct transfer *t, json_t *call, bool response)
{
	const char *side = response ? "response" : "request";
	size_t want_n = response ? t->response : t->request;
	json_t *message = json_object_get(call, side);
	const char *text = json_string_value(json_object_get(message, "body_base64"));
	uint8_t *want = body_new(t->path, response, want_n),
		*got = malloc(strlen(text ? text : "") + 1);
	if (!got)
		die("memory");
	size_t got_n = b64_decode(text ? text : "", got);
	size_t at = differs_at(got, want, got_n < want_n ? got_n : want_n);
	bool same = got_n == want_n && at == want_n;
	if (!same)
		printf("%s: %s body of %zu bytes recorded as %zu, first difference at %zu\n",
		       t->path, side, want_n, got_n, at);
	free(want);
	free(got);
	return same;
}

static bool judge_text(const struct transfer *t, json_t *object, const char *key, const char *want)
{
	const char *got = json_string_value(json_object_get(object, key));
	if (got && strcmp(got, want) == 0)
		return true;
	printf("%s: %s is %s, not %s\n", t->path, key, got ? got : "missing", want);
	return false;
}

static bool judge_call(const struct transfer *t, json_t *call, const char *attach)
{
	bool ok = judge_text(t, call, "protocol", "http1");
	ok &= judge_text(t, call, "outcome", "OK");
	ok &= judge_text(t, json_object_get(call, "capture"), "attach", attach);
	if (json_integer_value(json_object_get(call, "status_code")) != 200) {
		printf("%s: status_code is not 200\n", t->path);
		ok = false;
	}
	size_t i;
	json_t *flag;
	json_array_foreach(json_object_get(call, "flags"), i, flag)
	{
		printf("%s: flag %s\n", t->path, json_string_value(flag));
		ok = false;
	}
	ok &= judge_body(t, call, false);
	ok &= judge_body(t, call, true);
	return ok;
}

static int judge(const char *attach, const char *file)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t size = 0;
	unsigned seen[N_TRANSFERS] = {0};
	bool ok = true;
	if (!f)
		die(file);
	b64_init();
	while (getline(&line, &size, f) > 0) {
		json_t *call = json_loads(line, 0, NULL);
		const char *path = json_string_value(json_object_get(call, "path"));
		const struct transfer *t = path ? transfer_find(path, strlen(path)) : NULL;
		if (!t)
			printf("a record that nobody sent: %.200s\n", line);
		else
			seen[t - transfers]++;
		ok &= t && judge_call(t, call, attach);
		json_decref(call);
	}
	for (size_t i = 0; i < N_TRANSFERS; i++)
		if (seen[i] != 1) {
			printf("%s: sent once, recorded %u times\n", transfers[i].path, seen[i]);
			ok = false;
		}
	free(line);
	fclose(f);
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 3 && strcmp(argv[1], "get") == 0)
		return get(argv[2]);
	if (argc == 4 && strcmp(argv[1], "judge") == 0)
		return judge(argv[2], argv[3]);
	fputs("usage: transfer serve PORT | get PORT | judge ATTACH FILE\n", stderr);
	return 2;
}
