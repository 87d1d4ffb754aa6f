# syntax=docker/dockerfile:1

# The image of the gateway, the controller and the compressor: `docker build -t imagebatch .`
FROM rust:1.95-bookworm AS build
# `dev` has failpoints, for tests.
ARG PROFILE=release
# cmake for aws-lc, the C library behind TLS, and for libaom, the one behind AVIF, which also takes an assembler.
RUN apt-get update && apt-get install -y --no-install-recommends cmake nasm && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive a build, so that the next one compiles only what changed; what they hold is not in any layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    RUSTC_WRAPPER=/src/tests/image/rustc cargo build --locked --profile $PROFILE --bins \
    && cd "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")" \
    && install -D -t /out gateway controller compressor \
    && strip --strip-debug --wildcard --strip-symbol='/*' --remove-section=.note.gnu.build-id /out/*

# The C library, certificates and a user without rights; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /usr/local/bin/
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
