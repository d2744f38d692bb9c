// SPDX-License-Identifier: Apache-2.0
package demo;

import static demo.Tokens.rp;

import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.dubbo.common.stream.StreamObserver;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;

/** Server PORT SERIALIZATION: Shop by dubbo2 on PORT and by triple on PORT + 1, Flow by triple. */
public class Server {
	static class ShopImpl implements Shop {
		final Set<String> slowDone = ConcurrentHashMap.newKeySet();

		@Override
		public String touch(String token) {
			RpcContext.getServerResponseContext().setAttachment("served-for", rp(token));
			return "touched " + rp(token);
		}

		@Override
		public Item look(Item item, int count, long big, double weight, boolean on) {
			return Item.of(rp(item.token), item.pad);
		}

		@Override
		public void tidy(String token) {
			RpcContext.getServerResponseContext().setAttachment("served-for", rp(token));
		}

		@Override
		public void note(Item item) {
		}

		@Override
		public String refuse(String token) throws Refused {
			throw new Refused("no stock for " + rp(token));
		}

		@Override
		public String broken(String token) {
			throw new IllegalStateException("broken on " + rp(token));
		}

		@Override
		public CompletableFuture<String> later(String token, int ms) {
			return CompletableFuture.supplyAsync(() -> "later " + rp(token),
				CompletableFuture.delayedExecutor(ms, TimeUnit.MILLISECONDS));
		}

		@Override
		public String slow(String token, int ms) {
			pause(ms);
			slowDone.add(rp(token));
			return "slow " + rp(token);
		}

		@Override
		public String settled(String token, String slow) {
			while (!slowDone.contains(slow))
				pause(5);
			pause(20); // its reply is being written by another thread
			return "settled " + rp(token);
		}

		static void pause(int ms) {
			try {
				Thread.sleep(ms);
			} catch (InterruptedException e) {
				throw new IllegalStateException(e);
			}
		}
	}

	static class FlowImpl implements Flow {
		@Override
		public void watch(String token, StreamObserver<String> out) {
			for (int i = 0; i < 3; i++)
				out.onNext(rp(token) + i);
			out.onCompleted();
		}

		@Override
		public StreamObserver<String> talk(StreamObserver<String> out) {
			return new StreamObserver<>() {
				@Override
				public void onNext(String message) {
					out.onNext(rp(message));
				}

				@Override
				public void onError(Throwable t) {
				}

				@Override
				public void onCompleted() {
					out.onCompleted();
				}
			};
		}
	}

	static ProtocolConfig protocol(String name, int port, String serialization) {
		ProtocolConfig p = new ProtocolConfig(name, port);
		p.setHost("127.0.0.1");
		p.setSerialization(serialization);
		return p;
	}

	static <T> ServiceConfig<T> service(Class<T> type, T impl, ProtocolConfig... p) {
		ServiceConfig<T> s = new ServiceConfig<>();
		s.setInterface(type);
		s.setRef(impl);
		s.setVersion("1.2.3");
		s.setProtocols(List.of(p));
		return s;
	}

	public static void main(String[] args) throws Exception {
		int port = Integer.parseInt(args[0]);
		String serialization = args[1];
		ApplicationConfig app = new ApplicationConfig("shop");
		app.setQosEnable(false);
		app.setRegisterMode("interface");
		ProtocolConfig dubbo = protocol("dubbo", port, serialization),
			tri = protocol("tri", port + 1, serialization);
		Shop shop = new ShopImpl();
		DubboBootstrap.getInstance().application(app).registry(new RegistryConfig("N/A"))
			.service(service(Shop.class, shop, dubbo, tri))
			.service(service(Flow.class, new FlowImpl(), tri))
			.start();
		System.out.println("ready");
		new CountDownLatch(1).await();
	}
}
