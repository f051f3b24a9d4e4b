"""Helm itself, as a library in a process of its own: a Go runtime has no business in the process of the tests.

Run as a program, it answers one JSON object a line: {"do": "render" | "lint" | "load", …}.
"""

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

IS_INSTALLED = importlib.util.find_spec("helm_python") is not None


class Refused(Exception):
    """Helm's own error."""


class Helm:
    """What `helm template`, `helm lint` and `helm show` say."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def render(
        self, chart: Path, values: dict[str, Any] | None = None, namespace: str = "default"
    ) -> list[dict[str, Any]]:
        """The manifests; raises Refused, also where the schema refuses the values."""
        files = self._ask(do="render", chart=str(chart), values=values or {}, namespace=namespace)
        texts = [text for name, text in files.items() if not name.endswith("NOTES.txt")]
        return [manifest for text in texts for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]

    def notes(self, chart: Path, values: dict[str, Any] | None = None, namespace: str = "default") -> str:
        """What is printed after an installation."""
        files = self._ask(do="render", chart=str(chart), values=values or {}, namespace=namespace)
        (notes,) = (text for name, text in files.items() if name.endswith("NOTES.txt"))
        return str(notes)

    def lint(self, chart: Path, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """The report."""
        return dict(self._ask(do="lint", chart=str(chart), values=values or {}))

    def load(self, archive: Path) -> dict[str, Any]:
        """What an archive holds: metadata, crds, files."""
        return dict(self._ask(do="load", chart=str(archive)))

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]


@contextlib.contextmanager
def run_helm() -> Iterator[Helm]:
    """Helm, ready to be asked."""
    command = [sys.executable, __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield Helm(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def main() -> None:
    """Answer until there are no more questions."""
    import helm_python

    for line in sys.stdin:
        question = json.loads(line)
        path, values = question["chart"], question.get("values")
        answer: dict[str, Any]
        try:
            with helm_python.Chart.load(path) as chart:
                if question["do"] == "render":
                    chart.validate_schema(values)
                    answer = {"value": chart.render(values, name="release", namespace=question["namespace"])}
                elif question["do"] == "lint":
                    answer = {"value": helm_python.lint(path, values, strict=True)}
                else:
                    found = {"metadata": chart.metadata, "crds": chart.crds, "files": chart.files}
                    answer = {"value": found}
        except helm_python.HelmError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
