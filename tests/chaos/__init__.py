"""Chaos: clients POST with Idempotency-Key, everything is killed -9, and then every promise is counted.

What was acknowledged exists once, in each of its parts: row, event, finished job, letter; and it is answered the same
once more. What was not acknowledged happened once or not at all. The same count must find what SAQ alone loses, and what
clients without keys do twice.

Long form: ``pytest tests/chaos -n 0 --chaos-kills 300 --chaos-seconds 600``, or by itself
``python -m tests.chaos --kills 300 --seconds 600`` from the project's folder with ``src`` on PYTHONPATH.
"""
