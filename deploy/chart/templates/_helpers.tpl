{{/*
Names are fixed, as in the manifests for kustomize: one release per namespace, one cluster-wide release per cluster.
*/}}
{{- define "pipeline-approver.labels" -}}
app.kubernetes.io/name: pipeline-approver
app.kubernetes.io/part-of: pipeline-approver
{{- end -}}

{{- define "pipeline-approver.selector" -}}
app.kubernetes.io/name: pipeline-approver
app.kubernetes.io/component: operator
{{- end -}}

{{- define "pipeline-approver.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What the operator may do, wherever it watches. */}}
{{- define "pipeline-approver.rules" -}}
# To see the Pipelines and their annotations. Neither patch nor update: the operator cannot touch what people and
# GitOps tools write, and so needs no verb `approve` either.
- apiGroups: [pipeline-approver.io]
  resources: [pipelines]
  verbs: [get, list, watch]
# To write the status, the only thing that the operator writes on a Pipeline.
- apiGroups: [pipeline-approver.io]
  resources: [pipelines/status]
  verbs: [patch]
# To tell, next to the Pipeline, what happened. A repeated event is read and counted up instead of added again.
- apiGroups: [""]
  resources: [events]
  verbs: [create, get, patch]
{{- end -}}

{{- define "pipeline-approver.secret-rules" -}}
# To read a connection Secret when a Pipeline names it, and again after Feldera refused its key. RBAC cannot select
# Secrets by type; the operator uses only those of the type pipeline-approver.io/connection.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{/* For people and GitOps accounts: the rules of a role, by its name. */}}
{{- define "pipeline-approver.people-rules" -}}
{{- if eq . "pipeline-viewer" -}}
# To see what waits, and why.
- apiGroups: [pipeline-approver.io]
  resources: [pipelines]
  verbs: [get, list, watch]
{{- else if eq . "pipeline-editor" -}}
# To have Pipelines. Without the policy approveVerb this is enough to approve, since Kubernetes has no permissions for
# single annotations; with it, approving needs the role pipeline-approver.
- apiGroups: [pipeline-approver.io]
  resources: [pipelines]
  verbs: [get, list, watch, create, update, patch, delete]
{{- else -}}
# To set the annotations approve and reject: patch reaches them, approve is what the policy approveVerb asks for. For
# single Pipelines, write a Role with resourceNames.
- apiGroups: [pipeline-approver.io]
  resources: [pipelines]
  verbs: [get, list, watch, patch, approve]
{{- end -}}
{{- end -}}
