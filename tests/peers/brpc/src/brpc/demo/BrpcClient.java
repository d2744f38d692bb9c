// SPDX-License-Identifier: Apache-2.0
package demo;

import static demo.Log.check;
import static demo.Log.rp;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.client.BrpcProxy;
import com.baidu.brpc.client.RpcCallback;
import com.baidu.brpc.client.RpcClient;
import com.baidu.brpc.client.RpcClientOptions;
import com.baidu.brpc.client.channel.ChannelType;
import com.baidu.brpc.exceptions.RpcException;
import com.baidu.brpc.protocol.Options;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;

/** BrpcClient SINGLE|POOLED|SHORT NONE|GZIP|SNAPPY PORT */
public class BrpcClient {
	static final int ERROR = 2001;
	final Options.CompressType compress;
	final AsyncDepot depot;
	final NewerDepot newer;

	BrpcClient(String channel, String compress, int port) {
		this.compress = Options.CompressType.valueOf("COMPRESS_TYPE_" + compress);
		depot = BrpcProxy.getProxy(client(channel, port), AsyncDepot.class);
		newer = BrpcProxy.getProxy(client("SHORT", port), NewerDepot.class);
	}

	RpcClient client(String channel, int port) {
		RpcClientOptions o = new RpcClientOptions();
		o.setProtocolType(Options.ProtocolType.PROTOCOL_BAIDU_STD_VALUE);
		o.setChannelType(ChannelType.valueOf(channel + "_CONNECTION"));
		o.setCompressType(compress);
		o.setReadTimeoutMillis(10000);
		o.setWriteTimeoutMillis(10000);
		o.setMaxTryTimes(1);
		o.setMaxTotalConnections(8);
		o.setMinIdleConnections(1);
		return new RpcClient("list://127.0.0.1:" + port, o);
	}

	static DepotProto.Put put(String token, int waitMs) {
		return DepotProto.Put.newBuilder().setToken(token).setPad(Log.pad(token)).setWaitMs(waitMs)
			.build();
	}

	/** status, the sizes of both bodies where they are not compressed, and what more is to be expected. */
	void log(String token, String reply, String method, int status, int asked, int answered,
		Object... more) throws Exception {
		List<Object> expect = new ArrayList<>(List.of("service", "demo.DepotService", "method", method,
			"status_code", status, "outcome", status == 0 ? "OK" : "SERVER_ERROR"));
		if (compress != Options.CompressType.COMPRESS_TYPE_NONE)
			expect.addAll(List.of("flags", List.of("compressed")));
		else if (status == 0)
			expect.addAll(List.of("request.body_bytes", asked, "response.body_bytes", answered));
		expect.addAll(List.of(more));
		Log.call(token, reply, expect.toArray());
	}

	void plain() throws Exception {
		String t = Log.token();
		DepotProto.Put p = put(t, 0);
		RpcContext.getContext().reset();
		DepotProto.Got r = depot.put(p);
		check(r.getToken().equals(rp(t)), "put", t, r.getToken());
		log(t, rp(t), "Put", 0, p.getSerializedSize(), r.getSerializedSize());
	}

	void attached() throws Exception {
		String t = Log.token();
		DepotProto.Put p = put(t, 5);
		byte[] attachment = ("with " + t).getBytes(StandardCharsets.UTF_8);
		RpcContext.getContext().reset();
		RpcContext.getContext().setRequestBinaryAttachment(attachment);
		RpcContext.getContext().setLogId(77L);
		DepotProto.Got r = depot.put(p);
		check(r.getToken().equals(rp(t)), "put", t, r.getToken());
		int answered = ("for " + rp(t)).length();
		RpcContext.getContext().reset();
		log(t, rp(t), "Put", 0, p.getSerializedSize() + attachment.length,
			r.getSerializedSize() + answered, "attributes.log_id", "77");
	}

	/** In flight together, answered in another order. */
	void many() throws Exception {
		List<DepotProto.Put> puts = new ArrayList<>();
		List<Future<DepotProto.Got>> replies = new ArrayList<>();
		RpcContext.getContext().reset();
		for (int ms : new int[] {40, 20, 0, 30, 10}) {
			DepotProto.Put p = put(Log.token(), ms);
			puts.add(p);
			replies.add(depot.put(p, new RpcCallback<DepotProto.Got>() {
				@Override
				public void success(DepotProto.Got got) {
				}

				@Override
				public void fail(Throwable t) {
				}
			}));
		}
		for (int i = 0; i < puts.size(); i++) {
			String t = puts.get(i).getToken();
			DepotProto.Got r = replies.get(i).get();
			check(r.getToken().equals(rp(t)), "put", t, r.getToken());
			log(t, rp(t), "Put", 0, puts.get(i).getSerializedSize(), r.getSerializedSize());
		}
	}

	void fail() throws Exception {
		String t = Log.token();
		RpcContext.getContext().reset();
		try {
			depot.fail(put(t, 0));
			check(false, "fail", t, "result");
		} catch (RpcException e) {
			check(e.getMessage().contains(rp(t)), "fail", t, e);
		}
		log(t, rp(t), "Fail", ERROR, 0, 0);
	}

	/**
	 * Answered with id 0, whatever the request's: the client does not know its own answer and runs into its
	 * time-out. On a connection of its own there is no doubt whose it is.
	 */
	void missing() throws Exception {
		String t = Log.token();
		RpcContext.getContext().reset();
		RpcContext.getContext().setReadTimeoutMillis(200);
		try {
			newer.missing(put(t, 0));
			check(false, "missing", t, "result");
		} catch (RpcException e) {
			log(t, null, "Missing", ERROR, 0, 0);
		}
	}

	public static void main(String[] args) throws Exception {
		BrpcClient c = new BrpcClient(args[0], args[1], Integer.parseInt(args[2]));
		try {
			// Of the whole process the first call has id 0: before any of the answers to missing.
			Log.rounds(c::plain, List.of(c::plain, c::plain, c::attached, c::attached, c::many,
				c::fail), c::missing);
			System.exit(0);
		} catch (Throwable t) {
			t.printStackTrace();
			System.exit(1);
		}
	}
}
