"""The tables as Django's ORM maps them; it makes and changes none."""

from django.db import models


class Row(models.Model):
    class Meta:
        abstract, managed = True, False

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"


class User(Row):
    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    email = models.TextField()
    disabled_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    version = models.IntegerField()

    class Meta(Row.Meta):
        db_table = "user"


class Credential(Row):
    id = models.UUIDField(primary_key=True)
    kind = models.TextField()
    hash = models.BinaryField()
    user = models.ForeignKey(User, models.CASCADE, related_name="credentials")
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    idle_timeout = models.DurationField()
    revoked_at = models.DateTimeField(null=True)

    class Meta(Row.Meta):
        db_table = "credential"


class Organization(Row):
    id = models.UUIDField(primary_key=True)
    suspended_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta(Row.Meta):
        db_table = "organization"


class Membership(Row):
    id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, db_column="tenant_id", related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.TextField()
    status = models.TextField()

    class Meta(Row.Meta):
        db_table = "membership"


class Project(Row):
    id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    name = models.TextField()
    name_norm = models.TextField()
    key = models.TextField()
    status = models.TextField()
    team_id = models.UUIDField(null=True)
    metadata = models.JSONField()
    created_by = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    version = models.IntegerField()

    class Meta(Row.Meta):
        db_table = "project"


class Event(Row):
    id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    type = models.TextField()
    version = models.SmallIntegerField()
    actor_type = models.TextField()
    actor_id = models.TextField()
    credential_id = models.TextField()
    target_type = models.TextField()
    target_id = models.TextField()
    data = models.JSONField()
    context = models.JSONField()

    class Meta(Row.Meta):
        db_table = "event"


class Outbox(Row):
    id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    user_id = models.UUIDField()
    lane = models.UUIDField()
    task = models.TextField()
    payload = models.JSONField()

    class Meta(Row.Meta):
        db_table = "outbox"


class Idempotency(Row):
    pk = models.CompositePrimaryKey("user_id", "key_hash")
    user_id = models.UUIDField()
    key_hash = models.BinaryField()
    fingerprint = models.BinaryField()
    answer = models.BinaryField()

    class Meta(Row.Meta):
        db_table = "idempotency"
