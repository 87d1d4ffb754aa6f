{{/* Name of the objects: the release's name, with "imagebatch" in it. */}}
{{- define "imagebatch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component. Call with (dict "root" $ "component" "gateway"). */}}
{{- define "imagebatch.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels of a component's objects. */}}
{{- define "imagebatch.labels" -}}
{{ include "imagebatch.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of gateway, controller and Jobs. */}}
{{- define "imagebatch.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The enabled namespaces, joined by commas; use with splitList. */}}
{{- define "imagebatch.namespaces" -}}
{{- join "," (.Values.namespaces | default (list .Release.Namespace) | uniq) -}}
{{- end -}}

{{- define "imagebatch.connectionSecret" -}}
{{- .Values.connection.existingSecret | default (printf "%s-connection" (include "imagebatch.fullname" .)) -}}
{{- end -}}

{{- define "imagebatch.embeddedMongodb" -}}
{{- if and .Values.mongodb.embedded.enabled (not .Values.connection.existingSecret) -}}true{{- end -}}
{{- end -}}

{{- define "imagebatch.embeddedS3" -}}
{{- if and .Values.s3.embedded.enabled (not .Values.connection.existingSecret) -}}true{{- end -}}
{{- end -}}

{{/*
A generated credential: the value if it is given, else what the Secret already holds, else a random one.
Random values are remembered, so that all templates of one run see the same.
Call with (dict "root" $ "secret" <name> "key" <key> "value" <value> "length" 32).
*/}}
{{- define "imagebatch.credential" -}}
{{- $root := .root -}}
{{- if .value -}}
{{- .value -}}
{{- else -}}
{{- if not (hasKey $root.Values "generated") -}}{{- $_ := set $root.Values "generated" dict -}}{{- end -}}
{{- $memory := $root.Values.generated -}}
{{- $id := printf "%s/%s" .secret .key -}}
{{- if not (hasKey $memory $id) -}}
{{- $existing := lookup "v1" "Secret" $root.Release.Namespace .secret -}}
{{- $kept := dig "data" .key "" ($existing | default dict) -}}
{{- $_ := set $memory $id (ternary ($kept | b64dec) (randAlphaNum .length) (ne $kept "")) -}}
{{- end -}}
{{- index $memory $id -}}
{{- end -}}
{{- end -}}

{{- define "imagebatch.mongodbPassword" -}}
{{- include "imagebatch.credential" (dict "root" . "secret" (printf "%s-mongodb" (include "imagebatch.fullname" .)) "key" "password" "value" .Values.mongodb.embedded.auth.password "length" 32) -}}
{{- end -}}

{{- define "imagebatch.s3AccessKeyId" -}}
{{- include "imagebatch.credential" (dict "root" . "secret" (printf "%s-s3" (include "imagebatch.fullname" .)) "key" "accessKeyId" "value" .Values.s3.embedded.accessKeyId "length" 20) -}}
{{- end -}}

{{- define "imagebatch.s3SecretAccessKey" -}}
{{- include "imagebatch.credential" (dict "root" . "secret" (printf "%s-s3" (include "imagebatch.fullname" .)) "key" "secretAccessKey" "value" .Values.s3.embedded.secretAccessKey "length" 40) -}}
{{- end -}}

{{- define "imagebatch.mongodbUri" -}}
{{- $embedded := .Values.mongodb.embedded -}}
{{- if $embedded.enabled -}}
{{- if .Values.mongodb.uri -}}{{- fail "mongodb.uri is set: set mongodb.embedded.enabled=false too" -}}{{- end -}}
{{- $host := printf "%s-mongodb.%s.svc.cluster.local:27017" (include "imagebatch.fullname" .) .Release.Namespace -}}
{{- if $embedded.auth.enabled -}}
{{- printf "mongodb://%s:%s@%s/?authSource=admin" ($embedded.auth.username | urlquery) (include "imagebatch.mongodbPassword" . | urlquery) $host -}}
{{- else -}}
{{- printf "mongodb://%s/" $host -}}
{{- end -}}
{{- else -}}
{{- required "mongodb.uri (or connection.existingSecret) is needed when mongodb.embedded.enabled=false" .Values.mongodb.uri -}}
{{- end -}}
{{- end -}}

{{/*
What gateway, controller and Jobs need to know of their surroundings: environment variables, as the data of
a Secret. The names of the embedded servers are full ones, since Jobs run in other namespaces.
*/}}
{{- define "imagebatch.connection" -}}
{{- $s3 := .Values.s3 -}}
IMAGEBATCH_STORAGE_BUCKET: {{ $s3.bucket | quote }}
IMAGEBATCH_STORAGE_PREFIX: {{ $s3.prefix | quote }}
IMAGEBATCH_S3_REGION: {{ $s3.region | quote }}
{{- if $s3.embedded.enabled }}
{{- if or $s3.endpoint $s3.accessKeyId $s3.secretAccessKey }}{{- fail "s3.endpoint, s3.accessKeyId or s3.secretAccessKey is set: set s3.embedded.enabled=false too" -}}{{- end }}
IMAGEBATCH_S3_ENDPOINT: {{ printf "http://%s-s3.%s.svc.cluster.local:8333" (include "imagebatch.fullname" .) .Release.Namespace | quote }}
IMAGEBATCH_S3_ACCESS_KEY_ID: {{ include "imagebatch.s3AccessKeyId" . | quote }}
IMAGEBATCH_S3_SECRET_ACCESS_KEY: {{ include "imagebatch.s3SecretAccessKey" . | quote }}
{{- else }}
IMAGEBATCH_S3_ENDPOINT: {{ required "s3.endpoint (or connection.existingSecret) is needed when s3.embedded.enabled=false" $s3.endpoint | quote }}
IMAGEBATCH_S3_ACCESS_KEY_ID: {{ required "s3.accessKeyId (or connection.existingSecret) is needed when s3.embedded.enabled=false" $s3.accessKeyId | quote }}
IMAGEBATCH_S3_SECRET_ACCESS_KEY: {{ required "s3.secretAccessKey (or connection.existingSecret) is needed when s3.embedded.enabled=false" $s3.secretAccessKey | quote }}
{{- end }}
IMAGEBATCH_MONGODB_URI: {{ include "imagebatch.mongodbUri" . | quote }}
IMAGEBATCH_MONGODB_DATABASE: {{ .Values.mongodb.database | quote }}
IMAGEBATCH_PUBLIC_BASE_URL: {{ .Values.publicBaseUrl | quote }}
IMAGEBATCH_EGRESS_ALLOW_CIDRS: {{ join "," .Values.egress.allowCidrs | quote }}
IMAGEBATCH_EGRESS_ALLOW_HOSTS: {{ join "," .Values.egress.allowHosts | quote }}
IMAGEBATCH_EGRESS_ALLOW_PORTS: {{ join "," .Values.egress.allowPorts | quote }}
IMAGEBATCH_EGRESS_CONTACT: {{ .Values.egress.contact | quote }}
IMAGEBATCH_FETCH_PER_HOST: {{ .Values.egress.perHost | int64 | quote }}
IMAGEBATCH_FETCH_TIMEOUT_SECONDS: {{ .Values.egress.timeoutSeconds | int64 | quote }}
IMAGEBATCH_FETCH_MAX_BYTES: {{ .Values.egress.maxBytes | int64 | quote }}
{{- end -}}

{{/* Changes with the connection, so that pods are replaced when it does. */}}
{{- define "imagebatch.connectionChecksum" -}}
{{- if .Values.connection.existingSecret -}}
{{- .Values.connection.existingSecret | sha256sum -}}
{{- else -}}
{{- include "imagebatch.connection" . | sha256sum -}}
{{- end -}}
{{- end -}}

{{/* What the controller may do with ImageBatches, in all namespaces or in each of its own. */}}
{{- define "imagebatch.batchRules" -}}
- apiGroups: ["imagebatch.io"]
  resources: ["imagebatches"]
  # Deleted at their ttlSecondsAfterFinished.
  verbs: ["get", "list", "watch", "patch", "delete"]
- apiGroups: ["imagebatch.io"]
  resources: ["imagebatches/status"]
  verbs: ["patch"]
- apiGroups: ["imagebatch.io"]
  # Where OwnerReferencesPermissionEnforcement is on, owning a Job with blockOwnerDeletion needs this.
  resources: ["imagebatches/finalizers"]
  verbs: ["update"]
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create", "patch"]
{{- end -}}

{{/* Pod Security "restricted" for pods that run as the given uid. */}}
{{- define "imagebatch.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "imagebatch.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
  - ALL
{{- end -}}

{{/* Bounds of a CSV: the gateway's, and the controller's, which hands them on to the Jobs. */}}
{{- define "imagebatch.limits" -}}
{{- with .Values.limits -}}
- name: IMAGEBATCH_MAX_ROWS
  value: {{ .maxRows | int64 | quote }}
- name: IMAGEBATCH_MAX_UPLOAD_BYTES
  value: {{ .maxUploadBytes | int64 | quote }}
- name: IMAGEBATCH_MAX_URLS_PER_ROW
  value: {{ .maxUrlsPerRow | int64 | quote }}
- name: IMAGEBATCH_MAX_URL_LENGTH
  value: {{ .maxUrlLength | int64 | quote }}
- name: IMAGEBATCH_MAX_CELL_BYTES
  value: {{ .maxCellBytes | int64 | quote }}
- name: IMAGEBATCH_MAX_RECORD_BYTES
  value: {{ .maxRecordBytes | int64 | quote }}
{{- end -}}
{{- end -}}

{{/* Bounds of an image: the controller hands them on to the Jobs. */}}
{{- define "imagebatch.imageLimits" -}}
{{- with .Values.limits.image -}}
- name: IMAGEBATCH_IMAGE_MAX_PIXELS
  value: {{ .maxPixels | int64 | quote }}
- name: IMAGEBATCH_IMAGE_MAX_SIDE
  value: {{ .maxSide | int64 | quote }}
- name: IMAGEBATCH_IMAGE_TIMEOUT_SECONDS
  value: {{ .timeoutSeconds | int64 | quote }}
- name: IMAGEBATCH_IMAGE_MEMORY_BYTES
  value: {{ .memoryBytes | int64 | quote }}
{{- end -}}
{{- end -}}

{{- define "imagebatch.probes" -}}
livenessProbe:
  httpGet:
    path: /livez
    port: ops
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: ops
  periodSeconds: 2
  timeoutSeconds: 5
{{- end -}}

{{/* Admits the namespaces that have business with an embedded store, to its port. */}}
{{- define "imagebatch.storeNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "imagebatch.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "imagebatch.selectorLabels" . | nindent 6 }}
  policyTypes: ["Ingress"]
  ingress:
  - from:
    - namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          {{- range append (splitList "," (include "imagebatch.namespaces" .root)) .root.Release.Namespace | uniq }}
          - {{ . | quote }}
          {{- end }}
    ports:
    - port: {{ .port }}
{{- end -}}
