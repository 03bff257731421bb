# make demo   run the quickstart experiment on the embedded model and leave a report
# make test   install what the tests need and run all of them
# make test-arm64   the kernels' tests on three emulated arm64 CPUs
# make bench  run the benchmarks
# make lint   gofmt, vet, staticcheck, generated files

GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test test-arm64 bench lint clean

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
	@sum() { cat engine/kernels/*_amd64.* engine/kernels/*_arm64.* | cksum; }; \
		before=$$(sum); (cd engine/kernels && $(GO) run _gen/main.go); \
		[ "$$before" = "$$(sum)" ] || { echo "engine/kernels: generated files were out of date; they are new now"; exit 1; }

# The real llama.cpp, for the tests that compare with it.
LLAMACPP := $(CURDIR)/$(BIN)/llamacpp
$(LLAMACPP)/libllama.so: | build
	$(BIN)/coordbench llamacpp install $(LLAMACPP)

# The demo models' other formats, where a developer has them: llama.cpp's recorded
# outputs for the f32 file are checked, too.
MODELS := $(abspath $(wildcard ../shared/models))

# Without assembly first, where a generic kernel that is wrong shows; the race
# detector where workers and processes meet. -count=1: a cached pass says nothing
# about this machine. The run over everything comes last: its lines close the log.
test: lint build $(LLAMACPP)/libllama.so test-arm64
	CGO_ENABLED=0 GOOS=android GOARCH=arm64 $(GO) build -o /dev/null ./cmd/coordbench-agent
	$(GO) test -count=1 -tags purego ./engine/kernels ./engine/bench
	$(GO) test -count=1 -race ./engine/kernels ./engine/kvcache ./engine/speculate ./experiments/... ./devices/...
	COORDBENCH_MODELS=$(MODELS) COORDBENCH_LLAMACPP=$(LLAMACPP) COORDBENCH_REQUIRE_LLAMACPP=1 $(GO) test -count=1 ./...

# Each CPU has to reach its best path; on one without an instruction a kernel that
# is chosen wrongly dies of it.
QEMU := qemu-aarch64-static
test-arm64:
	@command -v $(QEMU) >/dev/null || { sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq qemu-user-static; }
	COORDBENCH_REQUIRE=neon GOARCH=arm64 $(GO) test -count=1 -exec '$(QEMU) -cpu cortex-a53' ./engine/kernels
	COORDBENCH_REQUIRE=dotprod,neon GOARCH=arm64 $(GO) test -count=1 -exec '$(QEMU) -cpu cortex-a76' ./engine/kernels
	COORDBENCH_REQUIRE=i8mm,dotprod,neon GOARCH=arm64 $(GO) test -count=1 -exec '$(QEMU) -cpu max' ./engine/kernels

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf $(BIN)
