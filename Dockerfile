# One image; the command chooses what it is: api (the default), worker, migrate, provision, doctor.
#
#   docker build -t insula .                                        with the engine's own SBOM: add --sbom=true
#   docker build --build-arg PYTHON_IMAGE=... --secret id=pip,src=pip.conf -t insula .    your base, your index
#
# It runs with a read-only root, as 65532 without capabilities, and needs no writable folder but /tmp.
# /app/requirements.lock in the image is what was installed, with hashes: `cyclonedx-py requirements` makes an SBOM of it.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
WORKDIR /app
COPY pyproject.toml requirements.lock ./
# The lock knows every version and every hash, but not what only tests and `insula up` need. pip resolves the project's
# own dependencies at exactly the lock's versions, and the lock's blocks of those names, hashes and all, are installed.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /app/.venv; \
    export PATH="/app/.venv/bin:$PATH" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:; \
    sed -n 's/^\([^ #].*\) \\$/\1/p' requirements.lock >/tmp/versions; \
    python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        >/tmp/wanted; \
    pip install --quiet --dry-run --ignore-installed --report /tmp/report -r /tmp/wanted -c /tmp/versions; \
    python -c 'import json, re; print(*(re.sub("[-_.]+", "-", each["metadata"]["name"]).lower() for each in json.load(open("/tmp/report"))["install"]), sep="\n")' \
        >/tmp/names; \
    awk 'NR == FNR { wanted[$0]; next } /^[^ #]/ { split($0, part, /[=; ]/); picked = part[1] in wanted } picked' \
        /tmp/names requirements.lock >/tmp/runtime.lock; \
    pip install --quiet --no-deps --require-hashes -r /tmp/runtime.lock; \
    pip check; \
    pip uninstall --quiet --yes pip setuptools; \
    mv /tmp/runtime.lock requirements.lock
COPY src src
COPY migrations migrations
COPY LICENSE ./
RUN rm pyproject.toml; /app/.venv/bin/python -m compileall -q src migrations

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
# The base decides which version of tini there is: pin the base by its digest.
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONPATH=/app/src \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/nonexistent \
    INSULA_HOST=0.0.0.0 \
    INSULA_METRICS_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8000 9464
# Whether the event loop turns, of the API and of the worker alike; never whether the database answers.
HEALTHCHECK --interval=15s --timeout=8s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"INSULA_METRICS_PORT\", \"9464\")}/livez', timeout=7)"]
ENTRYPOINT ["tini", "--", "python", "-P", "-m", "insula"]
CMD ["api"]
