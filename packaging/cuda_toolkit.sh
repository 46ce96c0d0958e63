#!/usr/bin/env bash
# Makes a CUDA 13.0 toolkit with cuDNN in a folder, of wheels from the Python package index: enough to build zeroq with
# --features cudnn where no toolkit is installed, even without a card. Prints the environment to build and to run with.
#
#     packaging/cuda_toolkit.sh FOLDER > cuda.env && . ./cuda.env && cargo build --release --locked --features cudnn
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
PYTHON=${PYTHON:-python3}
mkdir -p "$1/wheels"
folder=$(cd "$1" && pwd)

"$PYTHON" -m pip download --quiet --no-deps --dest "$folder/wheels" \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 \
    nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35 nvidia-cudnn-cu13==9.28.0.42 >&2
for wheel in "$folder"/wheels/*.whl; do
    "$PYTHON" -m zipfile -e "$wheel" "$folder"
done

home=$folder/nvidia/cu13
chmod +x "$home"/bin/* "$home"/nvvm/bin/*
cp -f "$folder"/nvidia/cudnn/include/* "$home/include/"
cp -f "$folder"/nvidia/cudnn/lib/* "$home/lib/"
ln -sfn lib "$home/lib64"
for library in "$home"/lib/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%.so.*}.so"
done

# The driver brings libcuda; to link without one, a library with the names that cuda.h declares.
mkdir -p "$home/lib/stubs"
grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$home/include/cuda.h" | sort -u | sed 's/.*/int &(void) { return 999; }/' > "$folder/stub.c"
"${CC:-cc}" -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$home/lib/stubs/libcuda.so" "$folder/stub.c"

cat <<END
export CUDA_HOME=$home CUDA_PATH=$home CUDA_ROOT=$home PATH=$home/bin:\$PATH
export CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90} LD_LIBRARY_PATH=$home/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
END
