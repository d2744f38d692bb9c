// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"

	"demo/shop/gen-go/shop"

	"github.com/apache/thrift/lib/go/thrift"
)

type handler struct{}

func replyToken(token string) string { return "rp" + token[2:] }

func (handler) Get(_ context.Context, item *shop.Item) (*shop.Item, error) {
	if item.Number < 0 {
		return nil, &shop.Gone{Why: replyToken(item.Token), Since: item.Number}
	}
	item.Token = replyToken(item.Token)
	return item, nil
}

func (handler) Put(context.Context, string, *shop.Item) error { return nil }

func (handler) Tell(context.Context, string) error { return nil }

func (handler) Fail(context.Context, string) (string, error) { return "", errors.New("as asked") }

func (handler) Count(_ context.Context, token string) (int64, error) { return int64(len(token)), nil }

func serve() {
	var processor thrift.TProcessor = shop.NewShopProcessor(handler{})
	if multiplexed {
		several := thrift.NewTMultiplexedProcessor()
		several.RegisterProcessor("Shop", processor)
		several.RegisterProcessor("demo.Ledger", shop.NewLedgerProcessor(handler{}))
		processor = several
	}
	socket, err := thrift.NewTServerSocket(address)
	must(err)
	must(thrift.NewTSimpleServer4(processor, socket, transportFactory(), protocolFactory()).Serve())
}
