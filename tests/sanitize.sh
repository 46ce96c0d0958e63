#!/usr/bin/env bash
# Runs the unit tests of the kernels, the only folder with unsafe code, and of the engine on them under AddressSanitizer,
# for every instruction set of this machine. Needs a nightly toolchain: rustup toolchain install nightly
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "no nightly toolchain: rustup toolchain install nightly" >&2
    exit 2
fi
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=address -Copt-level=1" ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1"
cargo +nightly test --locked --target "$host" --target-dir target/sanitize --lib --no-default-features -- kernels:: execution:: ops::
