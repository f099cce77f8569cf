"""The Postgres and the Valkey that `insula up` and the tests start for themselves."""

from insula.embedded.postgres import EmbeddedPostgres
from insula.embedded.process import EmbeddedServerError
from insula.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedServerError", "EmbeddedValkey"]
