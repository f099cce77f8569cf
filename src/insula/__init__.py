"""A multi-tenant SaaS backend that proves one tenant's data cannot reach another."""
