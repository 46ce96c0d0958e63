#!/usr/bin/env bash
# Builds the wheel into target/wheels and tries it in an empty environment. Arguments go to `maturin build`.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/build"
"$scratch/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
"$scratch/build/bin/maturin" build --release --locked --out "$scratch/wheels" "$@"
mkdir -p target/wheels
cp "$scratch"/wheels/*.whl target/wheels/

python3 -m venv "$scratch/clean"
"$scratch/clean/bin/pip" install --quiet --disable-pip-version-check "$scratch"/wheels/*.whl
cp models/digits_resnet.onnx "$scratch/model.onnx"
cd "$scratch"
PATH="$scratch/clean/bin:$PATH"
test "$(command -v zeroq)" = "$scratch/clean/bin/zeroq"
zeroq --version
python - <<'PYTHON'
import zeroq

little = {"n": 16, "steps": 4}
report = zeroq.quantize("model.onnx", "int8.onnx", no_distill=True, **little)
assert report["command"] == "quantize", report
assert zeroq.compare("model.onnx", "int8.onnx", min_sqnr=15, **little)["passed"] is True
assert zeroq.compare("model.onnx", "int8.onnx", min_sqnr=99, **little)["passed"] is False
for wrong in [lambda: zeroq.quantize("model.onnx", "int8.onnx"), lambda: zeroq.compare("no.onnx", "int8.onnx")]:
    try:
        wrong()
    except zeroq.ZeroqError as error:
        print(f"refused as it should be: {error}")
    else:
        raise SystemExit("a wrong call was not refused")
print("the wheel works")
PYTHON
