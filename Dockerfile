# One image per program: docker build --target pg-router (or redis-router, http-lb).
#
# Layers from the rarest change to the most frequent: dependencies, which only the manifests and the lock file touch, then
# the sources. The workspace's own crates are stood in for by empty ones until then. Nothing here needs BuildKit, nor a
# registry beyond the two base images.

ARG BUILD_IMAGE=rust:1-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

# --- what we depend on, compiled once ---
FROM ${BUILD_IMAGE} AS dependencies
# For http-lb: pingora's compression library is configured by cmake.
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY proxy-core/Cargo.toml proxy-core/
COPY pg-router/Cargo.toml pg-router/
COPY redis-router/Cargo.toml redis-router/
COPY http-lb/Cargo.toml http-lb/
COPY integration/Cargo.toml integration/
# `clean` forgets the stand-ins: cargo goes by the time of a file, and a checkout may be older than this layer.
RUN set -eu; \
    for crate in proxy-core pg-router integration; do mkdir "$crate/src"; : > "$crate/src/lib.rs"; done; \
    for crate in redis-router http-lb; do mkdir "$crate/src"; echo 'fn main() {}' > "$crate/src/main.rs"; done; \
    cargo build --locked --release -p proxy-core -p pg-router -p redis-router -p http-lb; \
    cargo clean --locked --release -p proxy-core -p pg-router -p redis-router -p http-lb

# --- what all three share when they run ---
FROM ${RUN_IMAGE} AS run
RUN groupadd --gid 10001 turnstile \
 && useradd --uid 10001 --gid turnstile --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin turnstile
COPY LICENSE /usr/share/doc/turnstile/LICENSE

# --- pg-router ---
FROM dependencies AS build-pg-router
COPY proxy-core/src proxy-core/src
COPY pg-router/src pg-router/src
RUN cargo build --locked --release -p pg-router

FROM run AS pg-router
COPY --from=build-pg-router /src/target/release/pg-router /usr/local/bin/
# An empty configuration: mount yours over it, or set everything by environment. And a place for the last epoch, which
# must outlive the container.
RUN install -D -m 644 /dev/null /etc/pg-router/pg-router.toml \
 && install -d -o turnstile -g turnstile -m 700 /var/lib/pg-router
ENV PG_ROUTER_CONFIG=/etc/pg-router/pg-router.toml
VOLUME /var/lib/pg-router
EXPOSE 6432 9187
USER 10001:10001
ENTRYPOINT ["pg-router"]

# --- redis-router ---
FROM dependencies AS build-redis-router
COPY proxy-core/src proxy-core/src
COPY redis-router/src redis-router/src
RUN cargo build --locked --release -p redis-router

FROM run AS redis-router
COPY --from=build-redis-router /src/target/release/redis-router /usr/local/bin/
RUN install -D -m 644 /dev/null /etc/redis-router/redis-router.toml \
 && install -d -o turnstile -g turnstile -m 700 /var/lib/redis-router
ENV REDIS_ROUTER_CONFIG=/etc/redis-router/redis-router.toml
VOLUME /var/lib/redis-router
EXPOSE 6379 9121
USER 10001:10001
ENTRYPOINT ["redis-router"]

# --- http-lb ---
FROM dependencies AS build-http-lb
COPY proxy-core/src proxy-core/src
COPY http-lb/src http-lb/src
RUN cargo build --locked --release -p http-lb

FROM run AS http-lb
COPY --from=build-http-lb /src/target/release/http-lb /usr/local/bin/
RUN install -D -m 644 /dev/null /etc/http-lb/http-lb.toml
ENV HTTP_LB_CONFIG=/etc/http-lb/http-lb.toml
EXPOSE 8080 9180
USER 10001:10001
ENTRYPOINT ["http-lb"]
