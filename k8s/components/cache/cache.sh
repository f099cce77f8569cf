#!/bin/sh
# A server that may forget: what was not asked for the longest goes first, and a start begins with nothing.
set -eu

{
    echo 'save ""'
    echo "appendonly no"
    echo "maxmemory 200mb"
    echo "maxmemory-policy allkeys-lru"
    echo "user default on >$(cat /run/secrets/cache/password) ~* &* +@all -@admin -@dangerous"
    echo "user health on nopass resetkeys -@all +ping"
} >/run/valkey/cache.conf
tls=/run/secrets/tls
exec valkey-server /run/valkey/cache.conf --port 0 --tls-port 6379 \
    --tls-cert-file "$tls/tls.crt" --tls-key-file "$tls/tls.key" --tls-ca-cert-file "$tls/ca.crt" --tls-auth-clients no
