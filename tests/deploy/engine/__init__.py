"""deploy/compose, and the image, with a real Docker engine: `./insula python -m tests.deploy.engine`."""
