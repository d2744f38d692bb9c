// SPDX-License-Identifier: Apache-2.0
package demo;

import static demo.Tokens.rp;

import com.alibaba.fastjson2.JSON;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.common.stream.StreamObserver;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.GenericService;

/** Client dubbo2|triple SERIALIZATION PORT: one round of calls for each line of stdin (../../README.md). */
public class Client {
	static final Path LOG = Path.of(System.getenv("PEER_LOG"));
	static final String NONCE = Long.toHexString(System.nanoTime());
	static final AtomicInteger serial = new AtomicInteger();

	static String token() {
		return "tk" + NONCE + "-" + serial.incrementAndGet() + "_";
	}

	/** Bodies of many sizes, but small ones in golden captures. */
	static String pad(String token) {
		return System.getenv("PEER_GOLDEN") != null
			? ""
			: "päd ".repeat(Math.floorMod(token.hashCode(), 6000));
	}

	static void check(boolean ok, String what, String token, Object seen) {
		if (!ok)
			throw new IllegalStateException(what + " of " + token + ": unexpected " + seen);
	}

	interface Calling {
		void run() throws Throwable;
	}

	final boolean triple;
	final int port;
	final String url;
	final Shop shop;
	final GenericService generic;
	final Absent absent;
	final Flow flow;
	final ExecutorService threads = Executors.newCachedThreadPool();

	Client(String protocol, String serialization, int port) {
		triple = protocol.equals("triple");
		this.port = port;
		// Heartbeats in the pauses of a round
		url = (triple ? "tri" : "dubbo") + "://127.0.0.1:" + port + "/%s?heartbeat=80&heartbeat.timeout=20000"
			+ "&serialization=" + serialization + "&prefer.serialization=" + serialization;
		ApplicationConfig app = new ApplicationConfig("shopper");
		app.setQosEnable(false);
		DubboBootstrap.getInstance().application(app).start();
		ReferenceConfig<Shop> r = reference(Shop.class, "demo.Shop");
		MethodConfig note = new MethodConfig();
		note.setName("note");
		note.setReturn(false);
		r.setMethods(List.of(note));
		shop = r.get();
		ReferenceConfig<GenericService> g = reference(null, "demo.Shop");
		g.setInterface("demo.Shop");
		g.setGeneric("true");
		generic = g.get();
		absent = reference(Absent.class, "demo.Absent").get();
		flow = triple ? reference(Flow.class, "demo.Flow").get() : null;
	}

	<T> ReferenceConfig<T> reference(Class<T> type, String path) {
		ReferenceConfig<T> r = new ReferenceConfig<>();
		if (type != null)
			r.setInterface(type);
		r.setUrl(String.format(url, path));
		r.setVersion("1.2.3");
		r.setTimeout(10000);
		r.setRetries(0);
		r.setCheck(false);
		return r;
	}

	/** status and outcome by the rule of the protocol in use. */
	Map<String, Object> says(String service, String method, String type, int status, String outcome) {
		Map<String, Object> e = new LinkedHashMap<>();
		e.put("protocol", triple ? "grpc" : "dubbo2");
		e.put("service", service);
		e.put("method", method);
		if (triple)
			e.put("path", "/" + service + "/" + method);
		e.put("call_type", type);
		e.put("status_code", status);
		e.put("outcome", outcome);
		return e;
	}

	Map<String, Object> ok(String method) {
		return says("demo.Shop", method, "unary", triple ? 0 : 20, "OK");
	}

	/** In triple's own wrapping an exception is a result: only tri-exception-code tells. */
	Map<String, Object> threw(String method) {
		Map<String, Object> e = ok(method);
		return triple ? with(e, "response.headers.tri-exception-code", "3")
			: with(e, "outcome", "DECLARED_EXCEPTION");
	}

	Map<String, Object> with(Map<String, Object> e, String key, Object value) {
		e.put(key, value);
		return e;
	}

	static synchronized void log(String token, String reply, Map<String, Object> expect)
		throws Exception {
		Map<String, Object> line = new LinkedHashMap<>();
		line.put("token", token);
		line.put("reply_token", reply);
		line.put("expect", expect);
		Files.write(LOG, (JSON.toJSONString(line, com.alibaba.fastjson2.JSONWriter.Feature.WriteNulls)
			+ "\n").getBytes(StandardCharsets.UTF_8), StandardOpenOption.CREATE,
			StandardOpenOption.APPEND);
	}

	static void attach(String token) {
		RpcContext.getClientAttachment().setAttachment("demo-user", "user of " + token);
	}

	void touch() throws Exception {
		String t = token();
		attach(t);
		String r = shop.touch(t);
		check(r.equals("touched " + rp(t)), "touch", t, r);
		log(t, rp(t), with(with(ok("touch"), "request.headers.demo-user", "user of " + t),
			(triple ? "response.trailers." : "response.headers.") + "served-for", rp(t)));
	}

	void look() throws Exception {
		String t = token();
		Item r = shop.look(Item.of(t, pad(t)), 3, 1L << 50, 2.5, true);
		check(r.token.equals(rp(t)), "look", t, r.token);
		log(t, rp(t), ok("look"));
	}

	void tidy() throws Exception {
		String t = token();
		shop.tidy(t);
		log(t, rp(t), ok("tidy"));
	}

	/** Triple has no one-way calls: an answer comes all the same. */
	void note() throws Exception {
		String t = token();
		shop.note(Item.of(t, pad(t)));
		log(t, null, triple ? ok("note") : says("demo.Shop", "note", "oneway", 0, "OK"));
	}

