"""The HTTP side of reading and writing resources."""

import json
from typing import Any

import yaml
from aiohttp import web

from pipeline_approver.sandbox.kube import (
    access,
    discovery,
    errors,
    openapi,
    patch,
    protobuf,
    reads,
    selectors,
)
from pipeline_approver.sandbox.kube import watch as watches
from pipeline_approver.sandbox.kube.access import Allow, User
from pipeline_approver.sandbox.kube.calls import Call, is_true
from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.store import Collection, Entry, Store, dump
from pipeline_approver.sandbox.kube.views import View, choose_form
from pipeline_approver.sandbox.kube.writes import Options, Writer, check_address

_JSON = "application/json"
_REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectreviews"})


class Routes:
    """Answers every request that passed the gate."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def answer(self, request: web.Request, call: Call, user: User, allow: Allow | None) -> web.StreamResponse:
        """One answer; raises ApiError."""
        if not call.plural:
            return self._describe(request)
        if call.plural in _REVIEWS and call.verb == "create":
            return _send(dump(access.answer_review(allow, user, call, await _read_body(request))), 201)
        collection = self._find(call)
        access.authorize(allow, user, call)
        if call.verb in ("get", "list", "watch"):
            view = View(
                collection.kind,
                choose_form(request.headers.get("Accept", "")),
                request.query.get("includeObject", ""),
            )
            if call.verb == "watch":
                return await watches.serve(self._store, collection, call, request, view)
            if call.verb == "list":
                return _send(reads.render_list(self._store, collection, call, request, view))
            return _send(view.render(collection.find(_key(collection, call))))
        options = Options(
            manager=find_manager(request),
            subresource=call.subresource,
            dry_run=_is_dry_run(request),
            strictness=_strictness(request),
        )
        match call.verb:
            case "create" if call.name is None:
                return await self._create(request, collection, call, options)
            case "update" if call.name is not None:
                return await self._update(request, collection, call, options)
            case "patch" if call.name is not None:
                return await self._patch(request, collection, call, options)
            case "delete":
                return await self._delete(request, collection, call, options)
            case "deletecollection":
                return self._delete_all(request, collection, call, options)
        raise ApiError(405, "the server does not allow this method on the requested resource")

    def _describe(self, request: web.Request) -> web.Response:
        parts = [part for part in request.path.split("/") if part]
        if parts and parts[0] in discovery.PROBES:
            return web.Response(text="ok")
        if parts == ["openapi", "v3"]:
            return _send(dump(openapi.index(self._store)))
        if parts[:2] == ["openapi", "v3"]:
            return _send(dump(openapi.document(self._store, "/".join(parts[2:]))))
        return _send(dump(discovery.answer(self._store, parts)))

    def _find(self, call: Call) -> Collection:
        collection = self._store.find(call.group, call.version, call.plural)
        kind = collection.kind
        wrong_subresource = call.subresource and not (call.subresource == "status" and kind.has_status)
        wrong_scope = call.namespace is not None and not kind.namespaced
        unscoped = kind.namespaced and call.namespace is None and call.name is not None
        if wrong_subresource or wrong_scope or unscoped:
            raise errors.no_such_path()
        return collection

    async def _create(self, request: web.Request, collection: Collection, call: Call, options: Options) -> web.Response:
        namespace = call.namespace
        body = await _read_body(request)
        if namespace is None and collection.kind.namespaced:
            raise ApiError(405, "the server does not allow this method on the requested resource")
        return _answer(self._writer.create(collection, namespace or "", body, options), options, 201)

    async def _update(self, request: web.Request, collection: Collection, call: Call, options: Options) -> web.Response:
        body = await _read_body(request)
        options.needs_version = True
        key = _key(collection, call)
        check_address(collection.kind, key, body)
        return _answer(self._writer.update(collection, key, lambda _: body, options), options)

    async def _patch(self, request: web.Request, collection: Collection, call: Call, options: Options) -> web.Response:
        key, kind = _key(collection, call), request.content_type
        if kind in patch.APPLY_PATCHES:
            if not request.query.get("fieldManager"):
                raise ApiError(
                    422,
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
                )
            config = await _read_body(request)
            entry, is_new = self._writer.apply(collection, key, config, options, force=is_true(request, "force"))
            return _answer(entry, options, 201 if is_new else 200)
        if kind == patch.JSON_PATCH:
            operations = _parse_json(await request.read())
            entry = self._writer.update(collection, key, lambda old: patch.apply_json_patch(old, operations), options)
        elif kind in patch.MERGE_PATCHES:
            changes = await _read_body(request)
            entry = self._writer.update(collection, key, lambda old: patch.merge(old, changes), options)
        else:
            supported = ", ".join(sorted({patch.JSON_PATCH, *patch.MERGE_PATCHES, *patch.APPLY_PATCHES}))
            raise ApiError(
                415,
                "the body of the request was in an unknown format - accepted media types include: " + supported,
            )
        return _answer(entry, options)

    async def _delete(self, request: web.Request, collection: Collection, call: Call, options: Options) -> web.Response:
        body = await _read_body(request) if request.body_exists else {}
        key = _key(collection, call)
        before = collection.find(key)
        dry_run = options.dry_run or body.get("dryRun") == ["All"]
        left = self._writer.delete(collection, key, preconditions=body.get("preconditions"), dry_run=dry_run)
        if left is not None:
            return _send(left.raw)
        return _send(dump(_success(collection, before)))

    def _delete_all(self, request: web.Request, collection: Collection, call: Call, options: Options) -> web.Response:
        query = request.query
        wanted = selectors.parse(collection.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        gone = []
        for key, entry in collection.snapshot(self._store.revision):
            if call.namespace in (None, key[0]) and (wanted is None or wanted(entry.object)):
                gone.append(entry)
                if key in collection.entries:
                    self._writer.delete(collection, key, dry_run=options.dry_run)
        view = View(collection.kind, choose_form(request.headers.get("Accept", "")))
        return _send(view.render_list(gone, {"resourceVersion": str(self._store.revision)}))


def find_manager(request: web.Request) -> str:
    """Who writes fields: the query parameter, else the start of the user agent."""
    given = request.query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0]
    return given[:128] or "unknown"


def _key(collection: Collection, call: Call) -> tuple[str, str]:
    return (call.namespace or "" if collection.kind.namespaced else "", call.name or "")


def _is_dry_run(request: web.Request) -> bool:
    values = request.query.getall("dryRun", [])
    if not values:
        return False
    if values != ["All"]:
        raise ApiError(422, f'dryRun: Unsupported value: "{values[0]}": supported values: "All"')
    return True


def _strictness(request: web.Request) -> str:
    value = request.query.get("fieldValidation") or "Warn"
    if value not in ("Ignore", "Warn", "Strict"):
        raise ApiError(
            422, f'fieldValidation: Unsupported value: "{value}": supported values: "", "Ignore", "Strict", "Warn"'
        )
    return value


def _success(collection: Collection, gone: Entry) -> Object:
    metadata = gone.object["metadata"]
    details = {**errors.about(collection.kind, metadata["name"]), "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def _read_body(request: web.Request) -> Object:
    data = await request.read()
    kind = request.content_type
    if kind == "application/vnd.kubernetes.protobuf":
        return protobuf.decode(data)
    if kind.endswith("yaml"):
        try:
            body: Any = yaml.safe_load(data)
        except yaml.YAMLError as error:
            raise ApiError(400, f"error decoding YAML: {error}") from None
    elif kind.endswith("json"):
        body = _parse_json(data)
    else:
        raise ApiError(415, f"the body of the request was in an unknown format: {kind}")
    if not isinstance(body, dict):
        raise ApiError(400, "the body of the request is not an object")
    return body


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else {}
    except ValueError as error:
        raise ApiError(400, f"the object provided is unrecognized: it is not JSON ({error})") from None


def _answer(entry: Entry, options: Options, status: int = 200) -> web.Response:
    response = _send(entry.raw, status)
    for warning in options.warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def _send(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=_JSON, headers={"Cache-Control": "no-cache, private"})
