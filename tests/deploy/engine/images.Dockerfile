# What stands in for images of others, where there is no registry: Debian's programs, set up as those images are in whatever
# deploy/compose relies on.

FROM debian-bookworm AS python

# Debian's own numbers for these users are others.
FROM debian-trixie AS servers
RUN groupmod -g 999 postgres && usermod -u 999 postgres \
    && rm -rf /etc/postgresql /var/lib/postgresql /var/lib/valkey

FROM servers AS postgres
ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PGDATA=/var/lib/postgresql/data
COPY --chmod=755 postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
RUN sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" /usr/share/postgresql/17/postgresql.conf.sample \
    && install -d -o postgres -g postgres -m 1777 "$PGDATA" && install -d -o postgres -g postgres -m 3777 /run/postgresql
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]

FROM servers AS valkey
RUN install -d -o 999 -g 999 /data
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["valkey-server"]

FROM debian-trixie AS caddy
COPY --chmod=755 caddy /usr/bin/caddy
RUN setcap cap_net_bind_service=+ep /usr/bin/caddy && mkdir -p /config/caddy /data/caddy /etc/caddy /srv
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
EXPOSE 80 443 443/udp 2019
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
