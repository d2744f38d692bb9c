/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/drive.h"

static void gives(const char *script, const char *want)
{
	char *text = drive_text(script);

	assert_string_equal(text, want);
	free(text);
}

static void counts_both_sides(void **state)
{
	(void)state;
	gives("@ opaque\n> abc\n< defgh\n> ij\n>! fin\n<! fin\n",
	      "> opaque stream\n  body 5 counted\n  end\n< opaque stream\n  body 5 counted\n  end\n");
	gives("@ opaque\n> abc\n>! rst\n<! rst\n", "> opaque stream\n  body 3 counted\n  abort\n");
	gives("@ opaque\n< server first\n>! fin\n<! fin\n",
	      "< opaque stream\n  body 12 counted\n  end\n");
	gives("@ opaque\n>! fin\n<! fin\n", "");
	gives("@ opaque\n> a\n>! evicted\n", "> opaque stream\n  body 1 counted\n  abort\n");
}

static void gaps_keep_in_step(void **state)
{
	(void)state;
	gives("@ opaque\n>? 7\n> abc\n>? 1\n> d\n>? 2\n>! fin\n",
	      "> opaque stream\n  body 4 missing 10 counted\n  end\n");
	gives("@ opaque\n<? 7\n<! fin\n", "< opaque stream\n  body 0 missing 7 counted\n  end\n");
	/* behind a gap nothing is taken for a ClientHello */
	gives("@ opaque\n>? 1\n> \\x16\\x03\\x01\\x00\\x05\\x01\n>! fin\n",
	      "> opaque stream\n  body 6 missing 1 counted\n  end\n");
}

/* A ClientHello with SNI api.local and ALPN h2, http/1.1 */
#define RANDOM "00000000000000000000000000000000"
#define HELLO                                                                                      \
	"\\x16\\x03\\x01\\x00\\x57\\x01\\x00\\x00\\x53\\x03\\x03" RANDOM                           \
	"\\x00\\x00\\x02\\x13\\x01\\x01\\x00"                                                      \
	"\\x00\\x28\\x00\\x00\\x00\\x0e\\x00\\x0c\\x00\\x00\\x09api.local"                         \
	"\\x00\\x10\\x00\\x0e\\x00\\x0c\\x02h2\\x08http/1.1"                                       \
	"\\x00\\x17\\x00\\x00"

static void tls_is_named(void **state)
{
	const char *want =
		"> opaque stream\n  a tls=1\n  a tls.sni=api.local\n  a tls.alpn=h2,http/1.1\n"
		"  body 92 counted\n  end\n";

	(void)state;
	gives("> " HELLO "\n>! fin\n", want);
	gives("@ opaque\n> " HELLO "more\n>! fin\n",
	      "> opaque stream\n  a tls=1\n  a tls.sni=api.local\n  a tls.alpn=h2,http/1.1\n"
	      "  body 96 counted\n  end\n");
	/* any other record at the start of a connection joined late */
	gives("> \\x17\\x03\\x03\\x00\\x02ab\n>! fin\n",
	      "> opaque stream\n  a tls=1\n  body 7 counted\n  end\n");
	/* the server's records name nothing */
	gives("@ opaque\n< \\x16\\x03\\x03\\x00\\x02ab\n<! fin\n",
	      "< opaque stream\n  body 7 counted\n  end\n");
	/* lengths that lie: what is left out is left out */
	gives("> \\x16\\x03\\x01\\x00\\x2b\\x01\\x00\\xff\\xff\\x03\\x03" RANDOM
	      "\\xff\\x00\\x00\\xff\\xff\n>! fin\n",
	      "> opaque stream\n  a tls=1\n  body 48 counted\n  end\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_both_sides),
		cmocka_unit_test(gaps_keep_in_step),
		cmocka_unit_test(tls_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
