# One image for the API and the worker: it runs `hogsend api` by default; pass `worker` for the worker.
# `docker build --target dev` makes an image of `hogsend dev` with the embedded database instead.

# Dependencies are compiled in layers of their own, from the manifests alone, so a build after a change to
# Hogsend's own code compiles none of them again. Not in cache mounts: Railway takes none with ids like ours.
FROM rust:1.95.0-bookworm AS chef
RUN cargo install cargo-chef --locked --version 0.1.78
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY .cargo .cargo
COPY --from=plan /src/recipe.json recipe.json
# Without the default features: the embedded Postgres is for development.
RUN cargo chef cook --release --locked --package hogsend --no-default-features --recipe-path recipe.json
COPY . .
# The build checks queries against .sqlx/ and compiles the migrations in, so only the binary is copied
# from this stage.
RUN cargo build --release --locked --package hogsend --no-default-features \
    && cp target/release/hogsend /usr/local/bin/hogsend

FROM chef AS build-dev
COPY .cargo .cargo
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --package hogsend --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package hogsend \
    && cp target/release/hogsend /usr/local/bin/hogsend

FROM debian:bookworm-20260518-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/hogsend --create-home hogsend \
    && mkdir /plugins
ENV PLUGIN_DIR=/plugins \
    HOGSEND_DATA_DIR=/var/lib/hogsend
WORKDIR /var/lib/hogsend
USER hogsend
EXPOSE 3002
ENTRYPOINT ["hogsend"]

# To try Hogsend: no Postgres, no Redis, and mails go to a page instead of to people. Whoever reaches the
# port may use it, so publish it on this machine alone:
#   docker run --publish 127.0.0.1:3002:3002 hogsend:dev
FROM base AS dev
COPY --from=build-dev /usr/local/bin/hogsend /usr/local/bin/hogsend
ENV NODE_ENV=development \
    HOST=0.0.0.0
VOLUME /var/lib/hogsend
CMD ["dev"]

# The last stage is what a build without --target makes.
FROM base AS production
COPY --from=build /usr/local/bin/hogsend /usr/local/bin/hogsend
# `development` enables access without credentials, which a reachable server must not allow.
ENV NODE_ENV=production
CMD ["api"]
