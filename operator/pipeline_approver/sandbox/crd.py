"""Finds the CustomResourceDefinition of Pipeline: beside the package when installed, else in the source tree."""

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "crds" / "pipelines.yaml", _PACKAGE.parent.parent / "crds" / "pipelines.yaml")


def read_crd() -> dict[str, Any]:
    """The manifest, a new copy; raises FileNotFoundError when the installation is incomplete."""
    return copy.deepcopy(_parse())


@functools.cache
def _parse() -> dict[str, Any]:
    for place in _PLACES:
        if place.is_file():
            manifest: dict[str, Any] = yaml.safe_load(place.read_text("utf-8"))
            return manifest
    raise FileNotFoundError("crds/pipelines.yaml is missing from this installation")
