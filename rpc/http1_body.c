/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http1_body.h"

#include <errno.h>

#include "rpc/http1_head.h"

static struct bytes blanks_skip(struct bytes b)
{
	while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
		b = bytes_from(b, 1);
	return b;
}

static size_t token_length(struct bytes b)
{
	size_t n = 0;

	while (n < b.n && http1_is_token(bytes_of(b.p + n, 1)))
		n++;
	return n;
}

/* Length of a quoted-string (RFC 9110 5.6.4); 0: it is none */
static size_t quoted_length(struct bytes b)
{
	size_t i = 1;

	while (i < b.n && b.p[i] != '"')
		i += b.p[i] == '\\' ? 2 : 1;
	return i < b.n && http1_is_text(bytes_head(b, i)) ? i + 1 : 0;
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static bool extensions_right(struct bytes b)
{
	while (b.n) {
		b = blanks_skip(b);
		if (b.n == 0 || b.p[0] != ';')
			return false;
		b = blanks_skip(bytes_from(b, 1));
		size_t n = token_length(b);
		if (n == 0)
			return false;
		b = bytes_from(b, n);
		struct bytes value = blanks_skip(b);
		if (value.n == 0 || value.p[0] != '=')
			continue;
		b = blanks_skip(bytes_from(value, 1));
		n = b.n && b.p[0] == '"' ? quoted_length(b) : token_length(b);
		if (n == 0)
			return false;
		b = bytes_from(b, n);
	}
	return true;
}

/* `line` without CRLF */
static bool line_parse(struct bytes line, uint64_t *size)
{
	size_t i = 0;

	*size = 0;
	for (int d; i < line.n && (d = bytes_hex_digit(line.p[i])) >= 0; i++) {
		if (*size >> 59)
			return false;
		*size = *size << 4 | (uint64_t)d;
	}
	return i > 0 && (i == line.n || extensions_right(bytes_from(line, i)));
}

int64_t http1_body_chunk(struct bytes in, uint32_t *seen, uint64_t *size)
{
	struct bytes b = bytes_head(in, HTTP1_CHUNK_LINE_MAX);
	const uint8_t *lf = *seen < b.n ? memchr(b.p + *seen, '\n', b.n - *seen) : NULL;

	if (!lf) {
		*seen = (uint32_t)b.n;
		return in.n < HTTP1_CHUNK_LINE_MAX ? 0 : -EPROTO;
	}
	size_t n = (size_t)(lf - b.p);
	*seen = 0;
	if (n < 2 || b.p[n - 1] != '\r' || !line_parse(bytes_head(b, n - 1), size))
		return -EPROTO;
	return (int64_t)n + 1;
}
