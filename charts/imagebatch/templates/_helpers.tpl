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
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
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

{{- define "imagebatch.logStorePassword" -}}
{{- include "imagebatch.credential" (dict "root" . "secret" (printf "%s-logs" (include "imagebatch.fullname" .)) "key" "password" "value" "" "length" 32) -}}
{{- end -}}

{{- define "imagebatch.mongodbUri" -}}
{{- $embedded := .Values.mongodb.embedded -}}
{{- if $embedded.enabled -}}
{{- if .Values.mongodb.uri -}}{{- fail "mongodb.uri is set: set mongodb.embedded.enabled=false too" -}}{{- end -}}
{{- $host := printf "%s-mongodb.%s.svc.cluster.local:27017" (include "imagebatch.fullname" .) .Release.Namespace -}}
{{- $options := list -}}
{{- $user := "" -}}
{{- if $embedded.auth.enabled -}}
{{- $user = printf "%s:%s@" ($embedded.auth.username | urlquery) (include "imagebatch.mongodbPassword" . | urlquery) -}}
{{- $options = append $options "authSource=admin" -}}
{{- end -}}
{{- if .Values.storeTls.enabled -}}
{{- $options = append $options "tls=true" -}}
{{- $options = append $options "tlsCAFile=/etc/imagebatch/ca/ca.crt" -}}
{{- end -}}
{{- printf "mongodb://%s%s/%s" $user $host (ternary "" (printf "?%s" (join "&" $options)) (empty $options)) -}}
{{- else -}}
{{- required "mongodb.uri (or connection.existingSecret) is needed when mongodb.embedded.enabled=false" .Values.mongodb.uri -}}
{{- end -}}
{{- end -}}

{{/* Whether an embedded store serves TLS. */}}
{{- define "imagebatch.storesServeTls" -}}
{{- if and .Values.storeTls.enabled (or (include "imagebatch.embeddedMongodb" .) (include "imagebatch.embeddedS3" .) .Values.logStore.enabled) -}}true{{- end -}}
{{- end -}}

{{- define "imagebatch.storeTlsSecret" -}}
{{- .Values.storeTls.secretName | default (printf "%s-store-tls" (include "imagebatch.fullname" .)) -}}
{{- end -}}

{{/*
The embedded stores' certificate, its key and its authority, as JSON: what the Secret holds for all hosts, else new ones, which
all templates of one run share. Loopback is for port-forwards. The authority's key is not kept.
*/}}
{{- define "imagebatch.storeCertificate" -}}
{{- if not (hasKey .Values "generated") -}}{{- $_ := set .Values "generated" dict -}}{{- end -}}
{{- if not (hasKey .Values.generated "storeCertificate") -}}
{{- $name := include "imagebatch.fullname" . -}}
{{- $hosts := list "localhost" -}}
{{- range list "mongodb" "s3" "logs" -}}
{{- $service := printf "%s-%s.%s.svc" $name . $.Release.Namespace -}}
{{- $hosts = concat $hosts (list $service (printf "%s.cluster.local" $service)) -}}
{{- end -}}
{{- $kept := dig "data" dict (lookup "v1" "Secret" .Release.Namespace (include "imagebatch.storeTlsSecret" .) | default dict) -}}
{{- $made := dict -}}
{{- if and (hasKey $kept "ca.crt") (hasKey $kept "tls.crt") (hasKey $kept "tls.key") (eq (dig "hosts" "" $kept | b64dec) (join "," $hosts)) -}}
{{- $made = dict "ca" (index $kept "ca.crt" | b64dec) "certificate" (index $kept "tls.crt" | b64dec) "key" (index $kept "tls.key" | b64dec) "hosts" (join "," $hosts) -}}
{{- else -}}
{{- $ca := genCA (printf "%s-stores-ca" $name) 3650 -}}
{{- $pair := genSignedCert (printf "%s-stores" $name) (list "127.0.0.1") $hosts 3650 $ca -}}
{{- $made = dict "ca" $ca.Cert "certificate" $pair.Cert "key" $pair.Key "hosts" (join "," $hosts) -}}
{{- end -}}
{{- $_ := set .Values.generated "storeCertificate" $made -}}
{{- end -}}
{{- .Values.generated.storeCertificate | toJson -}}
{{- end -}}

