# The interface of this repository; .ci/run calls only what is here. `make` alone lists the targets.
SHELL := bash
CARGO ?= cargo
TOOLS := tools/install.sh
WASI  := wasm32-wasip1

# Exports that stay in the linked filter; see tools/link.mjs for why no other may.
KEEP_SPLIT := memory,_initialize,proxy_abi_version_0_2_1,proxy_on_memory_allocate,proxy_on_context_create,proxy_on_configure,proxy_on_tick,proxy_on_http_call_response,proxy_on_request_headers
# Setting the sticky cookie needs the response headers, and observing needs the log callback: only in the counting artefact.
KEEP_COUNT := $(KEEP_SPLIT),proxy_on_response_headers,proxy_on_log
KEEP_RAW_NOOP := memory,proxy_abi_version_0_2_1,proxy_on_memory_allocate,proxy_on_request_headers

# Builds the controller and all that tests run. Always of the whole workspace and with the tests: any other choice of
# packages has other features of what they share, and cargo would build all of that once more.
BUILD := $(CARGO) test --quiet --workspace --test it --test e2e --no-run

# The controller as it is shipped, and a benchmark; takes minutes the first time. The same packages always, for the same reason.
RELEASE := $(CARGO) build --quiet --release -p sluicegate -p sluicegate-tests --bin sluicegate

.DEFAULT_GOAL := help
.PHONY: help tools wasm build test test-envoy-versions test-gateways check unit core-wasm generated e2e demo demo-kube screenshots local bench bench-extproc bench-fanout bench-gateways bench-judge bench-kube soak fmt clean
.NOTPARALLEL:

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

tools: ## install every pinned tool (the other targets install what they need)
	@$(TOOLS) envoy prometheus kubernetes helm lua mesh-crds browser binaryen rust-targets cargo-deny wasm-bindgen

wasm: dist/sluicegate.wasm dist/sluicegate-split.wasm ## build the filter: dist/sluicegate.wasm and dist/sluicegate-split.wasm

build: wasm ## build the filter, the controller and the test programs
	@$(BUILD)

test: check unit core-wasm generated e2e ## everything that must hold: formats, lints, docs, licences, all tests

check: ## formats, lints, docs, licences
	@$(TOOLS) rust-targets cargo-deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p sluicegate-filter --target $(WASI) -- -D warnings
	$(CARGO) clippy -p sluicegate-filter --target $(WASI) --no-default-features -- -D warnings
	$(CARGO) clippy -p sluicegate-filter --target $(WASI) --features faults -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --exclude sluicegate-filter --no-deps --document-private-items --quiet
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -p sluicegate-filter --target $(WASI) --no-deps --document-private-items --quiet
	PATH="$(CURDIR)/.tools:$$PATH" $(CARGO) deny --log-level error check bans licenses sources

unit: ## the native tests of every crate but the end-to-end ones
	$(CARGO) test --workspace --lib --bins --test it --test laws
	$(CARGO) test --workspace --doc

core-wasm: ## the tests of core again, on wasm32-unknown-unknown under Node
	@$(TOOLS) rust-targets wasm-bindgen
	CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$(CURDIR)/.tools/wasm-bindgen" $(CARGO) test -p sluicegate-core --target wasm32-unknown-unknown

generated: ## committed files that a program makes are what it makes today; paths in documents and in the image exist
	@tools/check-generated.sh
	@tools/check-paths.sh
	@tools/check-image.sh

# Most of them wait for something for most of their time.
E2E_THREADS ?= $(shell cores=$$(nproc); echo $$(( cores < 4 ? 2 * cores : cores )))

e2e: wasm dist/sluicegate-faults.wasm ## the tests on a real Envoy with the real controller
	@$(TOOLS) envoy prometheus kubernetes helm lua mesh-crds browser
	$(BUILD)
	$(CARGO) test --workspace --test e2e -- --test-threads=$(E2E_THREADS)

# Tests of what Envoy does with the filter and with ext-proc.
ENVOYS := 1.36 1.37 1.38 1.39
DATA_PATH := ack:: assignment:: backwards:: config:: counts:: ext_proc:: hostile:: last_good:: plugins:: poller:: with_controller::

# Envoy 1.36 does not show ext_proc the answers that it gives itself.
SKIP_1.36 := --skip failures::ext_proc --skip grpc::ext_proc

test-envoy-versions: wasm dist/sluicegate-faults.wasm ## the data path again, on older releases of Envoy
	@$(TOOLS) envoy envoys
	@$(BUILD)
	@failed=; $(foreach version,$(ENVOYS),echo "== Envoy $(version)"; ENVOY=$(CURDIR)/.tools/envoy-$(version) \
	  $(CARGO) test --quiet --workspace --test e2e --no-fail-fast -- --test-threads=$(E2E_THREADS) $(DATA_PATH) $(SKIP_$(version)) || failed="$$failed $(version)";) \
	[ -z "$$failed" ] || { echo "failed on$$failed"; exit 1; }

# Its own namespaces, and half an hour the first time: not a part of `make test`.
test-gateways: wasm ## our manifests on the real Envoy Gateway and the real Istio, with the Envoys that they configure
	@$(TOOLS) envoy envoy-1.39 kubernetes helm mesh-crds envoy-gateway istio
	@$(BUILD)
	$(CARGO) test --workspace --test gateways -- $(GATEWAYS)

demo: wasm ## weights change and versions are rolled out on a real Envoy, by itself; a terminal gets their page at the end
	@$(TOOLS) envoy
	@$(BUILD)
	@target/debug/demo

