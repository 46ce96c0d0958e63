# zeroq on the CPU: docker build -t zeroq . && docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" zeroq quantize model.onnx -o model_int8.onnx
# The static binary loads no shared libraries: --max-latency, bench and --autotune, which need ONNX Runtime, do not work in it.
FROM rust:1.95-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache musl-dev
WORKDIR /zeroq
COPY . .
RUN cargo build --release --locked && install -D target/release/zeroq /out/zeroq && mkdir /out/work

FROM scratch
COPY --from=build /out/zeroq /usr/bin/zeroq
COPY --from=build --chown=65532:65532 /out/work /work
COPY --from=build --chown=65532:65532 /out/work /tmp
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/zeroq/
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/bin/zeroq"]
