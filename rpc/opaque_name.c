/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/opaque_name.h"

enum answer { NO, MORE, YES };

enum { FRAME_MAX = 100 << 20 }; /* no sane peer claims more in its first frame */

/* ---- what several need ---- */

static uint32_t be32(struct bytes b, size_t at)
{
	struct cursor c = cursor_of(bytes_from(b, at));
	return cursor_be32(&c);
}

static uint16_t be16(struct bytes b, size_t at)
{
	struct cursor c = cursor_of(bytes_from(b, at));
	return cursor_be16(&c);
}

static uint32_t le32(struct bytes b, size_t at)
{
	return __builtin_bswap32(be32(b, at));
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Letters, digits and `also`, beginning with a letter, as far as it is there */
static bool is_word(struct bytes b, const char *also)
{
	if (b.n && (!is_alnum(b.p[0]) || is_digit(b.p[0])))
		return false;
	for (size_t i = 0; i < b.n; i++)
		if (!is_alnum(b.p[i]) && (!b.p[i] || !strchr(also, b.p[i])))
			return false;
	return true;
}

/* n bytes at `at`, or those of them that are there; a name so long that the head cuts it was seen well enough. */
static enum answer word_at(struct bytes b, size_t at, size_t n, const char *also)
{
	struct bytes word = bytes_head(bytes_from(b, at), n);
	if (!n || !is_word(word, also))
		return NO;
	return word.n == n || b.n >= OPAQUE_NAME_HEAD ? YES : MORE;
}

static bool all_zero(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i])
			return false;
	return true;
}

/* ---- RESP2 and RESP3 ---- */

/* A mark, a number, CR LF */
static enum answer resp_number(struct cursor *c, char mark, uint32_t max, uint32_t *n)
{
	unsigned digits = 0;
	*n = 0;
	if (!cursor_left(c))
		return MORE;
	if (cursor_u8(c) != (uint8_t)mark)
		return NO;
	while (cursor_left(c) && is_digit(*c->p) && ++digits < 9)
		*n = *n * 10 + (cursor_u8(c) - (uint32_t)'0');
	if (!cursor_left(c))
		return MORE;
	if (!digits || !*n || *n > max || cursor_u8(c) != '\r')
		return NO;
	if (!cursor_left(c))
		return MORE;
	return cursor_u8(c) == '\n' ? YES : NO;
}

/* An array of bulk strings, the first of them a command's name: *2\r\n$3\r\nGET\r\n */
static enum answer resp_request(struct bytes b)
{
	struct cursor c = cursor_of(b);
	uint32_t n, size;
	enum answer a = resp_number(&c, '*', 1 << 20, &n);
	if (a == YES)
		a = resp_number(&c, '$', 32, &size);
	if (a != YES)
		return a;
	struct bytes rest = bytes_of(c.p, cursor_left(&c)), name = bytes_head(rest, size);
	if (!is_word(name, "._-|"))
		return NO;
	rest = bytes_head(bytes_from(rest, size), 2);
	if (!bytes_eq(rest, bytes_head(BYTES("\r\n"), rest.n)))
		return NO;
	return rest.n == 2 ? YES : MORE;
}

/* The characters that the first line of a reply may have behind its mark */
static bool resp_char(uint8_t mark, size_t i, uint8_t c)
{
	switch (mark) {
	case '+':
	case '-': return c >= ' ' && c != 0x7f && (i || is_alnum(c));
	case '_': return false;
	case '#': return i == 0 && (c == 't' || c == 'f');
	case ',': return c && strchr("+-0123456789.eEinfa", c);
	default: return is_digit(c) || (i == 0 && (c == '-' || c == '+'));
	}
}

static enum answer resp_reply(struct bytes b)
{
	if (!b.n)
		return MORE;
	if (!b.p[0] || !strchr("+-:$*_,#!=(%~>|", b.p[0]))
		return NO;
	for (size_t i = 1; i < b.n; i++) {
		if (resp_char(b.p[0], i - 1, b.p[i]))
			continue;
		if (b.p[i] != '\r' || (i == 1 && b.p[0] != '_'))
			return NO;
		if (i + 1 == b.n)
			return MORE;
		return b.p[i + 1] == '\n' ? YES : NO;
	}
	return b.n < OPAQUE_NAME_HEAD ? MORE : b.p[0] == '+' || b.p[0] == '-' ? YES : NO;
}

/* ---- MySQL: HandshakeV10, then HandshakeResponse41 or SSLRequest ---- */

