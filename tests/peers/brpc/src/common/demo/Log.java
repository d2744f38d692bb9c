// SPDX-License-Identifier: Apache-2.0
package demo;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/** Tokens, rounds and the log of a client (../../README.md). */
public class Log {
	static final String NONCE = Long.toHexString(System.nanoTime());
	static final AtomicInteger serial = new AtomicInteger();
	static final ExecutorService threads = Executors.newCachedThreadPool();

	public interface Calling {
		void run() throws Throwable;
	}

	public static String token() {
		return "tk" + NONCE + "-" + serial.incrementAndGet() + "_";
	}

	/** The token of the reply to a request's. */
	public static String rp(String token) {
		return "rp" + token.substring(2);
	}

	/** Bodies of many sizes, but small ones in golden captures. */
	public static String pad(String token) {
		return System.getenv("PEER_GOLDEN") != null
			? "päd "
			: "päd ".repeat(Math.floorMod(token.hashCode(), 6000));
	}

	public static void check(boolean ok, String what, String token, Object seen) {
		if (!ok)
			throw new IllegalStateException(what + " of " + token + ": unexpected " + seen);
	}

	static String json(Object o) {
		if (o == null || o instanceof Number)
			return String.valueOf(o);
		if (o instanceof List) {
			List<String> all = new ArrayList<>();
			for (Object x : (List<?>) o)
				all.add(json(x));
			return "[" + String.join(",", all) + "]";
		}
		return "\"" + o.toString().replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
	}

	/** expect: keys and values in turn. */
	public static synchronized void call(String token, String reply, Object... expect)
		throws Exception {
		List<String> fields = new ArrayList<>(List.of("\"protocol\":\"brpc\"",
			"\"call_type\":\"unary\""));
		for (int i = 0; i < expect.length; i += 2)
			fields.add(json(expect[i]) + ":" + json(expect[i + 1]));
		String line = "{\"token\":" + json(token) + ",\"reply_token\":" + json(reply) + ",\"expect\":{"
			+ String.join(",", fields) + "}}\n";
		Files.write(Path.of(System.getenv("PEER_LOG")), line.getBytes(StandardCharsets.UTF_8),
			StandardOpenOption.CREATE, StandardOpenOption.APPEND);
	}

	static Void run(Calling call) throws Exception {
		try {
			call.run();
		} catch (Throwable t) {
			throw new Exception(t);
		}
		return null;
	}

	/** For each line of stdin: the first, all the calls at once, the last. */
	public static void rounds(Calling first, List<Calling> calls, Calling last) throws Exception {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		while (in.readLine() != null) {
			run(first);
			List<Future<Void>> running = new ArrayList<>();
			for (Calling call : calls)
				running.add(threads.submit((Callable<Void>) () -> run(call)));
			for (Future<Void> f : running)
				f.get();
			run(last);
			System.out.println("done");
			System.out.flush();
		}
	}
}
