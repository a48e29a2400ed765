# One image for the API and the worker: it runs `hogsend api` by default; pass `worker` for the worker.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Without the default features: the embedded Postgres is for development. The build checks queries
# against .sqlx/ and compiles the migrations in, so only the binary is copied from this stage.
RUN cargo build --release --locked --package hogsend --no-default-features \
    && cp target/release/hogsend /usr/local/bin/hogsend

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/hogsend --create-home hogsend \
    && mkdir /plugins
COPY --from=build /usr/local/bin/hogsend /usr/local/bin/hogsend

# `development` enables access without credentials, which a reachable server must not allow.
ENV NODE_ENV=production \
    PLUGIN_DIR=/plugins \
    HOGSEND_DATA_DIR=/var/lib/hogsend
WORKDIR /var/lib/hogsend
USER hogsend
EXPOSE 3002
ENTRYPOINT ["hogsend"]
CMD ["api"]
