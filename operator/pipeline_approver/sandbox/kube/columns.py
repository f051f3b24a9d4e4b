"""The columns that most kinds have."""

from pipeline_approver.sandbox.kube import ages
from pipeline_approver.sandbox.kube.kinds import Column

NAME = Column(
    name="Name",
    format="name",
    description="Name must be unique within a namespace. Is required when creating resources, although some resources"
    " may allow a client to request the generation of an appropriate name automatically.",
    read=lambda object_: object_["metadata"]["name"],
)
AGE = Column(
    name="Age",
    type="date",
    description="CreationTimestamp is a timestamp representing the server time when this object was created.",
    read=lambda object_: ages.age(object_["metadata"].get("creationTimestamp")),
)
