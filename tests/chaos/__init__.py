"""Chaos: everything is killed at random, and afterwards everything that was promised must have happened once.

Long form: ``pytest tests/chaos -n 0 --chaos-kills 300 --chaos-seconds 600``, or by itself
``python -m tests.chaos --kills 300 --seconds 600`` from the project's folder with ``src`` on PYTHONPATH.
"""