demo-kube: wasm ## the same rollouts by kubectl, on a real Kubernetes API server with a real Envoy under load
	@$(TOOLS) envoy kubernetes
	@$(BUILD)
	@target/debug/demo kube

screenshots: wasm ## the pictures of the README (docs/pictures): real rollouts, seen by the pinned browser
	@$(TOOLS) envoy browser
	@$(BUILD)
	@target/debug/screenshots

local: wasm ## Envoy, three upstreams and the controller, to play with; Ctrl-C stops them
	@$(TOOLS) envoy
	@$(BUILD)
	@target/debug/local

bench: wasm dist/bench-sdk-noop.wasm dist/bench-raw-noop.wasm ## what a request costs, beside rivals; what a weight change costs
	@$(TOOLS) envoy
	@# The controller as the tests build it: it is not in the path of a request, and a release build takes minutes.
	@$(BUILD)
	@$(CARGO) build --quiet --release -p sluicegate-tests --bin bench
	@SLUICEGATE_BIN="$${SLUICEGATE_BIN:-target/debug/sluicegate}" target/release/bench $(BENCH)

bench-extproc: wasm ## what a request costs, and waits, by ext-proc, beside the filter, Lua and Envoy's own split
	@$(TOOLS) envoy
	@$(RELEASE) --bin bench
	@SLUICEGATE_BIN="$${SLUICEGATE_BIN:-target/release/sluicegate}" target/release/bench extproc $(BENCH)

bench-fanout: ## what thousands of proxies cost one controller: changes, memory, a restart, slow readers
	@$(RELEASE) --bin bench_fanout
	@SLUICEGATE_BIN="$${SLUICEGATE_BIN:-target/release/sluicegate}" target/release/bench_fanout $(BENCH)

bench-gateways: wasm ## how soon a weight change reaches requests on the real gateways, ours beside their own weights
	@$(TOOLS) envoy envoy-1.39 kubernetes helm mesh-crds envoy-gateway istio
	@$(RELEASE)
	@$(BUILD)
	@SLUICEGATE_BIN="$${SLUICEGATE_BIN:-$(CURDIR)/target/release/sluicegate}" \
	  $(CARGO) test --quiet --workspace --test gateways -- --side-by-side $(BENCH)

bench-kube: wasm ## what the controller asks of an API server, and its memory, by the size of the cluster
	@$(TOOLS) envoy kubernetes
	@$(BUILD)
	@target/debug/bench_kube $(BENCH)

soak: wasm dist/sluicegate-faults.wasm ## ten minutes of load, changes, kills and traps: nothing lost, memory flat
	@$(TOOLS) envoy
	@$(BUILD)
	@target/debug/soak $(BENCH)

bench-judge: ## how often the judge takes back an equal release, and how soon a worse one; as tables
	@$(CARGO) run --quiet --release -p sluicegate-core --example bench_judge -- $(BENCH)

fmt: ## format the sources
	$(CARGO) fmt --all

clean: ## remove what was built (the tools stay)
	rm -rf dist
	$(CARGO) clean

# --- the Wasm modules. Cargo decides whether to rebuild; relinking happens only when its output changed. ---
.PHONY: FORCE
FORCE:

# $(call module,PACKAGE FLAGS,FILE,TARGET DIR,PROFILE): builds, then updates $@ only if the bytes differ.
define module
	@$(TOOLS) rust-targets binaryen
	@mkdir -p $(@D)
	@$(CARGO) build --quiet --profile $(4) --target $(WASI) --target-dir $(3) $(1)
	@cmp -s $(3)/$(WASI)/$(4)/$(2) $@ || cp $(3)/$(WASI)/$(4)/$(2) $@
endef

target/wasm/sluicegate.wasm: FORCE
	$(call module,-p sluicegate-filter,sluicegate_filter.wasm,target,wasm)
# In a folder of its own: with two sets of features in one, each build would throw the other away.
target/wasm/sluicegate-split.wasm: FORCE
	$(call module,-p sluicegate-filter --no-default-features,sluicegate_filter.wasm,target/split,wasm)
target/wasm/sluicegate-faults.wasm: FORCE
	$(call module,-p sluicegate-filter --features faults,sluicegate_filter.wasm,target/faults,wasm)
target/wasm/bench-raw-noop.wasm: FORCE
	$(call module,-p bench-raw-noop,bench_raw_noop.wasm,target,release)
target/wasm/bench-sdk-noop.wasm: FORCE
	$(call module,-p bench-sdk-noop,bench_sdk_noop.wasm,target,release)

dist/sluicegate.wasm: target/wasm/sluicegate.wasm tools/link.mjs
	@node tools/link.mjs $< $@ --keep $(KEEP_COUNT)
dist/sluicegate-split.wasm: target/wasm/sluicegate-split.wasm tools/link.mjs
	@node tools/link.mjs $< $@ --keep $(KEEP_SPLIT)
# The filter with deliberate faults (filter/src/fault.rs), for the tests only.
dist/sluicegate-faults.wasm: target/wasm/sluicegate-faults.wasm tools/link.mjs
	@node tools/link.mjs $< $@ --keep $(KEEP_COUNT)
dist/bench-raw-noop.wasm: target/wasm/bench-raw-noop.wasm tools/link.mjs
	@node tools/link.mjs $< $@ --keep $(KEEP_RAW_NOOP)
# The rival on the SDK keeps all its exports and is not optimised further: that is how such filters are shipped.
dist/bench-sdk-noop.wasm: target/wasm/bench-sdk-noop.wasm
	@mkdir -p dist
	@cp $< $@
