module demo/daprd

go 1.22

require github.com/dapr/dapr v1.14.0
