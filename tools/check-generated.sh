#!/usr/bin/env bash
# Committed files that a program makes must be what it makes today. In: nothing. Out: 1 and a diff if one is stale.
set -euo pipefail
cd "$(dirname "$0")/.."

stale=0
# COMMITTED-FILE COMMAND…: what the command prints must be the file.
same() {
  local file=$1
  shift
  if [ ! -e "$file" ]; then
    echo "  $file: not there yet, not checked"
    return
  fi
  if ! diff -u --label "$file" --label "$*" "$file" <("$@"); then
    echo "  $file is stale: run '$* > $file'"
    stale=1
  fi
}

# As the Makefile builds it: see BUILD there.
cargo test --quiet --workspace --test it --test e2e --no-run
same examples/crds.yaml target/debug/sluicegate crds
same charts/sluicegate/crds/crds.yaml target/debug/sluicegate crds
hello=(hello-app --host hello.example.com --target-port 8080)
same examples/envoy-gateway/routes.yaml target/debug/sluicegate routes --for envoy-gateway "${hello[@]}" --gateway public
same examples/istio/routes.yaml target/debug/sluicegate routes --for istio "${hello[@]}" --gateway istio-system/public
exit $stale
