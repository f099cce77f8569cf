"""SQL that makes up a context of its own."""

FORGED_CONTEXTS = {
    "a context made up for the transaction": [
        "SELECT set_config('app.context', replace('{b}', '-', '') || repeat('00', 48), true)"
    ],
    "a context made up for the session": [
        "SELECT set_config('app.context', replace('{b}', '-', '') || repeat('00', 48), false)"
    ],
    "its own context with the neighbour's tenant": [
        "SELECT set_config('app.context', overlay(current_setting('app.context') placing replace('{b}', '-', '') from 1), true)"
    ],
    "its own context with one bit turned": [
        (
            "SELECT set_config('app.context', encode(set_bit(decode(current_setting('app.context'), 'hex'), 7, 1"
            " - get_bit(decode(current_setting('app.context'), 'hex'), 7)), 'hex'), true)"
        )
    ],
    "half a context": ["SELECT set_config('app.context', left(current_setting('app.context'), 64), true)"],
    "the neighbour's tenant and nothing else": ["SELECT set_config('app.context', replace('{b}', '-', ''), true)"],
    "a context with something behind it": [
        "SELECT set_config('app.context', current_setting('app.context') || '00', true)"
    ],
    "an empty context": ["SELECT set_config('app.context', '', false)"],
    "a context of nonsense": ["SELECT set_config('app.context', 'zz', true)"],
    "a context of a megabyte": ["SELECT set_config('app.context', repeat('00', 500000), true)"],
    "its own context kept for the session": ["SELECT set_config('app.context', current_setting('app.context'), false)"],
    "contexts by SET": [
        "SET app.context = '00'",
        "SET LOCAL app.context = '00'",
        "SET SESSION app.context TO DEFAULT",
        "RESET app.context",
    ],
    "settings of the old days": [
        "SET app.tenant_id = '{b}'",
        "SET request.jwt.claim.sub = '{b_user}'",
        "SET app.current_tenant = '{b}'",
    ],
}
