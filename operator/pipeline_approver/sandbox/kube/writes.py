"""Create, update and apply: everything that a write passes before it is stored, the same for HTTP and for tests."""

import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline_approver.sandbox.kube import ages, builtin, crds, errors, metadata, ownership
from pipeline_approver.sandbox.kube.errors import ApiError, Cause
from pipeline_approver.sandbox.kube.kinds import Kind, Object
from pipeline_approver.sandbox.kube.removal import Remover
from pipeline_approver.sandbox.kube.store import Collection, Entry, Key, Store, dump

Make = Callable[[Object], Object]


@dataclass(slots=True, kw_only=True)
class Options:
    """How a write is meant; and the warnings that it earns."""

    manager: str
    subresource: str = ""
    dry_run: bool = False
    strictness: str = "Warn"
    """What an unknown field earns: Ignore, Warn or Strict."""
    needs_version: bool = False
    """An update without a resourceVersion is refused where the kind does not allow it: a PUT, not a patch."""
    is_apply: bool = False
    """The managed fields are settled already."""
    warnings: list[str] = field(default_factory=list)


class Writer:
    """The rules of writing, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remover = Remover(store)
        self.delete = self._remover.delete

    def create(self, collection: Collection, namespace: str, manifest: Object, options: Options) -> Entry:
        """Create an object."""
        kind = collection.kind
        given = metadata.read_metadata(manifest)
        if "resourceVersion" in given:
            raise ApiError(400, "resourceVersion should not be set on objects to be created")
        _check_identity(kind, manifest)
        namespace = self._settle_namespace(kind, namespace, given)
        name = given.get("name") or _generate_name(given)
        if not name:
            raise errors.invalid(kind, "", [errors.required("metadata.name", "name or generateName is required")])
        for key in metadata.SERVER_OWNED:
            given.pop(key, None)
        given.update(name=name, **({"namespace": namespace} if kind.namespaced else {}))
        new = {**manifest, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": given}
        if kind.has_status:
            new.pop("status", None)
        new = self._normalise(kind, None, new, options)
        self._check(kind, None, new, metadata.check_metadata(given))
        if (namespace, name) in collection.entries:
            raise errors.already_exists(kind, name)
        given.update(uid=str(uuid.uuid4()), creationTimestamp=ages.now())
        if kind.counts_generation:
            given["generation"] = 1
        if not options.is_apply:
            given["managedFields"] = ownership.after_update(None, new, _source(kind), _author(kind, options))
        return self._store_object(collection, (namespace, name), kind.complete(new), options)

    def update(self, collection: Collection, key: Key, make: Make, options: Options) -> Entry:
        """Replace an object by what `make` makes of it; one that stays the same is not written."""
        kind, before = collection.kind, collection.find(key)
        old = before.object
        new = make(old)
        given = check_address(kind, key, new)
        self._check_preconditions(kind, old["metadata"], given, options)
        new, given = _keep_other_part(kind, old, new, given, options)
        metadata.keep_server_owned(old["metadata"], given)
        given["name"] = key[1]
        if kind.namespaced:
            given["namespace"] = key[0]
        new = {**new, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": given}
        new = self._normalise(kind, old, new, options)
        causes = metadata.check_metadata(given) + metadata.check_finalizers(old["metadata"], given)
        self._check(kind, old, new, causes)
        if not options.is_apply:
            given["managedFields"] = ownership.after_update(old, new, _source(kind), _author(kind, options))
        new = kind.complete(new)
        if new == old:
            return before
        if kind.counts_generation and _counted(kind, new) != _counted(kind, old):
            given["generation"] = old["metadata"].get("generation", 0) + 1
        if given.get("deletionTimestamp") and not given.get("finalizers"):
            if not options.dry_run:
                self._remover.remove(collection, key)
            return Entry(new, dump(new))
        return self._store_object(collection, key, new, options)

    def apply(
        self, collection: Collection, key: Key, config: Object, options: Options, *, force: bool
    ) -> tuple[Entry, bool]:
        """Server-side apply; and whether that created the object."""
        kind = collection.kind
        given = check_address(kind, key, config)
        if given.get("managedFields"):
            raise ApiError(400, "metadata.managedFields must be nil")
        if not config.get("apiVersion") or not config.get("kind"):
            raise ApiError(400, "apiVersion and kind must be set in what is applied")
        config = {**config, "metadata": {**given, "name": key[1]}}
        author = _author(kind, options)
        options.is_apply = True
        if options.subresource:
            config = {"metadata": {}, **{k: v for k, v in config.items() if k in ("apiVersion", "kind", "status")}}
        elif kind.has_status:
            config.pop("status", None)

        def make(live: Object | None) -> Object:
            new, entries = ownership.apply(live, config, _source(kind), author, force=force)
            new["metadata"]["managedFields"] = entries
            return new

        if key in collection.entries:
            return self.update(collection, key, make, options), False
        if options.subresource:
            raise errors.not_found(kind, key[1])
        return self.create(collection, key[0], make(None), options), True

    def _settle_namespace(self, kind: Kind, namespace: str, given: dict[str, Any]) -> str:
        if not kind.namespaced:
            given.pop("namespace", None)
            return ""
        if given.get("namespace", namespace) != namespace:
            raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
        entry = self._store.find("", "v1", "namespaces").entries.get(("", namespace))
        if entry is None:
            raise errors.not_found(builtin.NAMESPACES, namespace)
        if entry.object["metadata"].get("deletionTimestamp"):
            name = given.get("name", "")
            raise ApiError(
                403,
                f'{kind.qualified} "{name}" is forbidden: unable to create new content in namespace {namespace}'
                " because it is being terminated",
                details=errors.about(kind, name),
            )
        return namespace

    def _check_preconditions(self, kind: Kind, old: dict[str, Any], given: dict[str, Any], options: Options) -> None:
        name = old["name"]
        version = given.get("resourceVersion")
        if version is None and options.needs_version and not kind.allows_blind_update:
            cause = errors.invalid_value("metadata.resourceVersion", "0x0", "must be specified for an update")
            raise errors.invalid(kind, name, [cause])
        if given.get("uid", old["uid"]) != old["uid"]:
            why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {old['uid']}"
            raise errors.conflict(kind, name, why)
        if version not in (None, "", old["resourceVersion"]):
            raise errors.modified(kind, name)

    def _normalise(self, kind: Kind, old: Object | None, new: Object, options: Options) -> Object:
        if kind.schema is None:
            return new
        new, unknown = kind.schema.prepare(new, old)
        if unknown and options.strictness == "Strict":
            listed = ", ".join(f'unknown field "{path}"' for path in sorted(unknown))
            raise _unreadable(kind, f"strict decoding error: {listed}")
        if options.strictness == "Warn":
            options.warnings += [f'unknown field "{path}"' for path in sorted(unknown)]
        if not kind.is_custom and (causes := kind.schema.check(new, old)):
            raise _unreadable(kind, str(causes[0]))
        return kind.adjust(new)

    def _check(self, kind: Kind, old: Object | None, new: Object, causes: list[Cause]) -> None:
        causes += kind.check(old, new)
        if kind.is_custom and kind.schema is not None:
            causes += kind.schema.check(new, old)
        if causes:
            raise errors.invalid(kind, new["metadata"]["name"], causes)

    def _store_object(self, collection: Collection, key: Key, new: Object, options: Options) -> Entry:
        if options.dry_run:
            return Entry(new, dump(new))
        if collection.kind is builtin.DEFINITIONS:
            self._store.install(crds.build_kind(new))
        return self._store.write(collection, key, new)


def _source(kind: Kind) -> dict[str, Any] | None:
    return None if kind.schema is None else kind.schema.source


def _author(kind: Kind, options: Options) -> ownership.Author:
    return ownership.Author(
        manager=options.manager,
        subresource=options.subresource,
        api_version=kind.api_version,
        time=ages.now(),
    )


def _counted(kind: Kind, object_: Object) -> Object:
    """The part whose changes the generation counts."""
    others = ("metadata", "status") if kind.has_status else ("metadata",)
    return {key: value for key, value in object_.items() if key not in others}


def _generate_name(given: dict[str, Any]) -> str:
    prefix = given.get("generateName")
    return str(prefix) + "".join(random.choices(string.ascii_lowercase + string.digits, k=5)) if prefix else ""


def _check_identity(kind: Kind, manifest: Object) -> None:
    version, name = manifest.get("apiVersion"), manifest.get("kind")
    if version not in (None, "", kind.api_version):
        raise ApiError(
            400, f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    if name not in (None, "", kind.kind):
        if kind.is_custom:
            given = metadata.read_metadata(manifest).get("name", "")
            cause = errors.invalid_value("kind", f'"{name}"', f"must be {kind.kind}")
            raise errors.invalid(kind, given, [cause])
        raise ApiError(400, f"the kind in the data ({name}) does not match the expected kind ({kind.kind})")


def check_address(kind: Kind, key: Key, manifest: Object) -> dict[str, Any]:
    """Check that a manifest belongs where it was sent; the answer is its metadata."""
    _check_identity(kind, manifest)
    given = metadata.read_metadata(manifest)
    if given.get("name", key[1]) != key[1]:
        raise ApiError(400, f"the name of the object ({given['name']}) does not match the name on the URL ({key[1]})")
    if kind.namespaced and given.get("namespace", key[0]) != key[0]:
        raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
    return given


def _keep_other_part(
    kind: Kind, old: Object, new: Object, given: dict[str, Any], options: Options
) -> tuple[Object, dict[str, Any]]:
    """Through /status only the status changes, and through the object's own path all but the status."""
    if options.subresource:
        entries = given.get("managedFields")
        kept = {**old["metadata"], **({"managedFields": entries} if entries else {})}
        new = {
            **{key: value for key, value in old.items() if key != "status"},
            **({"status": new["status"]} if "status" in new else {}),
        }
        return new, kept
    if kind.has_status:
        new = {key: value for key, value in new.items() if key != "status"}
        if "status" in old:
            new["status"] = old["status"]
    return new, given


def _unreadable(kind: Kind, why: str) -> ApiError:
    return ApiError(400, f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')