	void refuse() throws Exception {
		String t = token();
		try {
			shop.refuse(t);
			check(false, "refuse", t, "result");
		} catch (Refused e) {
			check(e.getMessage().equals("no stock for " + rp(t)), "refuse", t, e);
		}
		log(t, rp(t), threw("refuse"));
	}

	void broken() throws Exception {
		String t = token();
		try {
			shop.broken(t);
			check(false, "broken", t, "result");
		} catch (RuntimeException e) {
			check(e.getMessage().contains(rp(t)), "broken", t, e);
		}
		log(t, rp(t), threw("broken"));
	}

	/**
	 * A method that the server lacks, a service that it has not. Triple may be refused before its body is sent: the
	 * token goes with the head.
	 */
	void missing() throws Exception {
		String t = token();
		attach(t);
		try {
			shop.missing(t);
			check(false, "missing", t, "result");
		} catch (RpcException e) {
			log(t, null, says("demo.Shop", "missing", "unary", triple ? 2 : 40,
				triple ? "SERVER_ERROR" : "CLIENT_ERROR"));
		}
	}

	void absent() throws Exception {
		String t = token();
		attach(t);
		try {
			absent.touch(t);
			check(false, "absent", t, "result");
		} catch (RpcException e) {
			log(t, null, says("demo.Absent", "touch", "unary", triple ? 12 : 40,
				triple ? "SERVER_ERROR" : "CLIENT_ERROR"));
		}
	}

	/** Several in flight on one connection, answered in another order. */
	void later() throws Exception {
		List<String> tokens = new ArrayList<>();
		List<CompletableFuture<String>> replies = new ArrayList<>();
		for (int ms : new int[] {40, 20, 0, 30}) {
			tokens.add(token());
			replies.add(shop.later(tokens.get(tokens.size() - 1), ms));
		}
		for (int i = 0; i < tokens.size(); i++) {
			String t = tokens.get(i), r = replies.get(i).get();
			check(r.equals("later " + rp(t)), "later", t, r);
			log(t, rp(t), ok("later"));
		}
	}

	/** The client gives up; the reply comes late, and still belongs to the call. Triple: an error, or a reset. */
	void slow() throws Exception {
		String t = token();
		RpcContext.getClientAttachment().setAttachment("timeout", "50");
		try {
			shop.slow(t, 200);
			check(false, "slow", t, "result");
		} catch (RpcException e) {
			check(e.isTimeout() || e.getMessage().contains("DEADLINE_EXCEEDED"), "slow", t, e);
		}
		String u = token(), r = shop.settled(u, rp(t));
		check(r.equals("settled " + rp(u)), "settled", u, r);
		log(u, rp(u), ok("settled"));
		if (triple)
			log(t, null, with(ok("slow"), "outcome", Map.of("any", List.of("OK", "ABORTED"))));
		else
			log(t, rp(t), ok("slow"));
	}

	void generic() throws Exception {
		String t = token();
		Object r = generic.$invoke("touch", new String[] {"java.lang.String"}, new Object[] {t});
		check(r.equals("touched " + rp(t)), "$invoke", t, r);
		log(t, rp(t), triple ? ok("$invoke")
			: with(ok("$invoke"), "attributes.generic_method", "touch"));
	}

	static class Collector implements StreamObserver<String> {
		final List<String> messages = new ArrayList<>();
		final CountDownLatch done = new CountDownLatch(1);
		Throwable error;

		@Override
		public void onNext(String message) {
			messages.add(message);
		}

		@Override
		public void onError(Throwable t) {
			error = t;
			done.countDown();
		}

		@Override
		public void onCompleted() {
			done.countDown();
		}

		void await(int n, String token) throws InterruptedException {
			check(done.await(10, TimeUnit.SECONDS), "stream", token, "time-out");
			check(error == null && messages.size() == n, "stream", token, error + " " + messages);
		}
	}

	void watch() throws Exception {
		String t = token();
		Collector c = new Collector();
		flow.watch(t, c);
		c.await(3, t);
		log(t, rp(t), says("demo.Flow", "watch", "server_stream", 0, "OK"));
	}

	void talk() throws Exception {
		String t = token();
		Collector c = new Collector();
		StreamObserver<String> out = flow.talk(c);
		for (int i = 0; i < 3; i++)
			out.onNext(t + i);
		out.onCompleted();
		c.await(3, t);
		log(t, rp(t), says("demo.Flow", "talk", "bidi_stream", 0, "OK"));
	}

	List<Calling> calls() {
		List<Calling> all = new ArrayList<>(List.of(this::touch, this::touch, this::look, this::look,
			this::tidy, this::note, this::refuse, this::broken, this::missing, this::absent,
			this::later, this::generic, this::slow));
		if (triple)
			all.addAll(List.of(this::watch, this::talk, this::talk));
		return all;
	}

	void round() throws Exception {
		List<Future<Void>> running = new ArrayList<>();
		for (Calling call : calls())
			running.add(threads.submit((Callable<Void>) () -> {
				try {
					call.run();
				} catch (Throwable t) {
					throw new Exception(t);
				}
				return null;
			}));
		for (Future<Void> f : running)
			f.get();
	}

	public static void main(String[] args) throws Exception {
		Client c = new Client(args[0], args[1], Integer.parseInt(args[2]));
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		try {
			while (in.readLine() != null) {
				c.round();
				System.out.println("done");
				System.out.flush();
			}
			DubboBootstrap.getInstance().stop();
			System.exit(0);
		} catch (Throwable t) {
			t.printStackTrace();
			System.exit(1);
		}
	}
}
