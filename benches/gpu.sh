#!/usr/bin/env bash
# What a CUDA card does with zeroq: the tests of the engine on tensors, on the card, then steps against PyTorch and whole runs.
# Under 10 minutes; its output is meant for RESULTS-GPU.md.
#
#     benches/gpu.sh [MODEL.onnx ...]          builds with --features cudnn, which needs the CUDA toolkit and cuDNN
#     BIN=folder benches/gpu.sh [MODEL.onnx ...]   uses what `benches/gpu.sh --build folder` made on another machine, and packed into folder.tar.xz
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

build() {
    mkdir -p "$1"
    cargo build --release --locked --features cudnn
    cp "$(artifact --bin zeroq)" "$1/zeroq"
    cp "$(artifact --bench steps)" "$1/steps"
    cp "$(artifact --lib)" "$1/tests"
    strip "$1/zeroq" "$1/steps" "$1/tests"
    tar -C "$1" -cJf "$1.tar.xz" .
}

# The executable that cargo makes of a target; tests, where the target is the library.
artifact() {
    local command=build
    if [ "$1" = --lib ]; then command="test --no-run"; fi
    # shellcheck disable=SC2086
    cargo $command --release --locked --features cudnn "$@" --message-format json 2>/dev/null |
        "$PYTHON" -c 'import json, sys; print([e["executable"] for e in map(json.loads, sys.stdin) if e.get("executable")][-1])'
}

if [ "${1:-}" = --build ]; then
    build "$2"
    exit
fi
if [ -z "${BIN:-}" ]; then
    BIN=target/gpu
    build "$BIN"
fi

echo "## Tests on the card"
echo
echo '```'
status=0
ZEROQ_TEST_DEVICE=cuda "$BIN/tests" candle tensors gradient product_tests quantization_tests reduction_tests gallery screen interrupted > "$BIN/tests.log" 2>&1 || status=1
grep -E '^test result|FAILED|panicked' "$BIN/tests.log" || tail -n 5 "$BIN/tests.log"
echo '```'
echo
"$PYTHON" benches/gpu.py --zeroq "$BIN/zeroq" --steps "$BIN/steps" "$@"
exit $status