/* The server's, which speaks first: sequence 0, version 10, "8.0.36" NUL, thread, salt, 0, capabilities ... zeroes */
static enum answer mysql_greeting(struct bytes b)
{
	if ((b.n > 1 && b.p[1] > 1) || !all_zero(bytes_head(bytes_from(b, 2), 2)) ||
	    (b.n > 4 && b.p[4] != 0x0a) || (b.n > 5 && !is_digit(b.p[5])))
		return NO;
	if (b.n < 6)
		return MORE;
	size_t end = 5;
	while (end < b.n && b.p[end] > ' ' && b.p[end] < 0x7f)
		end++;
	if (end == b.n)
		return MORE;
	size_t size = 4u + b.p[0] + ((size_t)b.p[1] << 8), rest = end + 1;
	if (b.p[end] || size < rest + 31)
		return NO;
	if (b.n < rest + 28)
		return MORE;
	const uint8_t *p = b.p + rest;
	bool protocol_41 = p[14] & 2;
	return p[12] == 0 && protocol_41 && all_zero(bytes_of(p + 21, 6)) ? YES : NO;
}

/* The client's: sequence 1, capabilities with PROTOCOL_41, largest packet, character set, zeroes */
static enum answer mysql_login(struct bytes b)
{
	struct bytes head = bytes_head(b, 32); /* MariaDB has more capabilities behind */
	if ((b.n > 2 && b.p[2]) || (b.n > 3 && b.p[3] != 1) || (b.n > 5 && !(b.p[5] & 2)) ||
	    !all_zero(bytes_from(head, 13)))
		return NO;
	if (b.n < 36)
		return MORE;
	size_t size = b.p[0] + ((size_t)b.p[1] << 8);
	return size >= 32 && le32(b, 8) <= 1u << 30 ? YES : NO;
}

/* ---- Kafka ---- */

/* A frame's length, as far as it is there */
static bool size_fits(struct bytes b)
{
	return !b.n || b.p[0] <= FRAME_MAX >> 24;
}

/* size, api key, api version, correlation, client id (null or a word) */
static enum answer kafka_request(struct bytes b)
{
	enum { KEY_MAX = 92, VERSION_MAX = 20, CLIENT_ID_MAX = 255 };
	if (!size_fits(b) || (b.n > 4 && b.p[4]) || (b.n > 5 && b.p[5] > KEY_MAX) ||
	    (b.n > 6 && b.p[6]) || (b.n > 7 && b.p[7] > VERSION_MAX) || (b.n > 8 && b.p[8] >> 7))
		return NO;
	if (b.n < 14)
		return MORE;
	uint32_t size = be32(b, 0);
	uint16_t client = be16(b, 12);
	if (client == UINT16_MAX)
		return size >= 11 && be32(b, 8) ? YES : NO;
	if (client > CLIENT_ID_MAX || size < 10u + client)
		return NO;
	return word_at(b, 14, client, "._-@/:+#= ");
}

/* size, correlation, something */
static enum answer kafka_reply(struct bytes b)
{
	if (!size_fits(b))
		return NO;
	return b.n < 8 ? MORE : be32(b, 0) >= 6 ? YES : NO;
}

static bool kafka_agree(struct bytes request, struct bytes reply)
{
	return be32(request, 8) == be32(reply, 4);
}

/* ---- Tars: a length, then tagged fields ---- */

enum { TARS_INT1, TARS_INT2, TARS_INT4, TARS_STRING1 = 6, TARS_ZERO = 12 };

/* An integer field; MORE when it is cut. */
static enum answer tars_int(struct cursor *c, unsigned tag, uint32_t *value)
{
	if (!cursor_left(c))
		return MORE;
	uint8_t head = cursor_u8(c), type = head & 15;
	if (head >> 4 != tag || (type > TARS_INT4 && type != TARS_ZERO))
		return NO;
	*value = type == TARS_ZERO   ? 0
		 : type == TARS_INT1 ? (uint32_t)(int8_t)cursor_u8(c)
		 : type == TARS_INT2 ? (uint32_t)(int16_t)cursor_be16(c)
				     : cursor_be32(c);
	return c->bad ? MORE : YES;
}

