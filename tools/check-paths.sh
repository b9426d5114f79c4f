#!/usr/bin/env bash
# Every path a document names exists. In: nothing. Out: 1 and the list of those that do not.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0
for document in ARCHITECTURE.md README.md CONTRIBUTING.md docs/*.md; do
  # Paths in code spans that begin with a folder of ours, and targets of relative links.
  while read -r path; do
    if [ ! -e "$path" ] && [ ! -e "$(dirname "$document")/$path" ]; then
      echo "  $document names $path, which does not exist"
      missing=1
    fi
  done < <(
    {
      grep -oE '`(core|filter|controller|tests|tools|bench|envoy|examples|docs|charts)/[A-Za-z0-9_./-]+`' "$document" | tr -d '`'
      grep -oE '\]\([^)#: ]+\)' "$document" | sed -E 's/^\]\(|\)$//g'
    } | sort -u
  )
done
exit $missing
