"""What roles may do with an organization and its members."""

from insula.core.permissions import EVERYONE, OWNERS, READERS, STAFF, Permission

READ = Permission("organization:read", "See the organization.", EVERYONE)
UPDATE = Permission("organization:update", "Change the organization's name, slug and metadata.", STAFF)
DELETE = Permission("organization:delete", "Delete and restore the organization.", OWNERS)
TRANSFER = Permission("organization:transfer", "Hand the ownership to another member.", OWNERS)
READ_MEMBERS = Permission("members:read", "See the members.", READERS)
MANAGE_MEMBERS = Permission("members:manage", "Change, suspend and remove members up to one's own role.", STAFF)
OWN_PROFILE = Permission("profile:manage", "See and change one's own membership, and end it.", EVERYONE)

PERMISSIONS = (READ, UPDATE, DELETE, TRANSFER, READ_MEMBERS, MANAGE_MEMBERS, OWN_PROFILE)
