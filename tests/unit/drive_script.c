/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of a script: see drive.h. */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/prober.h"
#include "tests/unit/drive.h"

enum { SCRIPT_MAX = 8 << 20, LINE_MAX_BYTES = 1 << 20 };

void drive_script_init(struct drive_script *s)
{
	memset(s, 0, sizeof(*s));
	s->limits = (struct framer_limits) {64 * 1024, 256, 1024, 64 << 20};
}

void drive_script_fini(struct drive_script *s)
{
	buf_fini(&s->bytes);
	buf_fini(&s->expect);
}

static struct drive_step *step_add(struct drive_script *s, enum drive_what what, enum dir dir)
{
	if (s->n == DRIVE_STEPS_MAX)
		return NULL;
	s->steps[s->n] = (struct drive_step) {.what = what, .dir = dir};
	return &s->steps[s->n++];
}

static bool bytes_add(struct drive_script *s, enum dir dir, struct bytes b)
{
	struct drive_step *step = step_add(s, DRIVE_BYTES, dir);

	if (!step)
		return false;
	step->off = s->bytes.n;
	step->n = b.n;
	return buf_append(&s->bytes, b) == 0;
}

void drive_add(struct drive_script *s, enum dir dir, struct bytes b)
{
	if (!bytes_add(s, dir, b))
		abort();
}

void drive_add_gap(struct drive_script *s, enum dir dir, size_t n)
{
	struct drive_step *step = step_add(s, DRIVE_GAP, dir);

	if (!step)
		abort();
	step->n = n;
}

void drive_add_end(struct drive_script *s, enum dir dir, enum end_how how)
{
	struct drive_step *step = step_add(s, DRIVE_END, dir);

	if (!step)
		abort();
	step->how = how;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void unescape(struct bytes in, struct buf *out)
{
	static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";

	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (c == '\\' && i + 1 < in.n) {
			uint8_t e = in.p[i + 1];
			const char *at = e ? strchr(from, e) : NULL;
			if (at) {
				c = (uint8_t)to[at - from];
				i++;
			} else if (e == 'x' && i + 3 < in.n && hex_digit(in.p[i + 2]) >= 0 &&
				   hex_digit(in.p[i + 3]) >= 0) {
				c = (uint8_t)(hex_digit(in.p[i + 2]) << 4 | hex_digit(in.p[i + 3]));
				i += 3;
			}
		}
		if (buf_append(out, bytes_of(&c, 1)) < 0)
			abort();
	}
}

static size_t number_take(struct bytes *b)
{
	size_t v = 0;

	while (b->n && b->p[0] == ' ')
		*b = bytes_from(*b, 1);
	while (b->n && b->p[0] >= '0' && b->p[0] <= '9' && v < SCRIPT_MAX) {
		v = v * 10 + (size_t)(b->p[0] - '0');
		*b = bytes_from(*b, 1);
	}
	return v;
}

static bool repeat_add(struct drive_script *s, enum dir dir, struct bytes arg, size_t max)
{
	struct buf one = {0}, all = {0};
	size_t times = number_take(&arg);
	bool ok = arg.n > 1 && arg.p[0] == ' ';

	if (ok)
		unescape(bytes_from(arg, 1), &one);
	ok = ok && one.n && times <= max / one.n;
	for (size_t i = 0; ok && i < times; i++)
		ok = buf_append(&all, buf_bytes(&one)) == 0;
	ok = ok && bytes_add(s, dir, buf_bytes(&all));
	buf_fini(&one);
	buf_fini(&all);
	return ok;
}

static bool end_add(struct drive_script *s, enum dir dir, struct bytes arg)
{
	static const struct {
		struct bytes name;
		enum end_how how;
	} hows[] = {{BYTES(" fin"), END_FIN},
		    {BYTES(" rst"), END_RST},
		    {BYTES(" evicted"), END_EVICTED},
		    {BYTES(" stop"), END_STOP}};

	for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++)
		if (bytes_eq(arg, hows[i].name)) {
			struct drive_step *step = step_add(s, DRIVE_END, dir);
			if (step)
				step->how = hows[i].how;
			return step != NULL;
		}
	return false;
}

static bool directive(struct drive_script *s, struct bytes line)
{
	if (bytes_starts(line, BYTES("@limits "))) {
		line = bytes_from(line, 8);
		s->limits.header_bytes = number_take(&line);
		s->limits.header_count = number_take(&line);
		return s->limits.header_bytes > 0;
	}
	s->late = bytes_starts(line, BYTES("@late "));
	struct bytes name = bytes_from(line, s->late ? 6 : 2);
	for (size_t i = 0; prober_table[i]; i++)
		if (bytes_eq(name, bytes_str(prober_table[i]->name)))
			s->first = prober_table[i];
	return s->first != NULL;
}

static bool line_add(struct drive_script *s, struct bytes line, size_t max)
{
	if (line.n == 0 || line.p[0] == '#')
		return true;
	if (line.p[0] == '@')
		return directive(s, line);
	if (line.p[0] == '=')
		return buf_append(&s->expect, bytes_from(line, 2)) == 0 &&
		       buf_append(&s->expect, BYTES("\n")) == 0;
	if (line.n < 2 || (line.p[0] != '>' && line.p[0] != '<'))
		return false;
	enum dir dir = line.p[0] == '>' ? DIR_REQUEST : DIR_RESPONSE;
	struct bytes arg = bytes_from(line, 2);
	if (line.p[1] == '*')
		return repeat_add(s, dir, arg, max);
	if (line.p[1] == '!')
		return end_add(s, dir, arg);
	if (line.p[1] == '?') {
		struct drive_step *step = step_add(s, DRIVE_GAP, dir);
		if (step)
			step->n = number_take(&arg);
		return step && step->n > 0;
	}
	if (line.p[1] != ' ')
		return false;
	struct buf b = {0};
	unescape(arg, &b);
	bool ok = bytes_add(s, dir, buf_bytes(&b));
	buf_fini(&b);
	return ok;
}

bool drive_parse(struct drive_script *s, struct bytes text, size_t max)
{
	drive_script_init(s);
	while (text.n) {
		const uint8_t *lf = memchr(text.p, '\n', text.n);
		size_t n = lf ? (size_t)(lf - text.p) : text.n;
		if (!line_add(s, bytes_head(text, n), max) || s->bytes.n > max)
			return false;
		text = bytes_from(text, n + 1);
	}
	return true;
}

bool drive_load(struct drive_script *s, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = malloc(LINE_MAX_BYTES);
	size_t n = f && p ? fread(p, 1, LINE_MAX_BYTES, f) : 0;
	bool ok = drive_parse(s, bytes_of(p, n), SCRIPT_MAX) && n > 0;

	if (f)
		fclose(f);
	free(p);
	return ok;
}
