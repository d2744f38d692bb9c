/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http1_head.h"

#include <errno.h>

static _Thread_local struct header scratch[HTTP1_FIELDS_MAX];

enum { CLASS_TOKEN = 1, CLASS_TARGET = 2, CLASS_TEXT = 4, CLASS_METHOD = 8 };

/* clang-format off */
#define T CLASS_TOKEN | CLASS_TARGET | CLASS_TEXT
#define V CLASS_TARGET | CLASS_TEXT
static const uint8_t class_of[256] = {
	['\t'] = CLASS_TEXT, [' '] = CLASS_TEXT,
	['!'] = T, ['"'] = V, ['#'] = T, ['$'] = T, ['%'] = T, ['&'] = T, ['\''] = T, ['('] = V,
	[')'] = V, ['*'] = T, ['+'] = T, [','] = V, ['-'] = T | CLASS_METHOD, ['.'] = T, ['/'] = V,
	['0' ... '9'] = T, [':'] = V, [';'] = V, ['<'] = V, ['='] = V, ['>'] = V, ['?'] = V, ['@'] = V,
	['A' ... 'Z'] = T | CLASS_METHOD,
	['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = T | CLASS_METHOD, ['`'] = T,
	['a' ... 'z'] = T, ['{'] = V, ['|'] = T, ['}'] = V, ['~'] = T,
	[0x80 ... 0xff] = V,
};
#undef T
#undef V
/* clang-format on */

/* Number of leading bytes of b in the class */
static size_t span(struct bytes b, uint8_t class)
{
	size_t i = 0;

	while (i < b.n && (class_of[b.p[i]] & class))
		i++;
	return i;
}

bool http1_is_token(struct bytes b)
{
	return b.n > 0 && span(b, CLASS_TOKEN) == b.n;
}

bool http1_method_known(struct bytes method)
{
	static const char known[] =
		" GET POST PUT DELETE HEAD OPTIONS PATCH CONNECT TRACE QUERY PURGE ACL "
		"BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY "
		"MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND "
		"REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF "
		"VERSION-CONTROL NOTIFY SUBSCRIBE UNSUBSCRIBE M-SEARCH ";
	const char *at = method.n ? memmem(known, sizeof(known) - 1, method.p, method.n) : NULL;

	for (; at;
	     at = memmem(at + 1, (size_t)(known + sizeof(known) - 2 - at), method.p, method.n))
		if (at[-1] == ' ' && at[method.n] == ' ')
			return true;
	return false;
}

/* Eight bytes at a time: any below 0x20, or 0x7f? Then (HTAB) byte by byte. */
bool http1_is_text(struct bytes b)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	size_t i = 0;

	for (; i + 8 <= b.n; i += 8) {
		uint64_t w, low, del;
		memcpy(&w, b.p + i, 8);
		low = (w - ones * 0x20) & ~w & tops;
		del = w ^ (ones * 0x7f);
		del = (del - ones) & ~del & tops;
		if ((low | del) && span(bytes_of(b.p + i, 8), CLASS_TEXT) != 8)
			return false;
	}
	return span(bytes_from(b, i), CLASS_TEXT) == b.n - i;
}

static struct bytes trim(struct bytes b)
{
	while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
		b = bytes_from(b, 1);
	while (b.n && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
		b.n--;
	return b;
}

/* What precedes the first `c`, and *b without both; all of it when there is none. */
static struct bytes cut(struct bytes *b, char c)
{
	const uint8_t *at = b->n ? memchr(b->p, c, b->n) : NULL;
	struct bytes head = *b;

	if (!at) {
		*b = bytes_from(*b, b->n);
		return head;
	}
	head.n = (size_t)(at - b->p);
	*b = bytes_from(*b, head.n + 1);
	return head;
}

static bool version_parse(struct bytes b, uint8_t *minor)
{
	if (b.n != 8 || memcmp(b.p, "HTTP/1.", 7) != 0 || (b.p[7] != '0' && b.p[7] != '1'))
		return false;
	*minor = (uint8_t)(b.p[7] - '0');
	return true;
}

/* Offset of what follows "scheme://"; 0: not absolute-form (RFC 3986 section 3.1) */
static size_t scheme_end(struct bytes target)
{
	size_t i = 0;

	while (i < target.n && (class_of[target.p[i]] & CLASS_TOKEN) && target.p[i] != '_')
		i++;
	bool alpha = i && ((target.p[0] | 0x20) >= 'a' && (target.p[0] | 0x20) <= 'z');
	return alpha && bytes_starts(bytes_from(target, i), BYTES("://")) ? i + 3 : 0;
}

/* host ":" port (RFC 9110 9.3.6) */
static bool authority_with_port(struct bytes target)
{
	size_t digits = 0;

	while (digits < target.n && target.p[target.n - 1 - digits] >= '0' &&
	       target.p[target.n - 1 - digits] <= '9')
		digits++;
	size_t host = target.n - digits;
	return digits > 0 && digits <= 5 && host > 1 && target.p[host - 1] == ':' &&
	       !memchr(target.p, '/', target.n) && !memchr(target.p, '@', target.n);
}

/* RFC 9112 section 3.2 */
static bool target_right(struct bytes method, struct bytes target)
{
	if (bytes_eq(method, BYTES("CONNECT")))
		return authority_with_port(target);
	if (target.p[0] == '/')
		return true;
	if (bytes_eq(target, BYTES("*")))
		return bytes_eq(method, BYTES("OPTIONS"));
	size_t authority = scheme_end(target);
	return authority && authority < target.n && target.p[authority] != '/';
}

/* method SP request-target SP HTTP-version */
static bool request_line(struct http1_head *h, struct bytes line)
{
	size_t method = span(line, CLASS_TOKEN);
	struct bytes rest = bytes_from(line, method + 1);
	size_t target = span(rest, CLASS_TARGET);

	if (method == 0 || method == line.n || line.p[method] != ' ')
		return false;
	if (target == 0 || target == rest.n || rest.p[target] != ' ')
		return false;
	h->method = bytes_head(line, method);
	h->target = bytes_head(rest, target);
	return version_parse(bytes_from(rest, target + 1), &h->minor) &&
	       target_right(h->method, h->target);
}

/* HTTP-version SP status-code SP [ reason-phrase ] */
static bool status_line(struct http1_head *h, struct bytes line)
{
	if (line.n < 12 || !version_parse(bytes_head(line, 8), &h->minor) || line.p[8] != ' ')
		return false;
	for (size_t i = 9; i < 12; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return false;
		h->status = (uint16_t)(h->status * 10 + line.p[i] - '0');
	}
	if (line.n > 12 && line.p[12] != ' ')
		return false;
	h->reason = bytes_from(line, 13);
	return h->status >= 100 && http1_is_text(h->reason);
}

static bool length_parse(struct bytes v, uint64_t *length)
{
	*length = 0;
	if (v.n == 0 || v.n > 19 || (v.n > 1 && v.p[0] == '0'))
		return false;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return false;
		*length = *length * 10 + (uint64_t)(v.p[i] - '0');
	}
	return *length <= INT64_MAX;
}

static bool coding_known(struct bytes c)
{
	return bytes_caseeq(c, BYTES("gzip")) || bytes_caseeq(c, BYTES("x-gzip")) ||
	       bytes_caseeq(c, BYTES("deflate")) || bytes_caseeq(c, BYTES("compress")) ||
	       bytes_caseeq(c, BYTES("x-compress"));
}

/* One Transfer-Encoding field; several count as one list. */
static void coding_add(struct http1_head *h, struct bytes v)
{
	bool more;

	h->coding_seen = true;
	do {
		more = v.n && memchr(v.p, ',', v.n);
		struct bytes c = trim(cut(&v, ','));
		if (h->chunked)
			h->coding_bad = true;
		if (bytes_caseeq(c, BYTES("chunked")))
			h->chunked = true;
		else if (coding_known(c))
			h->compressed = true;
		else
			h->coding_bad = true;
	} while (more);
}

static void upgrade_add(struct http1_head *h, struct bytes v)
{
	h->upgrade = true;
	while (v.n)
		h->upgrade_h2c |= bytes_caseeq(trim(cut(&v, ',')), BYTES("h2c"));
}

static bool is_framing(struct bytes name)
{
	return bytes_caseeq(name, BYTES("content-length")) ||
	       bytes_caseeq(name, BYTES("transfer-encoding"));
}

/* What the fields that matter here say. The switch on lengths keeps the others cheap. */
static void field_note(struct http1_head *h, struct bytes name, struct bytes value)
{
	switch (name.n) {
	case 4:
		if (!h->host_seen && bytes_caseeq(name, BYTES("host"))) {
			h->host_seen = true;
			h->host = value;
		}
		break;
	case 7:
		if (bytes_caseeq(name, BYTES("upgrade")))
			upgrade_add(h, value);
		break;
	case 14:
		if (bytes_caseeq(name, BYTES("content-length"))) {
			h->length_bad |= h->length_seen || !length_parse(value, &h->length);
			h->length_seen = true;
		}
		break;
	case 17:
		if (bytes_caseeq(name, BYTES("transfer-encoding")))
			coding_add(h, value);
		break;
	}
}

/* field-name ":" OWS field-value OWS. 0, or the flag of what is wrong. */
static unsigned field_line(struct http1_head *h, struct bytes line)
{
	if (line.p[0] == ' ' || line.p[0] == '\t') /* obs-fold */
		return !h->resumed && h->n_fields && is_framing(scratch[h->n_fields - 1].name)
			       ? FLAG_SMUGGLING_SUSPECT
			       : FLAG_PROTOCOL_ERROR;
	size_t n = span(line, CLASS_TOKEN);
	struct bytes name = bytes_head(line, n);
	if (n == 0 || n == line.n || line.p[n] != ':')
		return is_framing(name) ? FLAG_SMUGGLING_SUSPECT : FLAG_PROTOCOL_ERROR;
	struct bytes value = trim(bytes_from(line, n + 1));
	if (!http1_is_text(value))
		return is_framing(name) ? FLAG_SMUGGLING_SUSPECT : FLAG_PROTOCOL_ERROR;
	scratch[h->n_fields++] = (struct header) {name, value, PROVENANCE_LITERAL};
	field_note(h, name, value);
	return 0;
}

/* RFC 9112 section 6.3. false: two readings are possible. */
static bool framing_decide(struct http1_head *h, enum http1_kind kind)
{
	if (h->length_bad || h->coding_bad)
		return false;
	if (h->coding_seen) {
		h->framing = h->chunked ? HTTP1_CHUNKED : HTTP1_CLOSE;
		return !h->length_seen && h->minor > 0 && (h->chunked || kind == HTTP1_RESPONSE);
	}
	if (h->length_seen)
		h->framing = h->length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	else
		h->framing = kind == HTTP1_RESPONSE ? HTTP1_CLOSE : HTTP1_NO_BODY;
	return true;
}

static int64_t bad(struct http1_head *h, unsigned flags)
{
	h->flags = flags;
	return -EPROTO;
}

/* One line without its LF. 1: it was the empty one; 0; -EPROTO. */
static int64_t line_take(struct http1_head *h, enum http1_kind kind, struct bytes line, bool first,
			 size_t count_max)
{
	if (line.n == 0 || line.p[line.n - 1] != '\r')
		return bad(h, FLAG_PROTOCOL_ERROR);
	line.n--;
	if (first && kind != HTTP1_TRAILER) {
		h->started = kind == HTTP1_REQUEST ? request_line(h, line) : status_line(h, line);
		return h->started ? 0 : bad(h, FLAG_PROTOCOL_ERROR);
	}
	if (line.n == 0)
		return 1;
	if (h->n_fields >= count_max)
		return bad(h, FLAG_PROTOCOL_ERROR | FLAG_TRUNCATED);
	unsigned flags = field_line(h, line);
	return flags ? bad(h, flags) : 0;
}

static int64_t walk(struct http1_head *h, enum http1_kind kind, struct bytes in,
		    const struct framer_limits *limits, struct http1_scan *scan)
{
	size_t count_max =
		limits->header_count < HTTP1_FIELDS_MAX ? limits->header_count : HTTP1_FIELDS_MAX;
	struct bytes b = bytes_head(in, limits->header_bytes);
	int64_t r = 0;

	memset(h, 0, sizeof(*h));
	h->fields = scratch;
	h->n_fields = scan->fields;
	h->resumed = scan->line != 0;
	while (r == 0) {
		size_t from = scan->seen > scan->line ? scan->seen : scan->line;
		const uint8_t *lf = from < b.n ? memchr(b.p + from, '\n', b.n - from) : NULL;
		if (!lf) {
			scan->seen = (uint32_t)b.n;
			return in.n < limits->header_bytes
				       ? 0
				       : bad(h, FLAG_PROTOCOL_ERROR | FLAG_TRUNCATED);
		}
		struct bytes line = bytes_of(b.p + scan->line, (size_t)(lf - b.p) - scan->line);
		r = line_take(h, kind, line, scan->line == 0, count_max);
		scan->line = (uint32_t)(lf - b.p) + 1;
		scan->fields = (uint32_t)h->n_fields;
	}
	if (r < 0)
		return r;
	if (kind != HTTP1_TRAILER && !framing_decide(h, kind))
		return bad(h, FLAG_SMUGGLING_SUSPECT);
	return scan->line;
}

/*
 * A head that comes in bits is checked once as its lines come, and once more as a whole when it ended: twice
 * the work at most, however it is cut.
 */
int64_t http1_head_parse(struct http1_head *h, enum http1_kind kind, struct bytes in,
			 const struct framer_limits *limits, struct http1_scan *scan)
{
	int64_t r = walk(h, kind, in, limits, scan);

	if (r == 0)
		return 0;
	if (h->resumed) { /* the scratch held other heads in between */
		*scan = (struct http1_scan) {0};
		r = walk(h, kind, in, limits, scan);
	}
	*scan = (struct http1_scan) {0};
	return r;
}

struct bytes http1_head_service(const struct http1_head *h)
{
	if (bytes_eq(h->method, BYTES("CONNECT")))
		return h->target;
	size_t at = scheme_end(h->target);
	if (at == 0)
		return h->host;
	struct cursor c = cursor_of(bytes_from(h->target, at));
	struct bytes authority = {c.p, 0};
	for (uint8_t b = cursor_u8(&c); !c.bad && b != '/' && b != '?' && b != '#';
	     b = cursor_u8(&c))
		authority = b == '@' ? bytes_of(c.p, 0) : bytes_of(authority.p, authority.n + 1);
	return authority;
}

static enum probe_answer prefix(struct bytes in, struct bytes want)
{
	if (!bytes_starts(in, bytes_head(want, in.n)))
		return PROBE_NO;
	return in.n < want.n ? PROBE_MORE : PROBE_YES;
}

enum { PROBE_METHOD_MAX = 20, PROBE_LINE_MAX = 4096 };

/* What a request line without its end looks like; a long target need not end within the head probed. */
static enum probe_answer request_line_begun(struct bytes in)
{
	size_t method = span(bytes_head(in, PROBE_METHOD_MAX + 1), CLASS_METHOD);

	if (method > PROBE_METHOD_MAX)
		return PROBE_NO;
	if (method == in.n)
		return PROBE_MORE;
	if (method == 0 || in.p[method] != ' ')
		return PROBE_NO;
	struct bytes rest = bytes_from(in, method + 1);
	size_t target = span(rest, CLASS_TARGET);
	if (target == rest.n)
		return in.n < PROBE_LINE_MAX ? PROBE_MORE : PROBE_YES;
	if (target == 0 || rest.p[target] != ' ')
		return PROBE_NO;
	rest = bytes_from(rest, target + 1);
	enum probe_answer old = prefix(rest, BYTES("HTTP/1.0\r\n"));
	enum probe_answer now = prefix(rest, BYTES("HTTP/1.1\r\n"));
	return old == PROBE_NO && now == PROBE_NO ? PROBE_NO : PROBE_MORE;
}

enum probe_answer http1_head_probe_request(struct bytes in)
{
	struct http1_head h = {0};

	in = bytes_head(in, PROBE_LINE_MAX);
	while (bytes_starts(in, BYTES("\r\n")))
		in = bytes_from(in, 2);
	if (in.n == 0 || bytes_eq(in, BYTES("\r")))
		return PROBE_MORE;
	const uint8_t *lf = memchr(in.p, '\n', in.n);
	if (!lf)
		return request_line_begun(in);
	size_t n = (size_t)(lf - in.p);
	if (n == 0 || in.p[n - 1] != '\r' || !request_line(&h, bytes_head(in, n - 1)))
		return PROBE_NO;
	return h.method.n <= PROBE_METHOD_MAX && span(h.method, CLASS_METHOD) == h.method.n
		       ? PROBE_YES
		       : PROBE_NO;
}

enum probe_answer http1_head_probe_response(struct bytes in)
{
	struct http1_head h = {0};
	enum probe_answer old = prefix(in, BYTES("HTTP/1.0 "));
	enum probe_answer now = prefix(in, BYTES("HTTP/1.1 "));

	if (old != PROBE_YES && now != PROBE_YES)
		return old == PROBE_NO ? now : PROBE_MORE;
	if (in.n < 13)
		return PROBE_MORE;
	if (in.p[12] != ' ' && in.p[12] != '\r')
		return PROBE_NO;
	return status_line(&h, bytes_head(in, 12)) ? PROBE_YES : PROBE_NO;
}
