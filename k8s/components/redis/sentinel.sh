#!/bin/sh
# A sentinel writes what it learns into its configuration: it is made once, beside the data, and kept.
set -eu

nodes=insula-redis-nodes.insula-data.svc.cluster.local
tls=/run/secrets/tls
word=$(cat /run/secrets/redis/password)
if [ ! -s /data/sentinel.conf ]; then
    {
        echo "port 26379"
        echo "dir /tmp"
        echo "sentinel resolve-hostnames yes"
        echo "sentinel announce-hostnames yes"
        echo "sentinel announce-ip $HOSTNAME.$nodes"
        echo "sentinel monitor insula insula-redis-0.$nodes 6379 2"
        echo "sentinel down-after-milliseconds insula 2000"
        echo "sentinel failover-timeout insula 10000"
        echo "sentinel parallel-syncs insula 1"
        echo "sentinel auth-pass insula $word"
    } >/data/sentinel.conf
else
    # The password may have been replaced since.
    sed "s|^sentinel auth-pass insula .*|sentinel auth-pass insula $word|" /data/sentinel.conf >/tmp/sentinel.conf
    cat /tmp/sentinel.conf >/data/sentinel.conf
fi
exec valkey-server /data/sentinel.conf --sentinel --port 0 --tls-port 26379 \
    --tls-cert-file "$tls/tls.crt" --tls-key-file "$tls/tls.key" --tls-ca-cert-file "$tls/ca.crt" --tls-auth-clients no --tls-replication yes
