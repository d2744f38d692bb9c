// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	kindPlain = iota
	kindRefused
	kindBusy
	kindBiz
	kindFail
	kindCancel
)

type fields = map[string]any

// What the log says of one call: see tests/peers/README.md.
type entry struct {
	Token      string           `json:"token"`
	ReplyToken *string          `json:"reply_token"`
	Expect     fields           `json:"expect"`
	Stream     map[string][]int `json:"stream,omitempty"`
}

// One scenario: what every record of it must say, and the calls of one round.
type run struct {
	base   fields
	calls  []func()
	log    *os.File
	mutex  sync.Mutex
	serial atomic.Int64
	nonce  string
}

func (r *run) token() string {
	return fmt.Sprintf("tk%s-%d_", r.nonce, r.serial.Add(1))
}

// rp is the token of the reply to a request's.
func rp(token string) string { return "rp" + strings.TrimPrefix(token, "tk") }

// pad keeps the bodies of golden captures small, and those of other runs of many sizes.
func pad(token string) string {
	if os.Getenv("PEER_GOLDEN") != "" {
		return ""
	}
	return strings.Repeat("pad ", int(crc32.ChecksumIEEE([]byte(token))%3000))
}

// call logs what was asked and answered; reply "" says that no reply carried a token.
func (r *run) call(token, reply string, expect fields) {
	r.stream(token, reply, expect, nil)
}

// stream: sizes gives those of the messages.
func (r *run) stream(token, reply string, expect fields, sizes map[string][]int) {
	e := entry{Token: token, Expect: maps.Clone(r.base), Stream: sizes}
	maps.Copy(e.Expect, expect)
	if reply != "" {
		e.ReplyToken = &reply
	}
	line, err := json.Marshal(e)
	must(err)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_, err = r.log.Write(append(line, '\n'))
	must(err)
}

func check(ok bool, what string, token string, err error) {
	if !ok {
		must(fmt.Errorf("%s of %s: not the expected answer (error %v)", what, token, err))
	}
}

// Every call of the round at once, so that several are in flight; twice the same kind, one after the other.
func (r *run) round() {
	var all sync.WaitGroup
	for _, call := range r.calls {
		all.Add(1)
		go func() {
			defer all.Done()
			call()
			call()
		}()
	}
	all.Wait()
}

func runClient(name string, port int) {
	log, err := os.OpenFile(os.Getenv("PEER_LOG"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(err)
	var nonce [4]byte
	_, err = rand.Read(nonce[:])
	must(err)
	r := &run{log: log, nonce: hex.EncodeToString(nonce[:])}
	setup, ok := scenarios[name]
	if !ok {
		must(fmt.Errorf("no scenario %q", name))
	}
	setup(r, port)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		r.round()
		fmt.Println("done")
	}
}
