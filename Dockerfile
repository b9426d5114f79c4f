# The controller, static, and the filter that it serves, for every platform from one:
#   make wasm && docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM rust:1.95-slim AS build
# C parts are compiled by zig, which brings the C library's headers for every platform.
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/* && \
    pip install --no-cache-dir --break-system-packages cargo-zigbuild==0.24.0 ziglang==0.17.1
WORKDIR /src
COPY . .
ARG TARGETARCH
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no build for $TARGETARCH" >&2; exit 1 ;; \
    esac && \
    rustup target add "$target" && \
    cargo zigbuild --release --locked -p sluicegate --target "$target" && \
    cp "target/$target/release/sluicegate" /sluicegate

FROM scratch
COPY --from=build /sluicegate /sluicegate
COPY dist/sluicegate.wasm /sluicegate.wasm
USER 65532:65532
ENTRYPOINT ["/sluicegate"]
