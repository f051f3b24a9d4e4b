"""Deleting: finalizers, what an object owned, namespaces with what is in them, definitions with all their objects.

What follows an object's end is the work of controllers in a cluster; here it is done at once.
"""

from pipeline_approver.sandbox.kube import ages, builtin, crds, errors
from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.store import Collection, Entry, Key, Store


class Remover:
    """The rules of deleting, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(
        self, collection: Collection, key: Key, *, preconditions: Object | None = None, dry_run: bool = False
    ) -> Entry | None:
        """Delete an object. The answer is what finalizers or contents leave of it for now, else None."""
        kind, before = collection.kind, collection.find(key)
        old = before.object["metadata"]
        for name, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = (preconditions or {}).get(name)
            if wanted is not None and wanted != old[name]:
                raise errors.conflict(
                    kind,
                    key[1],
                    f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {old[name]}",
                )
        if dry_run:
            return before if old.get("finalizers") else None
        if kind is builtin.NAMESPACES:
            return self._end_namespace(collection, key)
        if not old.get("finalizers"):
            self.remove(collection, key)
            return None
        return before if old.get("deletionTimestamp") else self._mark_deleted(collection, key)

    def _mark_deleted(self, collection: Collection, key: Key) -> Entry:
        old = collection.entries[key].object
        given = {**old["metadata"], "deletionTimestamp": ages.now(), "deletionGracePeriodSeconds": 0}
        if "generation" in given:
            given["generation"] += 1
        new = {**old, "metadata": given}
        if collection.kind is builtin.NAMESPACES:
            new["status"] = {"phase": "Terminating"}
        return self._store.write(collection, key, new)

    def remove(self, collection: Collection, key: Key) -> None:
        """Remove an object, and do what the controllers of a cluster would do then."""
        gone = self._store.remove(collection, key).object
        if collection.kind is builtin.DEFINITIONS:
            kind = crds.build_kind(gone)
            served = self._store.find(kind.group, kind.version, kind.plural)
            for below in list(served.entries):
                self._store.remove(served, below)
            self._store.uninstall(served)
        for other, below in self._store.dependents(gone["metadata"]["uid"]):
            if below in other.entries:
                self.delete(other, below)
        if key[0]:
            self._finish_namespace(key[0])

    def _end_namespace(self, namespaces: Collection, key: Key) -> Entry:
        """Delete what is in a namespace, and the namespace once nothing is left."""
        entry = namespaces.entries[key]
        if not entry.object["metadata"].get("deletionTimestamp"):
            entry = self._mark_deleted(namespaces, key)
        for collection, below in self._inside(key[1]):
            if below in collection.entries:
                self.delete(collection, below)
        self._finish_namespace(key[1])
        return entry

    def _finish_namespace(self, name: str) -> None:
        namespaces = self._store.find("", "v1", "namespaces")
        entry = namespaces.entries.get(("", name))
        if entry is None or not entry.object["metadata"].get("deletionTimestamp"):
            return
        if not entry.object["metadata"].get("finalizers") and not self._inside(name):
            self._store.remove(namespaces, ("", name))

    def _inside(self, namespace: str) -> list[tuple[Collection, Key]]:
        collections = [collection for collection in self._store.collections.values() if collection.kind.namespaced]
        return [(collection, key) for collection in collections for key in collection.entries if key[0] == namespace]
