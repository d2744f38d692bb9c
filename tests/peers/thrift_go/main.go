// SPDX-License-Identifier: Apache-2.0

// Apache Thrift for Go: shop server|client PORT PROTOCOL TRANSPORT [multiplexed]
package main

import (
	"log"
	"os"
	"slices"

	"github.com/apache/thrift/lib/go/thrift"
)

var (
	address     = "127.0.0.1:" + os.Args[2]
	protocol    = os.Args[3]
	transport   = os.Args[4]
	multiplexed = slices.Contains(os.Args, "multiplexed")
)

func protocolFactory() thrift.TProtocolFactory {
	if protocol == "compact" {
		return thrift.NewTCompactProtocolFactoryConf(nil)
	}
	strict := protocol == "strict"
	return thrift.NewTBinaryProtocolFactoryConf(&thrift.TConfiguration{
		TBinaryStrictRead: &strict, TBinaryStrictWrite: &strict})
}

func transportFactory() thrift.TTransportFactory {
	buffered := thrift.NewTBufferedTransportFactory(8192)
	if transport == "framed" {
		return thrift.NewTFramedTransportFactoryConf(buffered, nil)
	}
	return buffered
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if os.Args[1] == "server" {
		serve()
	} else {
		call()
	}
}
