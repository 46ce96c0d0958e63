# Needs cargo, a C compiler, make and Python 3.11 or newer; everything else it installs into .venv.
PYTHON ?= python3
KIT ?= ../shared/kit
VENV := $(CURDIR)/.venv
VENV_PYTHON := $(VENV)/bin/python
INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check
# The shared library inside the onnxruntime wheel; found when a recipe runs, when the wheel is there.
ORT_DYLIB = $(shell find $(VENV)/lib -path '*onnxruntime/capi/*' \( -name 'libonnxruntime.so*' -o -name 'libonnxruntime.*dylib' \) 2>/dev/null | head -n 1)
TEST_ENV = ORT_DYLIB_PATH="$(ORT_DYLIB)" ZEROQ_PYTHON="$(VENV_PYTHON)"
CARGO_TEST = $(TEST_ENV) cargo test --release --locked

.PHONY: all test oracles lint fuzz sanitize deny kit accuracy clean

all:
	cargo build --release --locked

$(VENV)/.stamp: tests/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "onnxruntime needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	$(INSTALL) -r tests/requirements.txt
	touch $@

# protoc, which only the build of candle-onnx needs.
$(VENV)/.stamp-oracles: $(VENV)/.stamp tests/requirements-oracles.txt
	$(INSTALL) -r tests/requirements-oracles.txt
	touch $@

# The whole suite, with what needs ONNX Runtime, onnx.checker and candle. ARGS="filter" narrows it.
test: $(VENV)/.stamp
	$(CARGO_TEST) --features candle $(ARGS)

# Single operators against candle-onnx.
oracles: $(VENV)/.stamp-oracles
	PROTOC="$(CURDIR)/tests/protoc.sh" $(CARGO_TEST) --features oracles --test oracles $(ARGS)

lint:
	cargo fmt --check
	cargo clippy --release --locked --all-targets --features candle -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --features candle

# Each fuzz target for SECONDS from the committed seeds; needs a nightly toolchain and cargo install cargo-fuzz.
SECONDS ?= 60
fuzz:
	@cargo +nightly fuzz --version >/dev/null || { echo "needs a nightly toolchain and cargo-fuzz: rustup toolchain install nightly; cargo install --locked cargo-fuzz" >&2; exit 2; }
	for target in model recipe data; do \
		mkdir -p fuzz/found/$$target && \
		cargo +nightly fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=$(SECONDS) -rss_limit_mb=2048 -timeout=5 -max_len=16384 || exit 1; \
	done

# The unsafe code under AddressSanitizer; needs a nightly toolchain.
sanitize:
	tests/sanitize.sh

deny:
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check $(ARGS); else echo "cargo-deny is not installed: cargo install --locked cargo-deny"; fi

# Quantizes the models of a kit with evaluate.py into target/kit and prints what it measures. ARGS="--quick", "--rest", "--precision fp16", names.
kit: $(VENV)/.stamp all
	$(TEST_ENV) $(VENV_PYTHON) tests/kit.py "$(KIT)" $(ARGS)

# Every goal of accuracy, size and latency beside what is reached; hours of one core. ARGS="--quick", "--only 'W8A8*'", "--page FILE".
accuracy: $(VENV)/.stamp all
	$(TEST_ENV) $(VENV_PYTHON) benches/accuracy/accuracy.py "$(KIT)" $(ARGS)

clean:
	rm -rf $(VENV)
	cargo clean
