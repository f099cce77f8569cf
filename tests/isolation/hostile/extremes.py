"""SQL that is very large, very long, or nothing."""

EXTREMES = {
    "ten megabytes": ["SELECT length(repeat('x', 10000000))", "SELECT repeat('x', 10000000)"],
    "a deep expression": ["SELECT " + "(" * 3000 + "1" + ")" * 3000],
    "a long statement": ["SELECT 1 WHERE 1 IN (" + ",".join(["1"] * 50_000) + ")"],
    "many statements in one message": ["SELECT 1; SELECT * FROM app.project; SET app.context = '{b}'; SELECT 2"],
    "a regular expression that never ends": [
        "SET statement_timeout = 100",
        "SELECT repeat('a', 40) ~ '(a*)*b(a*)*c(a*)*d'",
    ],
    "a wait": ["SET statement_timeout = 50", "SELECT pg_sleep(1)"],
    "nothing": ["", ";", "-- nothing", "/* nothing */"],
}
