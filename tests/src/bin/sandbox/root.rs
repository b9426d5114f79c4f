//! The file system of a container: programs and libraries of this machine, and in it only what the image and the volumes have.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd;
use serde_json::Value;

/// What is taken of this machine as it is.
const SHARED: [&str; 8] = ["bin", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr"];
const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];
const NO_SOURCE: Option<&str> = None;

/// Makes it of `binds` and `files` of the spec, and moves this process into it; `root` is an empty folder.
pub(super) fn enter(root: &Path, spec: &Value) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("no mount namespace")?;
    // What is mounted from here on is seen in here only.
    mount(NO_SOURCE, "/", NO_SOURCE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NO_SOURCE)?;
    memory(root)?;
    machine(root)?;
    for (path, from) in spec["binds"].as_object().into_iter().flatten() {
        bind(Path::new(from.as_str().unwrap_or_default()), &within(root, path))?;
    }
    for (path, content) in spec["files"].as_object().into_iter().flatten() {
        let path = within(root, path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, content.as_str().unwrap_or_default()).with_context(|| format!("{}", path.display()))?;
    }
    let old = root.join("old");
    fs::create_dir(&old)?;
    unistd::pivot_root(root, &old).context("cannot move into the new root")?;
    std::env::set_current_dir("/")?;
    umount2("/old", MntFlags::MNT_DETACH)?;
    fs::remove_dir("/old").context("the old root")
}

fn machine(root: &Path) -> Result<()> {
    for name in SHARED {
        let (here, there) = (Path::new("/").join(name), root.join(name));
        match fs::symlink_metadata(&here) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&here)?, &there)?,
            Ok(_) => bind(&here, &there)?,
            Err(_) => {}
        }
    }
    // Images put their programs here.
    memory(&root.join("usr/local"))?;
    fs::create_dir_all(root.join("dev/shm"))?;
    for name in DEVICES {
        bind(&Path::new("/dev").join(name), &root.join("dev").join(name))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), root.join("dev").join(name))?;
    }
    for name in ["etc/ssl", "etc/ld.so.cache"] {
        let here = Path::new("/").join(name);
        if here.exists() {
            bind(&here, &root.join(name))?;
        }
    }
    for name in ["tmp", "var/tmp", "run"] {
        fs::create_dir_all(root.join(name))?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o1777))?;
    }
    Ok(())
}

fn memory(on: &Path) -> Result<()> {
    mount(Some("tmpfs"), on, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .with_context(|| format!("no tmpfs on {}", on.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
    } else if !to.exists() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::write(to, "")?;
    }
    mount(Some(from), to, NO_SOURCE, MsFlags::MS_BIND | MsFlags::MS_REC, NO_SOURCE)
        .with_context(|| format!("cannot mount {} on {}", from.display(), to.display()))
}

fn within(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}
