"""Entity tags: what somebody has read of a resource (RFC 9110, section 8.8.3)."""

ETags = frozenset[str]
"""What stands between the quotes of those that a write is based on: one of them must be the current one."""
