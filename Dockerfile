# One image for the API and the worker: `hogsend api` by default, `hogsend worker` on request.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Servers bring their own Postgres. Queries are checked against .sqlx/, and the migrations are
# compiled in, so nothing but the binary leaves this stage.
RUN cargo build --release --locked --package hogsend --no-default-features \
    && cp target/release/hogsend /usr/local/bin/hogsend

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/hogsend --create-home hogsend \
    && mkdir /plugins
COPY --from=build /usr/local/bin/hogsend /usr/local/bin/hogsend

# `development` opens doors that a reachable server must keep shut.
ENV NODE_ENV=production \
    PLUGIN_DIR=/plugins \
    HOGSEND_DATA_DIR=/var/lib/hogsend
WORKDIR /var/lib/hogsend
USER hogsend
EXPOSE 3002
ENTRYPOINT ["hogsend"]
CMD ["api"]
