module demo/peer

go 1.24

require github.com/cloudwego/kitex v0.16.0

tool github.com/cloudwego/kitex/tool/cmd/kitex
