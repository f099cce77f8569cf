"""What roles may do with invitations."""

from insula.core.permissions import STAFF, Permission

READ = Permission("invitations:read", "See who is invited.", STAFF)
WRITE = Permission("invitations:write", "Invite people up to one's own role, resend and revoke invitations.", STAFF)

PERMISSIONS = (READ, WRITE)
