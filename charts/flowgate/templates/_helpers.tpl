{{/* The release's name in every object's name. */}}
{{- define "flowgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What never changes during the life of a release: selectors are made of it. */}}
{{- define "flowgate.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "flowgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "flowgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "flowgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flowgate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "flowgate.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The configuration file: the given one, and where to listen inside the pod. */}}
{{- define "flowgate.configuration" -}}
{{- if not .Values.config.flows -}}
{{- fail "config.flows is empty: a gateway without a flow has nothing to do (see the example in values.yaml)" -}}
{{- end -}}
{{- $listen := dict
      "server" (dict "listen" (printf "%s:%d" .Values.listenAddress (int .Values.ports.callers)))
      "admin" (dict "listen" (printf "%s:%d" .Values.listenAddress (int .Values.ports.admin))) -}}
{{- mustMergeOverwrite (mustDeepCopy .Values.config) $listen | toYaml -}}
{{- end -}}

{{/* Refuses a grace period that would cut off calls the gateway still waits for. */}}
{{- define "flowgate.terminationGracePeriodSeconds" -}}
{{- $seconds := int .Values.preStopSeconds -}}
{{- $server := dig "server" dict .Values.config -}}
{{- range $time := list (dig "drain_delay" "5s" $server) (dig "drain" "140s" $server) -}}
{{- $time = toString $time -}}
{{- if regexMatch "^[0-9]+s$" $time -}}{{- $seconds = add $seconds (trimSuffix "s" $time | int) -}}
{{- else if regexMatch "^[0-9]+m$" $time -}}{{- $seconds = add $seconds (mul 60 (trimSuffix "m" $time | int)) -}}
{{- end -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $seconds) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but preStopSeconds, config.server.drain_delay and config.server.drain together take %d: calls in flight would be cut off" (int .Values.terminationGracePeriodSeconds) (int $seconds)) -}}
{{- end -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
