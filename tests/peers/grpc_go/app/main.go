// SPDX-License-Identifier: Apache-2.0

// Both ends: main server PORT [--age] | client PORT KINDS. Messages are google.protobuf.StringValue.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

type expect = map[string]any

type line struct {
	Token   string           `json:"token"`
	Reply   *string          `json:"reply_token"`
	Expect  expect           `json:"expect"`
	Hop     string           `json:"hop"`
	Stream  map[string][]int `json:"stream,omitempty"`
	Request []byte           `json:"request_body,omitempty"`
	Answer  []byte           `json:"response_body,omitempty"`
	Allowed []string         `json:"flags_allowed,omitempty"`
}

var (
	hop     string
	logFile *os.File
	logLock sync.Mutex
	number  atomic.Int64
)

func say(l line) {
	l.Hop = hop
	b, err := json.Marshal(l)
	must(err)
	logLock.Lock()
	defer logLock.Unlock()
	_, err = logFile.Write(append(b, '\n'))
	must(err)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func newToken() string { return fmt.Sprintf("tk%05x-%04d_", os.Getpid(), number.Add(1)) }

func replyOf(token string) *string {
	r := "rp" + token[2:]
	return &r
}

func tokenOf(s string) string {
	at := strings.Index(s, "tk")
	return s[at : at+strings.Index(s[at:], "_")+1]
}

func outcome(code int) string {
	switch code {
	case 0:
		return "OK"
	case 2, 4, 12, 13, 14, 15:
		return "SERVER_ERROR"
	}
	return "CLIENT_ERROR"
}

func want(method string, code int, kind string, more expect) expect {
	e := expect{"protocol": "grpc", "service": "peer.go.Echo", "method": method, "path": "/peer.go.Echo/" + method,
		"status_code": code, "outcome": outcome(code), "call_type": kind}
	for k, v := range more {
		e[k] = v
	}
	return e
}

func anyOf(v ...any) expect { return expect{"any": v} }

// What a deadline looks like on the wire: reset by the client, or told by the server, whoever is first.
func deadlineWant() expect {
	return expect{"outcome": anyOf("ABORTED", "SERVER_ERROR", "NO_RESPONSE"), "status_code": anyOf(0, 4)}
}

func wire(s string) []byte {
	b, err := proto.Marshal(&text{Value: s})
	must(err)
	return b
}

func filler(token string, n int) string {
	var b strings.Builder
	b.WriteString(token + "|")
	seed := uint32(len(token)) * 2654435761
	for _, c := range token {
		seed = seed*31 + uint32(c)
	}
	for b.Len() < n {
		seed = seed*1103515245 + 12345
		fmt.Fprintf(&b, "%08x", seed)
	}
	return b.String()[:max(n, len(token)+1)]
}

func details(token string, code int) string {
	return fmt.Sprintf("failed with %d: 100%% %%41 \u00e9\u4f60\U0001f600\n%s", code, *replyOf(token))
}

func main() {
	var err error
	logFile, err = os.OpenFile(os.Getenv("PEER_LOG"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	must(err)
	hop = "127.0.0.1:" + os.Args[2]
	if os.Args[1] == "server" {
		serve(len(os.Args) > 3)
		return
	}
	round := client(strings.Split(os.Args[3], ","))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		round()
		fmt.Println("done")
	}
}
