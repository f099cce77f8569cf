"""Many processes of everything behind one address: killed in turn, counted, pushed to their limits.

What stands in front is what we deploy: deploy/haproxy.cfg, deploy/pgbouncer.ini, the Redis nodes, sentinels and proxy of
k8s/components/redis. See README.md for the commands and what they found.
"""
