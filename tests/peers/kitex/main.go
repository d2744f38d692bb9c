// SPDX-License-Identifier: Apache-2.0

// A service and its clients on Kitex, which call it in every way that Kitex puts on the wire.
//
//	peer server PORT           services on PORT.. (see the constants)
//	peer client SCENARIO PORT  one round of calls for each line of its standard input (../README.md)
package main

import (
	"fmt"
	"os"
	"strconv"
)

// What listens on PORT + n.
const (
	portEcho = iota
	portEchoMux
	portStream
	portPb
	portPbStream
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "server" {
		serve(number(os.Args[2]))
	} else if len(os.Args) == 4 && os.Args[1] == "client" {
		runClient(os.Args[2], number(os.Args[3]))
	} else {
		fmt.Fprintln(os.Stderr, "usage: peer server PORT | peer client SCENARIO PORT")
		os.Exit(2)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