/* The fields from tag 1 on that are integers: their values. */
static enum answer tars_head(struct cursor *c, unsigned n, uint32_t *values)
{
	uint32_t size = cursor_be32(c);
	if (c->bad)
		return MORE;
	if (size < 12 || size > FRAME_MAX)
		return NO;
	for (unsigned i = 0; i < n; i++) {
		enum answer a = tars_int(c, i + 1, &values[i]);
		if (a != YES)
			return a;
	}
	return YES;
}

/* version, packet type, message type, id, servant ("App.Server.Obj"), function */
static enum answer tars_request(struct bytes b)
{
	struct cursor c = cursor_of(b);
	uint32_t v[4];
	enum answer a = tars_head(&c, 4, v);
	if (a != YES)
		return a;
	if ((v[0] != 1 && v[0] != 3 && v[0] != 5) || v[1] > 1)
		return NO;
	if (cursor_left(&c) < 2)
		return MORE;
	size_t head = cursor_u8(&c), n = cursor_u8(&c), at = (size_t)(c.p - b.p);
	a = head == (5 << 4 | TARS_STRING1) ? word_at(b, at, n, "._-@") : NO;
	if (a != YES || at + n >= OPAQUE_NAME_HEAD)
		return a;
	if (!memchr(b.p + at, '.', n))
		return NO;
	return at + n == b.n ? MORE : b.p[at + n] == (6 << 4 | TARS_STRING1) ? YES : NO;
}

/* version, packet type, id, message type, return code */
static enum answer tars_reply(struct bytes b)
{
	struct cursor c = cursor_of(b);
	uint32_t v[5];
	return tars_head(&c, 5, v);
}

static bool tars_agree(struct bytes request, struct bytes reply)
{
	struct cursor q = cursor_of(request), r = cursor_of(reply);
	uint32_t asked[4], answered[5];
	return tars_head(&q, 4, asked) == YES && tars_head(&r, 5, answered) == YES &&
	       asked[0] == answered[0] && asked[3] == answered[2];
}

/* ---- SOFA Bolt v1 and v2 ---- */

/* Where a message of each version has its fields */
static const struct bolt {
	uint8_t type, command, version2, id, class_len[2], class_name[2]; /* of request, reply */
} bolts[] = {{1, 2, 4, 5, {14, 12}, {22, 20}}, {2, 3, 5, 6, {16, 14}, {24, 22}}};

/* A request (type 1, command 1) or a reply (type 0, command 2) that carries an object of a named class */
static enum answer bolt_side(struct bytes b, bool reply)
{
	if (!b.n)
		return MORE;
	if (b.p[0] < 1 || b.p[0] > 2)
		return NO;
	const struct bolt *f = &bolts[b.p[0] - 1];
	if ((b.n > f->type && b.p[f->type] != !reply) ||
	    (b.n > f->version2 && b.p[f->version2] != 1))
		return NO;
	if (b.n <= f->class_name[reply])
		return MORE;
	size_t n = be16(b, f->class_len[reply]);
	if (be16(b, f->command) != 1 + reply || n > 255)
		return NO;
	enum answer a = word_at(b, f->class_name[reply], n, "._$");
	struct bytes name = bytes_head(bytes_from(b, f->class_name[reply]), n);
	return a == YES && !memchr(name.p, '.', name.n) ? NO : a;
}

static enum answer bolt_request(struct bytes b)
{
	return bolt_side(b, false);
}

static enum answer bolt_reply(struct bytes b)
{
	return bolt_side(b, true);
}

static bool bolt_agree(struct bytes request, struct bytes reply)
{
	size_t id = bolts[request.p[0] - 1].id;
	return request.p[0] == reply.p[0] && be32(request, id) == be32(reply, id);
}

/* ---- MongoDB: length, request id, response to, opcode; little-endian ---- */

static enum answer mongo_side(struct bytes b, bool reply)
{
	enum { OP_REPLY = 1, OP_QUERY = 2004, OP_COMPRESSED = 2012, OP_MSG = 2013 };
	if ((b.n > 3 && b.p[3] > FRAME_MAX >> 24) ||
	    (!reply && !all_zero(bytes_head(bytes_from(b, 8), 4))) ||
	    !all_zero(bytes_head(bytes_from(b, 14), 2)))
		return NO;
	if (b.n < 16)
		return MORE;
	uint32_t code = le32(b, 12);
	return le32(b, 0) >= 21 && (code == OP_MSG || code == OP_COMPRESSED ||
				    code == (reply ? OP_REPLY : OP_QUERY))
		       ? YES
		       : NO;
}

static enum answer mongo_request(struct bytes b)
{
	return mongo_side(b, false);
}

