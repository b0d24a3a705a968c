# syntax-free on purpose: the builder that comes with the engine does, and no registry is asked for a frontend.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock rustfmt.toml ./
COPY services services
# The scenarios that come with the swarm are part of it.
COPY deploy/scenarios deploy/scenarios
# Registry and dependencies stay in caches, so an edit to one architecture rebuilds the workspace's crates and no others.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package zenlab && \
    install -D --strip target/release/zenlab /out/zenlab && \
    install -d -o 65532 -g 65532 -m 0770 /out/run/zen /out/run/token

FROM gcr.io/distroless/cc-debian13:nonroot
# Owned by the user that the servers run as: a volume that is mounted on a path which the image lacks would be root's.
COPY --from=build --chown=65532:65532 /out/run /run
COPY --from=build /out/zenlab /zenlab
USER 65532:65532
ENTRYPOINT ["/zenlab"]
