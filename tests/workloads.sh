#!/usr/bin/env bash
# A command for `workloads:` that runs pods as processes, behind an Envoy that reads their addresses from files (EDS). The
# demo and the tests use it; examples/workloads.sh is the one to start from.
#
#   workloads.sh FOLDER
#
# FOLDER/pod                  the program
# FOLDER/versions/VERSION     its arguments, for this version
# FOLDER/told/ROLE            what the role was last told: replicas and version
# FOLDER/pods/ROLE/NAME       a pod; it writes its address there once it listens, and when this file is gone, it drains and ends
# FOLDER/endpoints/ROLE.json  what Envoy reads: the pods that answer
set -euo pipefail
cd "$1"
# The run of a controller that was killed may still be under way.
exec 9> lock
flock 9
shopt -s nullglob

answers() { # ADDRESS
  local line=
  { exec 3<> "/dev/tcp/${1%:*}/${1##*:}"; } 2> /dev/null || return 1
  printf 'GET / HTTP/1.1\r\nhost: probe\r\n\r\n' >&3
  read -r -t 1 line <&3 || true
  exec 3>&-
  [[ $line == HTTP/1.1\ * ]]
}

# Sets `told_replicas` and `told_version`.
told() { # ROLE
  told_replicas=0 told_version=
  if [[ -e told/$1 ]]; then read -r told_replicas told_version < "told/$1"; fi
}

# Tells Envoy of the pods of a role that answer; sets `ready`, `other` (of another version) and `silent`.
publish() { # ROLE
  local role=$1 pod name address list=
  ready=0 other=0 silent=
  told "$role"
  for pod in "pods/$role"/*; do
    name=${pod##*/} address=$(< "$pod")
    if [[ -z $address ]] || ! answers "$address"; then
      silent=$name
      continue
    fi
    if [[ ${name%-*} == "$role-$told_version" ]]; then ready=$((ready + 1)); else other=$((other + 1)); fi
    list+="${list:+,}{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"${address%:*}\",\"port_value\":${address##*:}}}}}"
  done
  local type=type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  local all="{\"resources\":[{\"@type\":\"$type\",\"cluster_name\":\"$role\",\"endpoints\":[{\"lb_endpoints\":[$list]}]}]}"
  if [[ $(cat "endpoints/$role.json" 2> /dev/null) != "$all" ]]; then
    printf '%s' "$all" > "endpoints.new"
    mv endpoints.new "endpoints/$role.json"
    news=yes
  fi
}

start() { # ROLE VERSION
  local number name
  number=$(($(cat number 2> /dev/null || echo 0) + 1))
  echo "$number" > number
  name=$1-$2-$number
  : > "pods/$1/$name"
  # When this run ends, everything in its session is killed: so the pod is begun in another, and that is waited for.
  # shellcheck disable=SC2016,SC2046 # for the shell inside; the arguments of a version are words
  setsid -w bash -c './pod "$@" > /dev/null 2>> pods.log < /dev/null &' pod \
    --name "$name" --file "pods/$1/$name" $(< "versions/$2") 9>&-
}

apply() { # ROLE VERSION REPLICAS
  local pod name kept=0
  if [[ $3 -gt 0 && ! -e versions/$2 ]]; then
    printf '{"error":"there is no version %s"}' "${2//[^a-z0-9.-]/?}"
    return
  fi
  mkdir -p "pods/$1"
  for pod in "pods/$1"/*; do
    name=${pod##*/}
    if [[ ${name%-*} == "$1-$2" && $kept -lt $3 ]]; then kept=$((kept + 1)); else rm "$pod"; fi
  done
  publish "$1"
  for ((; kept < $3; kept++)); do start "$1" "$2"; done
  # Last: who asks before that is to tell us again.
  printf '%s %s\n' "$3" "$2" > told.new
  mv told.new "told/$1"
  echo '{}'
}

observe() {
  local role separator='{' answer= trouble
  for role in main baseline canary; do
    publish "$role"
    trouble=
    if [[ -n $silent ]]; then trouble=",\"trouble\":\"$silent does not answer\""; fi
    if [[ $ready -ne $told_replicas || $other -gt 0 ]]; then trouble+=',"settled":false'; fi
    answer+="$separator\"$role\":{\"version\":\"$told_version\",\"replicas\":$told_replicas,\"ready\":$ready$trouble}"
    separator=,
  done
  # Envoy takes milliseconds to read what is new. Only then is a pod ready for it.
  if [[ -n ${news:-} ]]; then sleep 0.1; fi
  echo "$answer}"
}

mkdir -p pods endpoints told
case $SLUICEGATE_DO in
  apply) apply "$SLUICEGATE_ROLE" "$SLUICEGATE_VERSION" "$SLUICEGATE_REPLICAS" ;;
  observe) observe ;;
  *) echo "this command knows observe and apply, not $SLUICEGATE_DO" >&2 && exit 1 ;;
esac
