//! The network of the node: a namespace for this whole process, with a bridge that pods are at, and the addresses of Services,
//! which are its own.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::paths;

/// The bridge, and the address of the node in the network of the pods, which is a /16.
pub(super) const BRIDGE: &str = "pods";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Where the names of Services are asked for.
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where pods find the API server.
pub(super) const API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The cluster addresses of Services are 10.96/16; those that a load balancer would have are here, with the same end.
pub(super) const BALANCERS: u8 = 97;

/// Set for the process that is inside.
const INSIDE: &str = "SLUICEGATE_NODE";

/// Goes on in namespaces of its own, where nothing outside is reached or changed: in a child that runs this program once more, with the
/// same arguments, and with which all that it started ends. Call it first thing, while there is one thread. Returns `None` in that
/// child, and in the process that was started its exit status, when it has ended.
///
/// # Errors
/// When this machine does not let this user have namespaces; with what to do.
pub fn enter() -> Result<Option<ExitStatus>> {
    set_pdeathsig(Signal::SIGKILL)?;
    if std::env::var_os(INSIDE).is_some() {
        return inside().map(|()| None);
    }
    let own = fs::metadata("/proc/self")?;
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if own.uid() == 0 {
        unshare(spaces).context("no namespaces, although root")?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | spaces)
            .context("no user namespace (try: sysctl kernel.unprivileged_userns_clone=1, or run it as root)")?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", own.uid()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", own.gid()))?;
    }
    // Whatever it leaves behind goes with this folder.
    let scratch = paths::scratch("node")?;
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(INSIDE, "1").env("TMPDIR", scratch.path());
    again.status().map(Some).context("cannot run this program again")
}

/// The network and the processes as seen from inside.
fn inside() -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("no /proc of its own")?;
    ip("link set lo up")?;
    // With an address of its own: else it takes that of one pod or another, and for seconds nobody finds it.
    ip(&format!("link add {BRIDGE} address 02:00:00:00:00:01 type bridge"))?;
    ip(&format!("addr add {GATEWAY}/16 dev {BRIDGE}"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    // Every address of a Service is one of this node, so that it can be listened at.
    ip("route add local 10.96.0.0/15 dev lo")
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("no program 'ip': install iproute2")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The address of pod number `n`, from 0.
pub(super) fn pod(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(GATEWAY) + 1 + number)
}
