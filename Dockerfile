# One image; the command chooses what it is: api (the default), worker, migrate, provision, doctor.
#
#   docker build -t insula .                                        with the engine's own SBOM: add --sbom=true
#   docker build --build-arg PYTHON_IMAGE=... --secret id=pip,src=pip.conf -t insula .    your base, your index
#
# It runs with a read-only root, as 65532 without capabilities, and needs no writable folder but /tmp.
# /app/requirements.lock in the image is what was installed, with hashes; deploy/README.md makes an SBOM of the same.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
WORKDIR /app
COPY pyproject.toml requirements.lock deploy/runtime_lock.py ./
# Only what an installation needs, as the lock has it, hashes and all.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /app/.venv; \
    export PATH="/app/.venv/bin:$PATH" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:; \
    python runtime_lock.py >/tmp/runtime.lock; \
    pip install --quiet --no-deps --require-hashes -r /tmp/runtime.lock; \
    pip check; \
    pip uninstall --quiet --yes pip setuptools; \
    mv /tmp/runtime.lock requirements.lock
COPY src src
COPY migrations migrations
COPY LICENSE ./
RUN rm pyproject.toml runtime_lock.py; /app/.venv/bin/python -m compileall -q src migrations

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
    CMD ["python", "-c", "import os, ssl, urllib.request; tls = 's' * ('INSULA_TLS_CERTIFICATE_FILE' in os.environ); urllib.request.urlopen(f'http{tls}://127.0.0.1:{os.environ.get(\"INSULA_METRICS_PORT\", \"9464\")}/livez', timeout=7, context=ssl._create_unverified_context())"]
ENTRYPOINT ["tini", "--", "python", "-P", "-m", "insula"]
CMD ["api"]
