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
exec valkey-server /run/valkey/cache.conf
