// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.server.RpcServer;
import com.baidu.brpc.server.RpcServerOptions;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;

/** BrpcServer PORT */
public class BrpcServer implements Depot {
	/** An attachment is answered by one of its own. */
	@Override
	public DepotProto.Got put(DepotProto.Put put) {
		RpcContext context = RpcContext.getContext();
		ByteBuf attachment = context.getRequestBinaryAttachment();
		if (attachment != null && attachment.isReadable())
			context.setResponseBinaryAttachment(Unpooled.wrappedBuffer(
				("for " + Log.rp(put.getToken())).getBytes(StandardCharsets.UTF_8)));
		try {
			Thread.sleep(put.getWaitMs());
		} catch (InterruptedException e) {
			throw new IllegalStateException(e);
		}
		return DepotProto.Got.newBuilder().setToken(Log.rp(put.getToken())).setPad(put.getPad())
			.setBig(1L << 40).build();
	}

	@Override
	public DepotProto.Got fail(DepotProto.Put put) {
		throw new IllegalStateException("broken on " + Log.rp(put.getToken()));
	}

	public static void main(String[] args) throws Exception {
		RpcServerOptions options = new RpcServerOptions();
		options.setWorkThreadNum(16);
		RpcServer server = new RpcServer("127.0.0.1", Integer.parseInt(args[0]), options);
		server.registerService(new BrpcServer());
		server.start();
		new CountDownLatch(1).await();
	}
}