{{/* The certificate authorities of the stores, beside the public ones. */}}
{{- define "imagebatch.authorities" -}}
{{- with .Values.storeTls.caBundle }}{{ trim . }}
{{ end -}}
{{- if include "imagebatch.storesServeTls" . -}}
{{- if not .Values.storeTls.secretName -}}
{{- get (include "imagebatch.storeCertificate" . | fromJson) "ca" -}}
{{- else if not .Values.storeTls.caBundle -}}
{{- fail "storeTls.secretName is set: storeTls.caBundle must hold the certificate authority of that Secret, by which clients verify it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The authorities as a volume, and where it is mounted; the folder is empty where there are none. */}}
{{- define "imagebatch.authoritiesVolume" -}}
- name: ca
  configMap:
    name: imagebatch-ca
    optional: true
{{- end -}}
{{- define "imagebatch.authoritiesMount" -}}
- name: ca
  mountPath: /etc/imagebatch/ca
  readOnly: true
{{- end -}}

{{/* How pods are spread. Call with (dict "root" $ "component" "gateway" "constraints" ...). */}}
{{- define "imagebatch.topologySpread" -}}
{{- range .constraints }}
{{- $constraint := . }}
{{- if not .labelSelector }}
{{- $selector := dict "matchLabels" (include "imagebatch.selectorLabels" $ | fromYaml) }}
{{- $constraint = merge (dict "labelSelector" $selector) . }}
{{- end }}
- {{ toYaml $constraint | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/* Where objects are stored and how they are reached, as a part of the connection. */}}
{{- define "imagebatch.storage" -}}
{{- $provider := .Values.storage.provider -}}
{{- if and (ne $provider "s3") .Values.s3.embedded.enabled }}{{- fail (printf "storage.provider is %s: set s3.embedded.enabled=false too" $provider) }}{{- end -}}
{{- with .Values.azure }}{{- if and .accessKey .sasToken }}{{- fail "azure.accessKey and azure.sasToken exclude each other" }}{{- end }}{{- end -}}
{{- if ne $provider "s3" -}}
IMAGEBATCH_STORAGE_PROVIDER: {{ $provider }}
{{ end -}}
{{- if eq $provider "gcs" -}}
{{- with .Values.gcs -}}
IMAGEBATCH_STORAGE_BUCKET: {{ required "gcs.bucket is needed with storage.provider=gcs" .bucket | quote }}
IMAGEBATCH_STORAGE_PREFIX: {{ .prefix | quote }}
{{- with .endpoint }}
IMAGEBATCH_GCS_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with .serviceAccountKey }}
IMAGEBATCH_GCS_SERVICE_ACCOUNT_KEY: {{ . | quote }}
{{- end }}
{{- end }}
{{- else if eq $provider "azure" -}}
{{- with .Values.azure -}}
IMAGEBATCH_STORAGE_BUCKET: {{ required "azure.container is needed with storage.provider=azure" .container | quote }}
IMAGEBATCH_STORAGE_PREFIX: {{ .prefix | quote }}
IMAGEBATCH_AZURE_ACCOUNT: {{ required "azure.account is needed with storage.provider=azure" .account | quote }}
{{- with .endpoint }}
IMAGEBATCH_AZURE_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with .accessKey }}
IMAGEBATCH_AZURE_ACCESS_KEY: {{ . | quote }}
{{- end }}
{{- with .sasToken }}
IMAGEBATCH_AZURE_SAS_TOKEN: {{ . | quote }}
{{- end }}
{{- end }}
{{- else -}}
{{- $s3 := .Values.s3 -}}
IMAGEBATCH_STORAGE_BUCKET: {{ $s3.bucket | quote }}
IMAGEBATCH_STORAGE_PREFIX: {{ $s3.prefix | quote }}
IMAGEBATCH_S3_REGION: {{ $s3.region | quote }}
{{- if $s3.embedded.enabled }}
{{- if or $s3.endpoint $s3.accessKeyId $s3.secretAccessKey }}{{- fail "s3.endpoint, s3.accessKeyId or s3.secretAccessKey is set: set s3.embedded.enabled=false too" }}{{- end }}
IMAGEBATCH_S3_ENDPOINT: {{ printf "%s://%s-s3.%s.svc.cluster.local:8333" (ternary "https" "http" .Values.storeTls.enabled) (include "imagebatch.fullname" .) .Release.Namespace | quote }}
IMAGEBATCH_S3_ACCESS_KEY_ID: {{ include "imagebatch.s3AccessKeyId" . | quote }}
IMAGEBATCH_S3_SECRET_ACCESS_KEY: {{ include "imagebatch.s3SecretAccessKey" . | quote }}
{{- else }}
IMAGEBATCH_S3_ENDPOINT: {{ required "s3.endpoint (or connection.existingSecret) is needed when s3.embedded.enabled=false" $s3.endpoint | quote }}
{{- if or $s3.accessKeyId $s3.secretAccessKey }}
IMAGEBATCH_S3_ACCESS_KEY_ID: {{ required "s3.accessKeyId is needed with s3.secretAccessKey" $s3.accessKeyId | quote }}
IMAGEBATCH_S3_SECRET_ACCESS_KEY: {{ required "s3.secretAccessKey is needed with s3.accessKeyId" $s3.secretAccessKey | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "imagebatch.authorities" . }}
IMAGEBATCH_{{ upper $provider }}_CA_FILE: /etc/imagebatch/ca/ca.crt
{{- end }}
{{- end -}}

