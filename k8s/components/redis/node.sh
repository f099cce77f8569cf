#!/bin/sh
# Starts a node as a replica of whoever is the master now. The sentinels know; when none answers (all begin at once), our
# own one's notes of last time do; and the very first time it is the first node.
set -eu

nodes=insula-redis-nodes.insula-data.svc.cluster.local
me=$HOSTNAME.$nodes
first=insula-redis-0.$nodes
tls=/run/secrets/tls

master_by_sentinels() {
    for number in 0 1 2; do
        found=$(timeout 2 valkey-cli -h "insula-redis-$number.$nodes" -p 26379 --tls --cacert "$tls/ca.crt" \
            SENTINEL get-master-addr-by-name insula 2>/dev/null | head -n 1) || continue
        case $found in insula-redis-*) echo "$found" && return ;; esac
    done
    sed -n 's/^sentinel monitor insula \([^ ]*\) .*/\1/p' /data/sentinel.conf 2>/dev/null | grep . || echo "$first"
}

master=$(master_by_sentinels)
word=$(cat /run/secrets/redis/password)
{
    echo "dir /data"
    echo "appendonly yes"
    echo "appendfsync everysec"
    # A queue must refuse rather than forget. What it refuses stays in PostgreSQL, which is the truth.
    echo "maxmemory 400mb"
    echo "maxmemory-policy noeviction"
    # A master that was cut off from everybody stops taking what nobody will ever read.
    echo "min-replicas-to-write 1"
    echo "min-replicas-max-lag 10"
    echo "replica-announce-ip $me"
    echo "masterauth $word"
    echo "user default on >$word ~* &* +@all"
    echo "user health on nopass resetkeys -@all +ping +info" # the proxy's question, who is the master
    [ "$master" = "$me" ] || echo "replicaof $master 6379"
} >/run/valkey/node.conf
exec valkey-server /run/valkey/node.conf --port 0 --tls-port 6379 \
    --tls-cert-file "$tls/tls.crt" --tls-key-file "$tls/tls.key" --tls-ca-cert-file "$tls/ca.crt" --tls-auth-clients no --tls-replication yes
