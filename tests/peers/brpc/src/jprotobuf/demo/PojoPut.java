// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.bjf.remoting.protobuf.annotation.Protobuf;

public class PojoPut {
	@Protobuf(order = 1, required = true)
	public String token;

	@Protobuf(order = 2)
	public String pad;
}
