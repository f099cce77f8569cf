"""Every setting is documented and does something."""

import ast
import re

from msgspec.structs import fields

from insula.provision import ADDRESSES
from insula.settings import Settings
from tests.architecture.sources import ROOT, last_name, sources

NAMES = [field.name for field in fields(Settings)]


def test_every_setting_is_documented_below_itself() -> None:
    source = next(source for source in sources("src/insula") if source.path.endswith("insula/settings.py"))
    settings = next(node for node in source.all(ast.ClassDef) if node.name == "Settings")
    documented = [
        getattr(field.target, "id", "")
        for field, text in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    ]
    assert documented == NAMES


def test_every_setting_is_used() -> None:
    used = {
        node.attr
        for source in sources("src/insula")
        for node in source.all(ast.Attribute)
        # A property of theirs reads them of itself.
        if last_name(node.value)
        in {"settings", "_settings", "self" if source.path.endswith("insula/settings.py") else ""}
    }
    assert {"masters", "secret_key"} <= used
    used |= set(ADDRESSES)  # read by these names
    assert [name for name in NAMES if name not in used] == []


def test_nothing_that_is_deployed_lets_unsafe_defaults_pass_but_the_overlay_for_development() -> None:
    files = [path for folder in ("deploy", "k8s") for path in (ROOT / folder).rglob("*") if path.is_file()]
    lifting = [
        str(path.relative_to(ROOT))
        for path in [ROOT / "Dockerfile", *files]
        if re.search(r"INSULA_ENVIRONMENT\W+embedded", path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert lifting == ["k8s/overlays/dev/kustomization.yaml"]
