# The gateway in an image without a shell, as a user without rights. Build it with BuildKit (Docker 23 or later):
#
#     docker build --tag flowgate .
#     docker run --rm flowgate --help
#
# Both bases are Debian 12, so the C library the binary was linked against is the one it runs with.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build

# What puts the gateway through its work while it is being built (benches/pgo), and the tools of the compiler's own LLVM.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx-light nghttp2-client openssl python3 wrk \
    && rm -rf /var/lib/apt/lists/* \
    && rustup component add llvm-tools

# What .dockerignore lets through: sources, what is compiled in, and the work.
COPY . .
# The commit as it appears in flowgate_build_info: --build-arg FLOWGATE_COMMIT="$(git rev-parse HEAD)"
ARG FLOWGATE_COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry benches/pgo

# The C library, libgcc and the certificates of the public authorities; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG FLOWGATE_COMMIT=unknown
LABEL org.opencontainers.image.title="flowgate" \
      org.opencontainers.image.description="An authenticating gateway in front of Power Automate flow triggers, Logic Apps and Microsoft Graph" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${FLOWGATE_COMMIT}"
COPY --from=build /build/LICENSE /LICENSE
# A folder of PATH, so that `kubectl exec … -- flowgate doctor` finds it.
COPY --from=build /build/target/pgo/flowgate /usr/local/bin/flowgate
USER 65532:65532
# Callers; metrics and probes. Inside a container both have to listen on 0.0.0.0: see server.listen and admin.listen.
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/flowgate"]
CMD ["serve", "--config", "/etc/flowgate/flowgate.yaml"]
