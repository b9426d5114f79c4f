//! `make local`: Envoy with exactly envoy/envoy.yaml, three pods and the controller, on their fixed ports, until Ctrl-C.
//!
//! The controller works on a copy of envoy/splits, so that trying things leaves the repository as it is.
#![allow(clippy::disallowed_methods, reason = "waits for real processes")]

mod service;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal};
use sluicegate_tests::process::Process;
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{client, paths, poll};

/// The ports of envoy/envoy.yaml and of `sluicegate serve`, and whose they are.
const PORTS: [(u16, &str); 7] = [
    (WEB, "Envoy's listener"),
    (ENVOY_ADMIN, "Envoy's admin port"),
    (7070, "the controller's port for Envoy"),
    (ADMIN, "the controller's admin port"),
    (9001, "pod v1"),
    (9002, "pod v2"),
    (9003, "pod v3"),
];
const WEB: u16 = 10_000;
const ENVOY_ADMIN: u16 = 9901;
const ADMIN: u16 = 7071;
const PODS: [(&str, u16); 3] = [("v1", 9001), ("v2", 9002), ("v3", 9003)];

fn main() -> ExitCode {
    // Before there is any thread, so that all inherit it: these signals wait until somebody asks for them.
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    let done = signals.thread_block().context("cannot block signals").and_then(|()| run(signals));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("local: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(signals: SigSet) -> Result<()> {
    for (port, whose) in PORTS {
        TcpListener::bind(at(port)).with_context(|| {
            format!("port {port}, {whose}, is taken; see who has it with `ss -ltnp 'sport = :{port}'`, and stop that")
        })?;
    }
    let dir = folder()?;
    let pods = Upstreams::start(&PODS.map(|(pod, _)| pod))?;
    for (pod, port) in PODS {
        service::forward(at(port), pods.addr(pod)).with_context(|| format!("cannot listen on port {port}"))?;
    }
    let mut controller = controller(&dir)?;
    let mut envoy = envoy(&dir)?;
    println!("{}", welcome(&dir));

    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(signals.wait()));
    let stopped = loop {
        match told.recv_timeout(Duration::from_millis(300)) {
            Err(RecvTimeoutError::Timeout) => {}
            asked => break asked.context("no signals")?.context("no signals"),
        }
        for (what, process) in [("Envoy", &mut envoy), ("the controller", &mut controller)] {
            if let Some(status) = process.exited() {
                bail!("{what} ended by itself with {status}:\n{}", process.tail(20));
            }
        }
    };
    println!("\nstopping");
    // Envoy first: it is not to complain about a controller that has gone.
    for (what, process) in [("Envoy", &mut envoy), ("the controller", &mut controller)] {
        let status = process.stop(Duration::from_secs(5)).with_context(|| format!("{what} had to be killed"))?;
        ensure!(status.success(), "{what} ended with {status}:\n{}", process.tail(20));
    }
    stopped.map(drop)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// `target/local`, with a fresh copy of the splits.
fn folder() -> Result<PathBuf> {
    let dir = paths::repo().join("target/local");
    match fs::remove_dir_all(&dir) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            return Err(why).with_context(|| format!("cannot empty {}", dir.display()));
        }
        _ => {}
    }
    fs::create_dir_all(dir.join("splits"))?;
    let from = paths::repo().join("envoy/splits");
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = entry?.file_name();
        // The state folder of a controller that somebody started on envoy/splits itself stays there.
        if Path::new(&file).extension().is_some_and(|kind| kind == "yaml") {
            fs::copy(from.join(&file), dir.join("splits").join(&file))?;
        }
    }
    Ok(dir)
}

fn controller(dir: &Path) -> Result<Process> {
    let mut command = Command::new(paths::controller()?);
    command.arg("serve").arg("--dir").arg(dir.join("splits")).arg("--state").arg(dir.join("state"));
    command.args(["--report-interval", "1s"]).env("NO_COLOR", "1");
    let mut process = start("controller", command, dir)?;
    process.wait_log("admin_listen=", poll::LONG)?;
    Ok(process)
}

fn envoy(dir: &Path) -> Result<Process> {
    paths::wasm("sluicegate.wasm")?;
    let mut command = Command::new(paths::envoy()?);
    command.args(["-c", "envoy/envoy.yaml", "--concurrency", "2", "--log-level", "warning"]);
    command.args(["--component-log-level", "wasm:info", "--disable-hot-restart"]).current_dir(paths::repo());
    let mut process = start("envoy", command, dir)?;
    poll::until("weights in Envoy", poll::LONG, || {
        if let Some(status) = process.exited() {
            return Ok(Err(format!("Envoy ended with {status}:\n{}", process.tail(20))));
        }
        let split = client::get(at(ADMIN), "/v1/splits/default/backend").and_then(|answer| answer.json());
        match split.map(|split| split["acked"].as_u64()).map_err(|why| format!("{why:#}"))? {
            Some(1) => Ok(Ok(())),
            acked => Err(format!("acked by {acked:?}; {}", process.tail(5))),
        }
    })?
    .map_err(anyhow::Error::msg)?;
    ensure!(client::get(at(WEB), "/")?.status == 200, "Envoy does not answer 200:\n{}", process.tail(20));
    Ok(process)
}

/// In a process group of its own: a Ctrl-C in the terminal is for us, and we stop the others in order. And with the
/// signals that we have blocked for ourselves, or it could not be stopped.
#[allow(unsafe_code, reason = "code between fork and exec can be given in no other way")]
fn start(name: &str, mut command: Command, dir: &Path) -> Result<Process> {
    command.process_group(0);
    // SAFETY: a plain system call, fine between fork and exec.
    unsafe {
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(io::Error::from));
    }
    Process::start(name, command, dir)
}

fn welcome(dir: &Path) -> String {
    let short = |path: &Path| path.strip_prefix(paths::repo()).unwrap_or(path).display().to_string();
    let (dir, cli) = (short(dir), paths::controller().map_or_else(|_| "sluicegate".into(), |path| short(&path)));
    let pods = PODS.map(|(pod, port)| format!("{pod} at {port}")).join(", ");
    format!(
        "Running until Ctrl-C:

  Envoy        http://127.0.0.1:{WEB} (envoy/envoy.yaml, 2 workers), admin port {ENVOY_ADMIN}
  pods         {pods}
  controller   admin port {ADMIN}, on {dir}/splits
  logs         {dir}/envoy.log, {dir}/controller.log

Try in another terminal, in this folder:

  curl 127.0.0.1:{WEB}
  for i in {{1..100}}; do curl -s 127.0.0.1:{WEB}; done | sort | uniq -c
  {cli} set-weight backend v1=50 v2=50
  {cli} describe backend
  {cli} watch backend
  $EDITOR {dir}/splits/backend.yaml                # saved is in force
  curl '127.0.0.1:{WEB}/?status=503&delay_ms=80'   # something for describe to show
  curl -s 127.0.0.1:{ENVOY_ADMIN}/stats/prometheus | grep ^sluicegate_re"
    )
}
