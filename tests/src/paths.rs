//! Where things are: the repository, its tools and build results, scratch folders.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The root of the repository.
#[must_use]
pub fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The Envoy to run: `$ENVOY`, or the pinned one.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn envoy() -> Result<PathBuf> {
    let path = env::var_os("ENVOY").map_or_else(|| repo().join(".tools/envoy"), PathBuf::from);
    ensure!(path.exists(), "no Envoy at {}: run 'tools/install.sh envoy', or set ENVOY", path.display());
    Ok(path)
}

/// The Prometheus to run: `$PROMETHEUS`, or the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn prometheus() -> Result<PathBuf> {
    let path = env::var_os("PROMETHEUS").map_or_else(|| repo().join(".tools/prometheus"), PathBuf::from);
    ensure!(path.exists(), "no Prometheus at {}: run 'tools/install.sh prometheus', or set PROMETHEUS", path.display());
    Ok(path)
}

/// A program of the Kubernetes control plane, such as `etcd`, or `kubectl`: of `$KUBEBUILDER_ASSETS` when it is there,
/// or the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn kubernetes(name: &str) -> Result<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(|dir| Path::new(&dir).join(name)).filter(|path| path.exists());
    let path = assets.unwrap_or_else(|| repo().join(".tools").join(name));
    ensure!(path.exists(), "no {name} at {}: run 'tools/install.sh kubernetes' (minutes, once)", path.display());
    Ok(path)
}

/// The Helm to run: `$HELM`, or the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn helm() -> Result<PathBuf> {
    let path = env::var_os("HELM").map_or_else(|| repo().join(".tools/helm"), PathBuf::from);
    ensure!(path.exists(), "no Helm at {}: run 'tools/install.sh helm', or set HELM", path.display());
    Ok(path)
}

/// The promtool to run: `$PROMTOOL`, or the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn promtool() -> Result<PathBuf> {
    let path = env::var_os("PROMTOOL").map_or_else(|| repo().join(".tools/promtool"), PathBuf::from);
    ensure!(path.exists(), "no promtool at {}: run 'tools/install.sh prometheus', or set PROMTOOL", path.display());
    Ok(path)
}

/// The Lua of Argo CD: the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn lua() -> Result<PathBuf> {
    let path = repo().join(".tools/lua");
    ensure!(path.exists(), "no Lua at {}: run 'tools/install.sh lua'", path.display());
    Ok(path)
}

/// The Chromium to run: `$CHROMIUM`, or the one of `.tools`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn chromium() -> Result<PathBuf> {
    let path = env::var_os("CHROMIUM").map_or_else(|| repo().join(".tools/chromium"), PathBuf::from);
    ensure!(path.exists(), "no Chromium at {}: run 'tools/install.sh browser', or set CHROMIUM", path.display());
    Ok(path)
}

/// The accessibility rules, axe-core: one file of JavaScript.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn axe() -> Result<PathBuf> {
    let path = repo().join(".tools/axe");
    ensure!(path.exists(), "no axe-core at {}: run 'tools/install.sh browser'", path.display());
    Ok(path)
}

/// The folder with the CRDs of Gateway API, Envoy Gateway and Istio.
///
/// # Errors
/// When it is not there; the message says how to get it.
pub fn mesh_crds() -> Result<PathBuf> {
    let path = repo().join(".tools/mesh-crds");
    // Not the link: kubectl looks into a folder, and not into a link to one.
    fs::canonicalize(&path).with_context(|| format!("no CRDs at {}: run 'tools/install.sh mesh-crds'", path.display()))
}

/// The folder with Envoy Gateway and its chart.
///
/// # Errors
/// When it is not there; the message says how to get it.
pub fn envoy_gateway() -> Result<PathBuf> {
    release("envoy-gateway")
}

/// The folder with istiod, the agent of its proxies, and their charts.
///
/// # Errors
/// When it is not there; the message says how to get it.
pub fn istio() -> Result<PathBuf> {
    release("istio")
}

fn release(name: &str) -> Result<PathBuf> {
    let path = repo().join(".tools").join(name);
    fs::canonicalize(&path)
        .with_context(|| format!("no {}: run 'tools/install.sh {name}' (minutes, once)", path.display()))
}

/// An Envoy of another minor release, such as `1.39`.
///
/// # Errors
/// When it is not installed; the message says how to.
pub fn envoy_of(minor: &str) -> Result<PathBuf> {
    let path = repo().join(format!(".tools/envoy-{minor}"));
    fs::canonicalize(&path).with_context(|| format!("no {}: run 'tools/install.sh envoy-{minor}'", path.display()))
}

/// The controller binary: `$SLUICEGATE_BIN`, or the one cargo built beside this program.
///
/// # Errors
/// When it is not built.
pub fn controller() -> Result<PathBuf> {
    match env::var_os("SLUICEGATE_BIN") {
        Some(path) => Ok(PathBuf::from(path)),
        None => built("sluicegate"),
    }
}

/// A program that cargo built beside this one.
///
/// # Errors
/// When it is not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("where is this program?")?;
    let profile = own.ancestors().find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let path = profile.context("this program is not in a cargo target folder: set SLUICEGATE_BIN")?.join(name);
    ensure!(path.exists(), "no {}: run 'cargo build -p sluicegate -p sluicegate-tests'", path.display());
    Ok(path)
}

/// A linked Wasm module in `$SLUICEGATE_DIST`, or `dist/`, by file name, such as `sluicegate.wasm`.
///
/// # Errors
/// When it is not built.
pub fn wasm(file: &str) -> Result<PathBuf> {
    let path = env::var_os("SLUICEGATE_DIST").map_or_else(|| repo().join("dist"), PathBuf::from).join(file);
    ensure!(path.exists(), "no {}: run 'make wasm' (or 'make bench' for the rivals)", path.display());
    Ok(path)
}

/// A new empty folder that goes away with the value; kept when `KEEP_SCRATCH` is set, and then its path is printed.
///
/// # Errors
/// When the system's folder for temporary files is not writable.
pub fn scratch(name: &str) -> Result<TempDir> {
    let mut dir = tempfile::Builder::new()
        .prefix(&format!("sluicegate-{name}-"))
        .tempdir()
        .context("no folder for temporary files")?;
    if env::var_os("KEEP_SCRATCH").is_some() {
        dir.disable_cleanup(true);
        eprintln!("kept: {}", dir.path().display());
    }
    Ok(dir)
}

/// Writes a file so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// When the folder is not writable.
pub fn write_atomically(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} has no file name", path.display()))?;
    // In a folder beside it: a watcher of this folder must not see a temporary file.
    let side = path.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let temporary = side.join(format!(".{}.{}.new", name.to_string_lossy(), fastrand::u64(..)));
    fs::write(&temporary, content).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("cannot rename to {}", path.display()))
}
