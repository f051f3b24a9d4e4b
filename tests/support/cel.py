"""CEL as an API server speaks it: the official parser, checker and evaluator, with what Kubernetes adds to it.

Two environments: one to evaluate manifests as they are, one to check types against the CustomResourceDefinition, as
the API server does for the rules of a definition (errors) and for admission policies (warnings).
"""

from collections.abc import Callable, Mapping
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf import descriptor_pb2, descriptor_pool

Field = descriptor_pb2.FieldDescriptorProto
IsAllowed = Callable[[Mapping[str, Any]], bool]

AUTHORIZER = ("group", "resource", "subresource", "namespace", "name", "check")
SCALARS = {"string": Field.TYPE_STRING, "integer": Field.TYPE_INT64, "boolean": Field.TYPE_BOOL}
STRING, MAP, BOOL, DYN = cel.Type.STRING, cel.Type.MAP, cel.Type.BOOL, cel.Type.DYN


class CelError(Exception):
    """An expression does not compile, or cannot be evaluated."""


class Evaluator:
    """Evaluates expressions over manifests; `is_allowed` answers what the expression asks the authorizer."""

    def __init__(self, is_allowed: IsAllowed = lambda _: False) -> None:
        names = ("object", "oldObject", "request", "variables", "self", "oldSelf")
        self._env = cel.NewEnv(
            _pool(),
            variables={"authorizer": MAP, **dict.fromkeys(names, DYN)},
            extensions=[ext_strings.ExtStrings()],
            functions=[*_authorizer_functions(MAP, is_allowed), _escape_key()],
        )
        self._compiled: dict[str, Any] = {}

    def evaluate(self, expression: str, values: Mapping[str, Any]) -> Any:
        """The value, as plain Python; a list of JSONPatch stays one of messages."""
        try:
            if expression not in self._compiled:
                self._compiled[expression] = self._env.compile(expression)
            result = self._compiled[expression].eval(data=dict(values))
        except RuntimeError as error:
            raise CelError(str(error)) from None
        if result.type() == cel.Type.ERROR:
            raise CelError(str(result.plain_value()))
        return result.plain_value()


class Checker:
    """Checks types; what an expression may use is declared with `declare`."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._pool = _pool({"Pipeline": {**schema, "properties": {**schema["properties"], "metadata": METADATA}}})
        self._types: dict[str, Any] = {}

    def declare(self, name: str, type_: Any) -> None:
        """A variable; a name may have dots, as those under `variables` do."""
        self._types[name] = cel.Type(type_) if isinstance(type_, str) else type_

    def check(self, expression: str) -> Any:
        """The type of an expression."""
        env = cel.NewEnv(
            self._pool,
            variables=self._types,
            extensions=[ext_strings.ExtStrings()],
            functions=[*_authorizer_functions(MAP, lambda _: False), _escape_key()],
        )
        try:
            return env.compile(expression).return_type()
        except RuntimeError as error:
            raise CelError(str(error)) from None


METADATA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace", "uid", "resourceVersion")},
        **{name: {"type": "object", "additionalProperties": {"type": "string"}} for name in ("annotations", "labels")},
        "generation": {"type": "integer"},
    },
}
REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("uid", "name", "namespace", "operation", "subResource")},
        "dryRun": {"type": "boolean"},
        "userInfo": {
            "type": "object",
            "properties": {
                "username": {"type": "string"},
                "uid": {"type": "string"},
                "groups": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


def _authorizer_functions(type_: Any, is_allowed: IsAllowed) -> list[Any]:
    """`authorizer.group(…).resource(…).namespace(…).name(…).check(…).allowed()`: each step notes its argument."""

    def step(key: str) -> Any:
        overload = cel.Overload(
            f"authorizer_{key}",
            return_type=type_,
            parameters=[type_, STRING],
            is_member=True,
            impl=lambda so_far, value: {**so_far, key: value},
        )
        return cel.FunctionDecl(key, [overload])

    allowed = cel.Overload("allowed", return_type=BOOL, parameters=[type_], is_member=True, impl=is_allowed)
    return [*map(step, AUTHORIZER), cel.FunctionDecl("allowed", [allowed])]


def _escape_key() -> Any:
    overload = cel.Overload(
        "jsonpatch_escape_key",
        return_type=STRING,
        parameters=[STRING],
        impl=lambda key: key.replace("~", "~0").replace("/", "~1"),
    )
    return cel.FunctionDecl("jsonpatch.escapeKey", [overload])


def _pool(schemas: Mapping[str, dict[str, Any]] | None = None) -> Any:
    """A pool with JSONPatch, the request, and messages of the given schemas."""
    pool = descriptor_pool.DescriptorPool()
    # Well-known types have to be in every pool.
    from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    for known in (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="kubernetes.proto", syntax="proto3", dependency=["google/protobuf/struct.proto"]
    )
    patch = file.message_type.add(name="JSONPatch")
    for name in ("op", "path", "from"):
        _add(patch, name, Field.TYPE_STRING)
    _add(patch, "value", Field.TYPE_MESSAGE, ".google.protobuf.Value")
    for name, schema in {"Request": REQUEST, **(schemas or {})}.items():
        _fill(file.message_type.add(name=name), schema, f".{name}")
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add(message: Any, name: str, type_: int, type_name: str = "", *, repeated: bool = False) -> None:
    label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=len(message.field) + 1, type=type_, label=label)
    if type_name:
        field.type_name = type_name


def _fill(message: Any, schema: dict[str, Any], path: str) -> None:
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        repeated = field["type"] == "array"
        if inner["type"] in SCALARS:
            _add(message, name, SCALARS[inner["type"]], repeated=repeated)
            continue
        nested = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Type")
        if "additionalProperties" in inner:
            # proto's own form of a map: repeated entries of key and value, whose name has to be the field's.
            nested.name = f"{name[0].upper()}{name[1:]}Entry"
            nested.options.map_entry = True
            _add(nested, "key", Field.TYPE_STRING)
            _add(nested, "value", SCALARS[inner["additionalProperties"]["type"]])
            repeated = True
        else:
            _fill(nested, inner, f"{path}.{nested.name}")
        _add(message, name, Field.TYPE_MESSAGE, f"{path}.{nested.name}", repeated=repeated)
