/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/mem.h"

struct yaml_doc {
	yaml_parser_t parser;
	yaml_event_t event; /* item->text points into it */
	struct bytes text;
	char problem[160];
	bool document, done;
};

struct yaml_doc *yaml_doc_new(struct bytes text)
{
	CLEANUP_FREE struct yaml_doc *y = calloc(1, sizeof(*y));
	if (!y || !yaml_parser_initialize(&y->parser))
		return NULL;
	y->text = text;
	yaml_parser_set_encoding(&y->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y->parser, text.p ? text.p : (const uint8_t *)"", text.n);
	return take_ptr(y);
}

void yaml_doc_free(struct yaml_doc *y)
{
	if (!y)
		return;
	yaml_event_delete(&y->event);
	yaml_parser_delete(&y->parser);
	free(y);
}

static void place(struct yaml_item *item, const yaml_mark_t *m)
{
	item->line = (unsigned)m->line + 1;
	item->column = (unsigned)m->column + 1;
}

static int refuse(struct yaml_doc *y, struct yaml_item *item, const char *what)
{
	snprintf(y->problem, sizeof(y->problem), "%s", what);
	item->text = y->problem;
	y->done = true;
	return -EBADMSG;
}

/* The reader (bad encoding, control characters) gives an offset in place of a line. */
static void place_offset(struct yaml_doc *y, struct yaml_item *item, size_t off)
{
	item->line = item->column = 1;
	for (size_t i = 0; i < off && i < y->text.n; i++) {
		bool end = y->text.p[i] == '\n';
		item->line += end;
		item->column = end ? 1 : item->column + 1;
	}
}

/* Does the line hold a tab before anything else? What libyaml says of those helps nobody. */
static bool tab_indents(struct bytes text, unsigned line)
{
	const uint8_t *p = text.p, *end = text.p + text.n;
	while (p < end && --line) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	while (p < end && *p == ' ')
		p++;
	return p < end && *p == '\t';
}

static int syntax_error(struct yaml_doc *y, struct yaml_item *item)
{
	const yaml_parser_t *p = &y->parser;
	if (p->error == YAML_MEMORY_ERROR)
		return refuse(y, item, "out of memory");
	if (p->error == YAML_READER_ERROR)
		place_offset(y, item, p->problem_offset);
	else
		place(item, &p->problem_mark);
	if (tab_indents(y->text, item->line))
		return refuse(y, item, "a tab: YAML is indented with spaces");
	char what[160];
	snprintf(what, sizeof(what), "not YAML: %s%s%s", p->problem ? p->problem : "syntax",
		 p->context ? " " : "", p->context ? p->context : "");
	return refuse(y, item, what);
}

static int scalar(struct yaml_doc *y, struct yaml_item *item)
{
	const char *text = (const char *)y->event.data.scalar.value;
	item->kind = YAML_SCALAR;
	item->text = text;
	item->quoted = y->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	if (y->event.data.scalar.anchor || y->event.data.scalar.tag)
		return refuse(y, item, "anchors and tags are not used here");
	if (strlen(text) != y->event.data.scalar.length)
		return refuse(y, item, "a NUL in text");
	return 1;
}

static int collection(struct yaml_doc *y, struct yaml_item *item, enum yaml_kind kind, bool marked)
{
	item->kind = kind;
	return marked ? refuse(y, item, "anchors and tags are not used here") : 1;
}

/* 1: an item, 0: nothing to hand out, -EBADMSG */
static int translate(struct yaml_doc *y, struct yaml_item *item)
{
	const yaml_event_t *e = &y->event;
	place(item, &e->start_mark);
	switch (e->type) {
	case YAML_SCALAR_EVENT: return scalar(y, item);
	case YAML_MAPPING_START_EVENT:
		return collection(y, item, YAML_MAP,
				  e->data.mapping_start.anchor || e->data.mapping_start.tag);
	case YAML_SEQUENCE_START_EVENT:
		return collection(y, item, YAML_LIST,
				  e->data.sequence_start.anchor || e->data.sequence_start.tag);
	case YAML_MAPPING_END_EVENT: return collection(y, item, YAML_MAP_END, false);
	case YAML_SEQUENCE_END_EVENT: return collection(y, item, YAML_LIST_END, false);
	case YAML_ALIAS_EVENT: return refuse(y, item, "anchors and aliases are not used here");
	case YAML_DOCUMENT_START_EVENT:
		if (y->document)
			return refuse(y, item, "a second document: allowed is one");
		y->document = true;
		return 0;
	case YAML_STREAM_END_EVENT: y->done = true; return 0;
	default: return 0;
	}
}

int yaml_doc_next(struct yaml_doc *y, struct yaml_item *item)
{
	*item = (struct yaml_item) {.line = 1, .column = 1};
	while (!y->done) {
		yaml_event_delete(&y->event);
		if (!yaml_parser_parse(&y->parser, &y->event))
			return syntax_error(y, item);
		int rc = translate(y, item);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int read_all(int fd, size_t max, struct buf *out)
{
	uint8_t chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (out->n + (size_t)n > max)
			return -E2BIG;
		int rc = buf_append(out, bytes_of(chunk, (size_t)n));
		if (rc < 0)
			return rc;
	}
	return 0;
}

int yaml_doc_read(const char *path, size_t max, struct buf *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	int rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && !S_ISREG(st.st_mode))
		rc = -EINVAL;
	if (rc == 0)
		rc = read_all(fd, max, out);
	close(fd);
	return rc;
}
