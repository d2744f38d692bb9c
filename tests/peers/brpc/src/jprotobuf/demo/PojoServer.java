// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.jprotobuf.pbrpc.ProtobufRPCService;
import com.baidu.jprotobuf.pbrpc.ServerAttachmentHandler;
import com.baidu.jprotobuf.pbrpc.transport.RpcServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** PojoServer PORT */
public class PojoServer {
	/** Answers "for REPLY TOKEN". */
	public static class Attacher implements ServerAttachmentHandler {
		@Override
		public byte[] handleAttachement(byte[] attachment, String service, String method,
			Object... args) {
			return ("for " + Log.rp(((PojoPut) args[0]).token)).getBytes(StandardCharsets.UTF_8);
		}
	}

	@ProtobufRPCService(serviceName = PojoDepot.SERVICE, methodName = "Put")
	public PojoGot put(PojoPut put) {
		PojoGot got = new PojoGot();
		got.token = Log.rp(put.token);
		got.pad = put.pad;
		return got;
	}

	@ProtobufRPCService(serviceName = PojoDepot.SERVICE, methodName = "PutGzip")
	public PojoGot putGzip(PojoPut put) {
		return put(put);
	}

	@ProtobufRPCService(serviceName = PojoDepot.SERVICE, methodName = "PutSnappy")
	public PojoGot putSnappy(PojoPut put) {
		return put(put);
	}

	@ProtobufRPCService(serviceName = PojoDepot.SERVICE, methodName = "PutAttached",
		attachmentHandler = Attacher.class)
	public PojoGot putAttached(PojoPut put) {
		return put(put);
	}

	@ProtobufRPCService(serviceName = PojoDepot.SERVICE, methodName = "Fail")
	public PojoGot fail(PojoPut put) {
		throw new IllegalStateException("broken on " + Log.rp(put.token));
	}

	public static void main(String[] args) throws Exception {
		RpcServer server = new RpcServer();
		server.registerService(new PojoServer());
		server.start(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
		server.waitForStop();
	}
}
