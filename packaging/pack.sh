#!/usr/bin/env bash
# pack.sh PROGRAM NAME: NAME.tar.gz with zeroq, its completions and manual pages, licences and changelog, once zeroq has quantized a model.
set -euo pipefail
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
name=$2
[ -e "$program" ] || program=$program.exe
sources=$(cd "$(dirname "$0")/.." && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
folder=$scratch/$name
mkdir -p "$folder/completions" "$folder/man"
"$program" quantize "$sources/models/digits_resnet.onnx" -o "$scratch/model_int8.onnx" --no-distill -n 32 -q

cp "$program" "$sources"/{README.md,CHANGELOG.md,LICENSE-APACHE,LICENSE-MIT} "$folder"
for shell in bash elvish fish powershell zsh; do
    "$program" completions "$shell" > "$folder/completions/zeroq.$shell"
done
"$program" man -o "$folder/man" --force
tar -czf "$name.tar.gz" -C "$scratch" "$name"
