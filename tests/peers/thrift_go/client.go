// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"demo/shop/gen-go/shop"

	"github.com/apache/thrift/lib/go/thrift"
)

var (
	background = context.Background()
	number     atomic.Int32
	logFile    *os.File
)

// Above the frames: what passes is messages, as a record's body has them.
type recorder struct {
	thrift.TTransport
	sent, got []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sent = append(r.sent, p...)
	return r.TTransport.Write(p)
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.TTransport.Read(p)
	r.got = append(r.got, p[:n]...)
	return n, err
}

type connection struct {
	socket   *net.TCPConn
	recorder *recorder
	local    string
	shop     *shop.LaterShopClient
	ledger   *shop.LedgerClient
}

func dial() *connection {
	conn, err := net.Dial("tcp", address)
	must(err)
	inner, err := transportFactory().GetTransport(thrift.NewTSocketFromConnConf(conn, nil))
	must(err)
	c := &connection{socket: conn.(*net.TCPConn), recorder: &recorder{TTransport: inner},
		local: conn.LocalAddr().String()}
	named := func(service string) thrift.TClient {
		p := protocolFactory().GetProtocol(c.recorder)
		if multiplexed {
			p = thrift.NewTMultiplexedProtocol(p, service)
		}
		return thrift.NewTStandardClient(p, p)
	}
	c.shop = shop.NewLaterShopClient(named("Shop"))
	c.ledger = shop.NewLedgerClient(named("demo.Ledger"))
	return c
}

// Returns when the server has closed too: so it has ended what it will never answer.
func (c *connection) close() {
	must(c.socket.CloseWrite())
	_, err := io.Copy(io.Discard, c.socket)
	must(err)
	must(c.recorder.Close())
}

func newToken() string { return fmt.Sprintf("tk%05x-%04d_", os.Getpid(), number.Add(1)) }

type fields map[string]any

func (c *connection) log(token string, replied bool, expect fields) {
	form := map[string]string{"strict": "binary", "old": "old_binary", "compact": "compact"}[protocol]
	framed := "unframed"
	if transport == "framed" {
		framed = "framed"
	}
	all := fields{"protocol": "thrift", "transport": framed + "+" + form, "outcome": "OK", "status_code": 0,
		"call_type": "unary", "client": c.local, "service": nil}
	if multiplexed {
		all["service"] = "Shop"
	}
	for k, v := range expect {
		all[k] = v
	}
	line := fields{"token": token, "reply_token": nil, "expect": all, "request_body": c.recorder.sent}
	if replied {
		line["reply_token"] = replyToken(token)
	}
	if c.recorder.got != nil {
		line["response_body"] = c.recorder.got
	}
	c.recorder.sent, c.recorder.got = nil, nil
	text, err := json.Marshal(line)
	must(err)
	_, err = logFile.Write(append(text, '\n'))
	must(err)
}

func item(token string, n int32) *shop.Item {
	return &shop.Item{Token: token, Number: n, Tags: []string{"a", "", "é"}, Counts: map[string]int64{"big": 1 << 60},
		Blob: []byte(strings.Repeat("\x00\x82", int(n&15))), Fresh: true, Sizes: []int16{-1, 300},
		Part:  &shop.Part{Name: "box", Weight: 3.5, Parts: []*shop.Part{{Name: "bolt"}}},
		Marks: map[int32][]bool{-5: {true, false}}}
}

func (c *connection) ask(n int32) {
	token := newToken()
	got, err := c.shop.Get(background, item(token, n))
	var gone *shop.Gone
	switch {
	case errors.As(err, &gone) && n < 0 && gone.Why == replyToken(token):
		c.log(token, true, fields{"method": "get", "outcome": "DECLARED_EXCEPTION"})
	case err == nil && n >= 0 && got.Token == replyToken(token):
		c.log(token, true, fields{"method": "get"})
	default:
		must(fmt.Errorf("get: %v, %v", got, err))
	}
}

// The library writes a one-way call as a call: nothing tells that no answer is owed (docs/record.md).
func (c *connection) tell() {
	token := newToken()
	must(c.shop.Tell(background, token))
	c.log(token, false, fields{"method": "tell", "outcome": "NO_RESPONSE"})
}

func (c *connection) refused(method string, f func(context.Context, string) (string, error), status int32) {
	token := newToken()
	_, err := f(background, token)
	var refusal thrift.TApplicationException
	if !errors.As(err, &refusal) || refusal.TypeId() != status {
		must(fmt.Errorf("%s: %v", method, err))
	}
	c.log(token, false, fields{"method": method, "outcome": "SERVER_ERROR", "status_code": status,
		"status_text": refusal.Error()})
}

func (c *connection) calls() {
	for _, n := range []int32{1, -1, 2} {
		c.ask(n)
	}
	token := newToken()
	must(c.shop.Put(background, token, item(token, 3)))
	c.log(token, false, fields{"method": "put"})
	c.tell()
	c.refused("later", c.shop.Later, 1)
	c.refused("fail", c.shop.Fail, 6)
	c.tell()
	c.ask(4)
	if multiplexed {
		token := newToken()
		_, err := c.ledger.Count(background, token)
		must(err)
		c.log(token, false, fields{"method": "count", "service": "demo.Ledger"})
	}
}

func call() {
	var err error
	logFile, err = os.OpenFile(os.Getenv("PEER_LOG"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	must(err)
	kept := []*connection{dial(), dial(), dial()}
	for stdin := bufio.NewScanner(os.Stdin); stdin.Scan(); {
		var all sync.WaitGroup
		for _, c := range kept {
			all.Go(c.calls)
		}
		all.Wait()
		short := dial()
		short.ask(5)
		short.tell()
		short.close()
		fmt.Println("done")
	}
	for _, c := range kept {
		c.close()
	}
}
