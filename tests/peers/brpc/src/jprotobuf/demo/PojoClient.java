// SPDX-License-Identifier: Apache-2.0
package demo;

import static demo.Log.check;
import static demo.Log.rp;

import com.baidu.jprotobuf.pbrpc.client.ProtobufRpcProxy;
import com.baidu.jprotobuf.pbrpc.transport.RpcClient;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** PojoClient PORT: pooled connections. */
public class PojoClient {
	static final int ERROR = 2001, NO_METHOD = 1001;
	final PojoDepot depot;

	PojoClient(int port) {
		ProtobufRpcProxy<PojoDepot> proxy = new ProtobufRpcProxy<>(new RpcClient(), PojoDepot.class);
		proxy.setHost("127.0.0.1");
		proxy.setPort(port);
		depot = proxy.proxy();
	}

	static PojoPut put(String token) {
		PojoPut p = new PojoPut();
		p.token = token;
		p.pad = Log.pad(token);
		return p;
	}

	static void log(String token, String reply, String method, int status, Object... more)
		throws Exception {
		List<Object> expect = new ArrayList<>(List.of("service", PojoDepot.SERVICE, "method", method,
			"status_code", status, "outcome", status == 0 ? "OK" : "SERVER_ERROR"));
		expect.addAll(List.of(more));
		Log.call(token, reply, expect.toArray());
	}

	Log.Calling put(String method, Function<PojoPut, PojoGot> call, Object... more) {
		return () -> {
			for (int i = 0; i < 3; i++) {
				String t = Log.token();
				PojoGot r = call.apply(put(t));
				check(r.token.equals(rp(t)), method, t, r.token);
				log(t, rp(t), method, 0, more);
			}
		};
	}

	void attached() throws Exception {
		String t = Log.token();
		PojoGot r = depot.putAttached(put(t));
		check(r.token.equals(rp(t)), "PutAttached", t, r.token);
		log(t, rp(t), "PutAttached", 0);
	}

	void fail() throws Exception {
		String t = Log.token();
		try {
			depot.fail(put(t));
			check(false, "Fail", t, "result");
		} catch (RuntimeException e) {
			check(e.getCause().getMessage().contains(rp(t)), "Fail", t, e.getCause());
		}
		log(t, rp(t), "Fail", ERROR);
	}

	/** The answer repeats the request's data. */
	void missing() throws Exception {
		String t = Log.token();
		try {
			depot.missing(put(t));
			check(false, "Missing", t, "result");
		} catch (RuntimeException e) {
			log(t, t, "Missing", NO_METHOD);
		}
	}

	public static void main(String[] args) throws Exception {
		PojoClient c = new PojoClient(Integer.parseInt(args[0]));
		try {
			Log.rounds(c.put("Put", c.depot::put), List.of(c.put("Put", c.depot::put),
				c.put("PutGzip", c.depot::putGzip, "flags", List.of("compressed"),
					"attributes.compress_type", "gzip"),
				c.put("PutSnappy", c.depot::putSnappy, "flags", List.of("compressed"),
					"attributes.compress_type", "snappy"),
				c::attached, c::fail), c::missing);
			System.exit(0);
		} catch (Throwable t) {
			t.printStackTrace();
			System.exit(1);
		}
	}
}
