/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift in each form, messages of 1 KiB, each given whole: usage thrift_bench [seconds] */
#include "rpc/protocols.h"
#include "tests/bench/framed.h"
#include "tests/unit/thrift_write.h"

enum { MESSAGE = 1024 };

/* A header of five small fields and a string that fills the rest; a reply has them inside its one field. */
static struct buf message(enum thrift_form form, bool framed, unsigned type)
{
	struct buf b = {0}, text = {0};
	int last = 0;

	tw_message(&b, form, type, "Catalog:getItems", 77);
	tw_field(&b, form, 12, type == THRIFT_REPLY ? 0 : 1, &last);
	last = 0;
	for (int id = 1; id <= 5; id++) {
		tw_field(&b, form, id % 2 ? 8 : 11, id, &last);
		if (id % 2)
			tw_i32(&b, form, 70000 * id);
		else
			tw_string(&b, form, BYTES("0af7651916cd43dd8448eb211c80319c"));
	}
	tw_field(&b, form, 11, 6, &last);
	while (b.n + text.n < MESSAGE - 4)
		tw_u8(&text, 'x');
	tw_string(&b, form, buf_bytes(&text));
	tw_stop(&b);
	tw_stop(&b);
	if (framed)
		tw_frame(&b, 0);
	buf_fini(&text);
	return b;
}

static void bench(enum thrift_form form, bool framed, double seconds)
{
	struct buf q = message(form, framed, THRIFT_CALL), r = message(form, framed, THRIFT_REPLY);
	char name[64];

	snprintf(name, sizeof(name), "thrift %s+%s", framed ? "framed" : "unframed",
		 thrift_form_name(form));
	if (bench_framer(&framer_thrift, name, buf_bytes(&q), buf_bytes(&r), seconds))
		exit(1);
	buf_fini(&q);
	buf_fini(&r);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) / 6 : 0.5;

	for (int form = THRIFT_BINARY; form <= THRIFT_COMPACT; form++) {
		bench((enum thrift_form)form, true, seconds);
		bench((enum thrift_form)form, false, seconds);
	}
	return 0;
}
