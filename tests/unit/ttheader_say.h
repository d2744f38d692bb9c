/* SPDX-License-Identifier: Apache-2.0 */
/* A dialogue of made frames through the driver, as a whole and cut. Include after cmocka.h. */
#pragma once
#include "rpc/protocols.h"
#include "tests/unit/drive_check.h"
#include "tests/unit/ttheader_make.h"

static struct drive_script say_script;

static inline void say_begin(const struct framer_ops *first, bool late)
{
	drive_script_fini(&say_script);
	drive_script_init(&say_script);
	say_script.first = first;
	say_script.late = late;
}

static inline void client(struct bytes b)
{
	drive_add(&say_script, DIR_REQUEST, b);
}

static inline void server(struct bytes b)
{
	drive_add(&say_script, DIR_RESPONSE, b);
}

/* What the framer said, the same for every way the bytes are cut; caller frees. */
static inline char *told(void)
{
	struct drive_result whole = drive_run(&say_script, NULL, 0);
	struct drive_result cut = drive_run_bytes(&say_script);

	assert_string_equal((char *)cut.text.p, (char *)whole.text.p);
	for (size_t i = 1; i < say_script.bytes.n; i += 1 + say_script.bytes.n / 256) {
		struct drive_result one = drive_run(&say_script, &i, 1);
		assert_string_equal((char *)one.text.p, (char *)whole.text.p);
		drive_result_fini(&one);
	}
	drive_result_fini(&cut);
	return (char *)whole.text.p;
}

/* Ends the dialogue: the text is exactly this. */
static inline void tells(const char *want)
{
	char *text = told();

	assert_string_equal(text, want);
	free(text);
}

static inline void tells_part(const char *want)
{
	char *text = told();

	has(text, want);
	free(text);
}

static inline int say_teardown(void **state)
{
	(void)state;
	drive_script_fini(&say_script);
	make_reset();
	return 0;
}

static inline struct bytes patched(struct bytes b, size_t at, unsigned width, uint64_t v)
{
	struct make_out o = {0}, number = {0};

	out_bytes(&o, b);
	out_number(&number, width, v);
	memcpy(o.p + at, number.p, width);
	return made(&o);
}
