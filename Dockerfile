# The controller, static, and the filter that it serves, for every platform from one:
#   make wasm && docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM rust:1.95-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends clang llvm && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG TARGETARCH
# C parts by clang, linking by the linker that comes with Rust: no tools of the other platform are needed.
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no build for $TARGETARCH" >&2; exit 1 ;; \
    esac && \
    rustup target add "$target" && \
    export TARGET_CC=clang TARGET_AR=llvm-ar && \
    export RUSTFLAGS="-Clink-self-contained=yes -Clinker=rust-lld" && \
    cargo build --release --locked -p sluicegate --target "$target" && \
    cp "target/$target/release/sluicegate" /sluicegate

FROM scratch
COPY --from=build /sluicegate /sluicegate
COPY dist/sluicegate.wasm /sluicegate.wasm
USER 65532:65532
ENTRYPOINT ["/sluicegate"]
