/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of YAML that a configuration needs, as a stream of items that know their line and
 * column: one document of mappings, lists and scalars. Anchors, aliases, tags and further documents
 * are refused.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct yaml_doc;

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_MAP_END, YAML_LIST, YAML_LIST_END };

struct yaml_item {
	enum yaml_kind kind;
	/* Scalar, terminated, no NUL inside; after an error what is wrong. Until the next call. */
	const char *text;
	bool quoted; /* or a block scalar: text, whatever it looks like */
	unsigned line, column; /* from 1 */
};

/* text stays the caller's and must outlive it. NULL: no memory. */
struct yaml_doc *yaml_doc_new(struct bytes text);
void yaml_doc_free(struct yaml_doc *y);

/* 1: an item. 0: the end. -EBADMSG: item->text says what is wrong at its line and column; the
 * end. */
int yaml_doc_next(struct yaml_doc *y, struct yaml_item *item);

/* A regular file of at most max bytes, whole. -E2BIG, -EINVAL (no regular file), or the errno of
 * open, read. */
int yaml_doc_read(const char *path, size_t max, struct buf *out);
