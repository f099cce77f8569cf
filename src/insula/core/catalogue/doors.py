"""Every function a login may execute, and what it asks for: to read this page is to review every door."""

from typing import Final

COMPARISONS: Final = tuple(f"{kind}_{name}" for kind in ("text", "moment") for name in ("lt", "le", "eq", "ge", "gt"))
"""PostgreSQL's own, which indexes answer before the policy is asked: provision.sql."""

APP_RW: Final = {
    # Reading the context that a door signed.
    "tenant_id": "nothing; tells the context's own tenant",
    "user_id": "nothing; tells the context's own user",
    "prove_untouched": "nothing; at worst it ends its own connection",
    "end_session": "nothing; ends its own connection",
    # Doors: a secret goes in, a context comes out.
    "enter": "the hash of a session",
    "enter_once": "the hash of a session; then, inside its context, the user's own answer of that name",
    "enter_for_replica": "the hash of a session; the grant it gives is for the tenant it lets in",
    "enter_by_grant": "a grant of enter_for_replica, five seconds old at most; on replicas only",
    "enter_job": "a job's lease",
    "record_kept_out": "the hash of a session whose member or organization is suspended; 30 events a minute",
    "create_organization": "the hash of a session; the tenant it signs for is one it made",
    # Inside the context: rows of its tenant or of its user, whatever the arguments say.
    "milliseconds_of": "nothing; reads an id",
    "later_id": "nothing; reads an id",
    "moved_behind": "nothing; reads ids",
    "claim_slug": "a context with a tenant",
    "my_organizations": "a context with a user and no tenant",
    "arm_credential": "a context with the credential's user",
    "my_sessions": "a context with a user",
    "revoke_my_session": "a context with a user",
    "revoke_my_sessions": "a context with a user",
    "record_mine": "a context with a user and no tenant; adds to that user's own record",
    "arm_invitations": "a context with a tenant",
    "disarm_invitations": "a context with a tenant",
    "accept_invitation": "a context with a user and no tenant; the token's hash, or the user's own verified address",
    "decline_my_invitation": "a context with a user and no tenant; the user's own verified address",
    "my_invitations": "a context with a user and no tenant",
    "may_grant": "nothing; compares two names of roles",
    **dict.fromkeys(COMPARISONS, "nothing; compares what it is given"),
    # The life of a job, for whoever holds its lease.
    "start_job": "a job's lease",
    "finish_job": "a job's lease",
    "fail_job": "a job's lease",
    "release_job": "a job's lease",
}

APP_IDENTITY: Final = {
    "tenant_id": "nothing; this login never has a context",
    "user_id": "nothing; this login never has a context",
    "prove_untouched": "nothing; at worst it ends its own connection",
    "end_session": "nothing; ends its own connection",
    "sign_up": "nothing; tells nothing, and sends one letter to the address",
    "resend_verification": "nothing; tells nothing, and sends one letter to the address",
    "verification_recipe": "the hash of a mailed token",
    "verify_sign_up": "the hash of a mailed token, and the password",
    "sign_in_recipe": "an address; tells how its password was hashed, not the hash",
    "sign_in": "an address and its password",
    "renew_hash": "the hash that is there now",
    "sign_out": "the hash of a session",
    "ask_reset": "nothing; tells nothing, and sends one letter to the address",
    "reset_owner": "the hash of a mailed token",
    "reset_password": "the hash of a mailed token",
    "password_of_session": "the hash of a session",
    "change_password": "the hash of a session, and the password",
    "preview_invitation": "the hash of a mailed token",
    "join_by_invitation": "the hash of a mailed token",
    "decline_invitation": "the hash of a mailed token",
}

APP_PLATFORM: Final = {
    "tenant_id": "nothing; this login never has a context",
    "user_id": "nothing; this login never has a context",
    "prove_untouched": "nothing; at worst it ends its own connection",
    "end_session": "nothing; ends its own connection",
    "enter_platform": "the hash of an operator's session",
    "enter_platform_once": "the hash of an operator's session; then their own answer of that name",
    "keep_operators_answer": "the hash of an operator's session",
    "claim_jobs": "nothing; chooses the leases",
    "return_claims": "the hashes of the leases",
    "end_overdue": "nothing; ends transactions of requests and jobs that have gone on for longer than any may",
    "sweep_jobs": "nothing; takes back what ran out",
    "longest_wait": "nothing; tells how long jobs wait",
    "other_queues": "nothing; names queues in which jobs wait",
    "purge_credentials": "nothing; deletes what opens nothing any more",
    "purge_sign_ups": "nothing; deletes what nobody confirmed",
    "purge_account_events": "nothing; deletes what happened 90 days ago or earlier",
    "purge_organizations": "nothing; deletes what was deleted, after its restore window",
    "purge_invitations": "nothing; deletes what was closed or over for 30 days at least",
    "create_event_partitions": "nothing; makes the coming months' partitions",
    "drop_event_partitions": "nothing; drops months of events that are over for 90 days at least",
    "purge_idempotency": "nothing; deletes answers that are a day old",
    "add_first_key": "nothing; adds the first version of a key, where there is none",
    "forget_keys": "nothing; deletes versions of keys that nothing alive was made with",
    "purge_deleted": "nothing; deletes only what its organization deleted 30 days ago or earlier",
}

EXECUTABLE: Final = {"app_rw": APP_RW, "app_identity": APP_IDENTITY, "app_platform": APP_PLATFORM}
"""A function not named here is executable by nobody but its owner, or the program refuses to start."""

RUNS_AS_OWNER: Final = {
    "create_event_partitions": "makes tables, which belong to app_owner",
    "drop_event_partitions": "drops them",
}
"""Functions that run with app_owner's rights, with the reason; all others that lend rights lend app_door's."""
