"""A loop around the official clients: list the Pipelines, list Feldera's pipelines, approve what is annotated."""

import sys
import time

from feldera import FelderaClient
from feldera.enums import PipelineFieldSelector
from kubernetes import client, config

ANNOTATION = "pipeline-approver.io/approve"
WHERE = ("pipeline-approver.io", "v1alpha1")


def main(feldera_url: str, interval: float) -> None:
    config.load_kube_config()
    api = client.CustomObjectsApi()
    feldera = FelderaClient(url=feldera_url)
    while True:
        rows = {row.name: row for row in feldera.pipelines(PipelineFieldSelector.STATUS)}
        for item in api.list_cluster_custom_object(*WHERE, "pipelines")["items"]:
            name = item["metadata"]["name"]
            state = rows[name].deployment_status if name in rows else "NotFound"
            if state == "AwaitingApproval" and (item["metadata"].get("annotations") or {}).get(ANNOTATION):
                feldera.approve_pipeline(name)
            if item.get("status", {}).get("state") != state:
                body = {"status": {"state": state}}
                api.patch_namespaced_custom_object_status(
                    *WHERE, item["metadata"]["namespace"], "pipelines", name, body
                )
        time.sleep(interval)


main(sys.argv[1], float(sys.argv[2]))
