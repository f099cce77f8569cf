"""What SQL that slipped into a request might try. {b}, {b_user} and {b_project} are ids of the neighbour's."""

from tests.isolation.hostile.contexts import FORGED_CONTEXTS
from tests.isolation.hostile.definitions import DEFINITIONS
from tests.isolation.hostile.doors import DOORS
from tests.isolation.hostile.extremes import EXTREMES
from tests.isolation.hostile.rows import ROWS
from tests.isolation.hostile.sessions import SESSION_STATE, TRANSACTIONS

HOSTILE = FORGED_CONTEXTS | SESSION_STATE | TRANSACTIONS | ROWS | DEFINITIONS | DOORS | EXTREMES