static enum answer mongo_reply(struct bytes b)
{
	return mongo_side(b, true);
}

static bool mongo_agree(struct bytes request, struct bytes reply)
{
	return le32(request, 4) == le32(reply, 8);
}

/* ---- PostgreSQL ---- */

/* SSLRequest, GSSENCRequest: eight bytes, answered by one letter */
static bool postgres_encryption(struct bytes b)
{
	return b.n >= 8 && be32(b, 0) == 8 && be32(b, 4) - 80877103 < 2;
}

/* Or StartupMessage 3.x: length, version, names and values */
static enum answer postgres_request(struct bytes b)
{
	if (!all_zero(bytes_head(b, 2)))
		return NO;
	if (b.n < 8)
		return MORE;
	if (postgres_encryption(b))
		return YES;
	if (be32(b, 0) > 10000 || be32(b, 0) < 16 || be16(b, 4) != 3 || be16(b, 6) > 9)
		return NO;
	struct bytes rest = bytes_from(b, 8);
	const uint8_t *nul = rest.n ? memchr(rest.p, 0, rest.n) : NULL;
	struct bytes name = bytes_of(rest.p, nul ? (size_t)(nul - rest.p) : rest.n);
	if (!is_word(name, "_.") || (nul && !name.n))
		return NO;
	return nul ? YES : MORE;
}

static bool is_one_of(uint8_t c, const char *list)
{
	return c && strchr(list, c);
}

/* R (how to log in), v (another version), E (error, its severity first); S, N, G to encryption */
static enum answer postgres_reply(struct bytes b)
{
	if (b.n == 1)
		return is_one_of(b.p[0], "SNG") ? YES : is_one_of(b.p[0], "RvE") ? MORE : NO;
	if (b.n && (!is_one_of(b.p[0], "RvE") || b.p[1]))
		return NO;
	if (b.n < 9)
		return MORE;
	uint32_t size = be32(b, 1), code = be32(b, 5);
	if (size < 8 || size > 30000)
		return NO;
	return (b.p[0] == 'E' ? b.p[5] == 'S' : code <= (b.p[0] == 'R' ? 12u : 0x3ffffu)) ? YES
											  : NO;
}

static bool postgres_agree(struct bytes request, struct bytes reply)
{
	return postgres_encryption(request) == (reply.n == 1);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	enum answer (*request)(struct bytes b);
	enum answer (*reply)(struct bytes b);
	bool (*agree)(struct bytes request, struct bytes reply); /* both said YES; NULL: enough */
	bool greeting; /* the server speaks before the client */
} names[] = {
	{"redis", resp_request, resp_reply, NULL, false},
	{"mysql", mysql_login, mysql_greeting, NULL, true},
	{"kafka", kafka_request, kafka_reply, kafka_agree, false},
	{"tars", tars_request, tars_reply, tars_agree, false},
	{"bolt", bolt_request, bolt_reply, bolt_agree, false},
	{"mongodb", mongo_request, mongo_reply, mongo_agree, false},
	{"postgresql", postgres_request, postgres_reply, postgres_agree, false},
};

/* What is undecided when all that is looked at is there will not be decided. */
static enum answer side_is(enum answer (*is)(struct bytes b), struct bytes b)
{
	enum answer a = is(b);
	return a == MORE && b.n == OPAQUE_NAME_HEAD ? NO : a;
}

/* What was answered before it was whole is another protocol's. */
static enum answer name_is(size_t i, struct bytes request, struct bytes response, enum dir first,
			   bool final)
{
	enum answer q = side_is(names[i].request, request);
	enum answer r = q == NO ? NO : side_is(names[i].reply, response);
	enum answer began = first == DIR_REQUEST && !names[i].greeting ? q
			    : first == DIR_RESPONSE                    ? r
								       : YES;
	if (q == NO || r == NO || began == MORE)
		return NO;
	if (q == MORE || r == MORE)
		return final ? NO : MORE;
	return !names[i].agree || names[i].agree(request, response) ? YES : NO;
}

const char *opaque_name(struct bytes request, struct bytes response, enum dir first, bool final,
			bool *more)
{
	request = bytes_head(request, OPAQUE_NAME_HEAD);
	response = bytes_head(response, OPAQUE_NAME_HEAD);
	*more = false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		enum answer a = name_is(i, request, response, first, final);
		if (a == YES)
			return names[i].name;
		*more |= a == MORE;
	}
	return NULL;
}
