#!/usr/bin/env bash
# What can be said of the Dockerfile without a container runtime: what it copies is there when it copies it, and what the
# chart runs is in it. In: nothing. Out: 1 and what is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."

wrong=0
say() {
  echo "  Dockerfile: $*"
  wrong=1
}

# Files from outside of the build: made by a rule of the Makefile, and let in by the last line of .dockerignore about them.
while read -r _ file _; do
  [ "$file" = . ] && continue
  grep -q "^$file:" Makefile || [ -e "$file" ] || say "copies $file, which nobody makes"
  ignored=no
  while read -r pattern; do
    # shellcheck disable=SC2254 # A pattern it is.
    case $pattern in
      !*) case $file in ${pattern#!} | ${pattern#!}/*) ignored=no ;; esac ;;
      ?*) case $file in $pattern | $pattern/*) ignored=yes ;; esac ;;
    esac
  done <.dockerignore
  [ $ignored = no ] || say "copies $file, which .dockerignore keeps out"
done < <(grep '^COPY [^-]' Dockerfile)

channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
image=$(sed -n 's/^FROM .*rust:\([0-9.]*\)-slim .*$/\1/p' Dockerfile)
case $channel in "$image" | "$image".*) ;; *) say "builds by Rust $image, and rust-toolchain.toml says $channel" ;; esac

entry=$(sed -n 's/^ENTRYPOINT \["\(.*\)"\]$/\1/p' Dockerfile)
user=$(sed -n 's/^USER \([0-9]*\):.*$/\1/p' Dockerfile)
chart=charts/sluicegate/templates/deployment.yaml
has() { grep -qE "^COPY .* $1\$" Dockerfile || say "has no $1, which $2"; }
has "$entry" "is its own entry point"
has "$(sed -n 's/^.*--wasm=\([^ ]*\)$/\1/p' $chart)" "$chart serves"
grep -q "runAsUser: $user\$" $chart || say "runs as $user, and $chart as another user"
exit $wrong
