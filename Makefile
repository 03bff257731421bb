# make demo   run the quickstart experiment on the embedded model and leave a report
# make test   install what the tests need and run all of them
# make bench  run the benchmarks
# make lint   gofmt, vet, staticcheck

GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test bench lint clean

all: build

build:
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/coordbench ./cmd/coordbench
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/coordbench-agent ./cmd/coordbench-agent

demo: build
	$(BIN)/coordbench run quickstart

lint:
	@fmt=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$fmt" ]; then echo "not gofmt-ed:"; echo "$$fmt"; exit 1; fi
	$(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# -count=1: a cached pass says nothing about this machine.
test: lint build
	CGO_ENABLED=0 GOOS=android GOARCH=arm64 $(GO) build -o /dev/null ./cmd/coordbench-agent
	$(GO) test -race ./engine/kernels ./engine/kvcache ./engine/speculate ./experiments/...
	$(GO) test -count=1 ./...

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf $(BIN)