{{/*
What gateway, controller and Jobs need to know of their surroundings: environment variables, as the data of
a Secret. The names of the embedded servers are full ones, since Jobs run in other namespaces.
*/}}
{{- define "imagebatch.connection" -}}
{{- include "imagebatch.storage" . }}
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
{{- with .Values.otlp }}
{{- if .endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_EXPORTER_OTLP_HEADERS: {{ .headers | quote }}
{{- if not (or .logs $.Values.logStore.enabled) }}
OTEL_LOGS_EXPORTER: none
{{- end }}
{{- if .traces }}
OTEL_TRACES_SAMPLER: parentbased_traceidratio
OTEL_TRACES_SAMPLER_ARG: {{ .sampleRatio | quote }}
{{- else }}
OTEL_TRACES_EXPORTER: none
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.logStore.enabled }}
OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: {{ printf "%s://%s-logs.%s.svc.cluster.local:9428/insert/opentelemetry/v1/logs" (ternary "https" "http" .Values.storeTls.enabled) (include "imagebatch.fullname" .) .Release.Namespace | quote }}
OTEL_EXPORTER_OTLP_LOGS_HEADERS: {{ printf "authorization=Basic%%20%s" (printf "imagebatch:%s" (include "imagebatch.logStorePassword" .) | b64enc | urlquery) | quote }}
{{- if .Values.storeTls.enabled }}
OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE: /etc/imagebatch/ca/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* Changes with the connection, so that pods are replaced when it does. */}}
{{- define "imagebatch.connectionChecksum" -}}
{{- $authorities := include "imagebatch.authorities" . -}}
{{- if .Values.connection.existingSecret -}}
{{- print .Values.connection.existingSecret $authorities | sha256sum -}}
{{- else -}}
{{- print (include "imagebatch.connection" .) $authorities | sha256sum -}}
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

{{/*
A headless Service for scraping every pod of a component. Call with (dict "root" $ "component" "gateway").
*/}}
{{- define "imagebatch.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "imagebatch.fullname" .root }}-{{ .component }}-metrics
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "imagebatch.labels" . | nindent 4 }}
spec:
  clusterIP: None
  # What is not ready is worth a look too.
  publishNotReadyAddresses: true
  selector:
    {{- include "imagebatch.selectorLabels" . | nindent 4 }}
  ports:
  - name: ops
    port: 8081
    targetPort: ops
{{- end -}}

{{/*
Rules of a NetworkPolicy for what the egress guard lets pass: globally routable addresses, and those that it was
told to. IPv6 has all global ones in 2000::/3.
*/}}
{{- define "imagebatch.internet" -}}
- to:
  - ipBlock:
      cidr: 0.0.0.0/0
      except:
      - 0.0.0.0/8
      - 10.0.0.0/8
      - 100.64.0.0/10
      - 127.0.0.0/8
      - 169.254.0.0/16
      - 172.16.0.0/12
      - 192.0.0.0/24
      - 192.168.0.0/16
      - 198.18.0.0/15
      - 224.0.0.0/3
  - ipBlock:
      cidr: 2000::/3
  {{- range .Values.egress.allowCidrs }}
  - ipBlock:
      cidr: {{ . }}
  {{- end }}
  ports:
  - port: 80
  - port: 443
  {{- range .Values.egress.allowPorts }}
  {{- $range := splitList "-" (toString .) }}
  - port: {{ first $range }}
    {{- if gt (len $range) 1 }}
    endPort: {{ last $range }}
    {{- end }}
  {{- end }}
{{- end -}}
