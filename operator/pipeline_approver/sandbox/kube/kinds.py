"""What the server knows about one kind of object: its names, its schema, its columns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_approver.sandbox.kube.schema import Schema

Object = dict[str, Any]
"""A Kubernetes object as JSON. Once stored it is replaced and never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    read: Callable[[Object], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One resource type in one version."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    """There is a /status endpoint, and the two endpoints leave each other's part alone."""
    is_custom: bool = False
    """Defined by a CustomResourceDefinition."""
    counts_generation: bool = False
    allows_blind_update: bool = True
    """A PUT without a resourceVersion is taken."""
    columns: tuple[Column, ...] = ()
    selectable: frozenset[str] = frozenset()
    """Field selectors beyond metadata.name and metadata.namespace."""
    schema: "Schema | None" = field(default=None, repr=False)
    adjust: Callable[[Object], Object] = lambda new: new
    """What is written otherwise than it was sent, before it is checked."""
    complete: Callable[[Object], Object] = lambda new: new
    """What the controllers of a cluster would add, after it was checked."""
    check: Callable[[Object | None, Object], list[Any]] = lambda old, new: []
    """Rules beyond the schema; the answer is a list of causes."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """For example pipelines.pipeline-approver.io; as error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def prefix(self) -> str:
        """Where it is served, for example apis/coordination.k8s.io/v1."""
        return f"apis/{self.api_version}" if self.group else f"api/{self.version}"
