"""`insula api` with one route more: the projects' POST that also asks for a job, as the twins' does."""

import uvloop

from insula import app as program
from insula.core.logs import configure_logs
from insula.server import run
from insula.settings import load
from tests.benchmarks import twins

if __name__ == "__main__":
    program.FEATURES = (*program.FEATURES, twins.FEATURE)
    settings = load()
    configure_logs(settings.log_level, json=settings.log_json)
    uvloop.run(run(settings))
