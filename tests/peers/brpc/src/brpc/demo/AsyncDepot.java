// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.brpc.client.RpcCallback;
import java.util.concurrent.Future;

/** Depot without waiting. */
public interface AsyncDepot extends Depot {
	Future<DepotProto.Got> put(DepotProto.Put put, RpcCallback<DepotProto.Got> done);

	Future<DepotProto.Got> fail(DepotProto.Put put, RpcCallback<DepotProto.Got> done);
}
