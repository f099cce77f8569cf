"""The HTTP edge: authentication, transactions, idempotency, limits, health, OpenAPI."""
