//! What a container runtime does, for one pod of [`sluicegate_tests::node`]:
//!
//! * `sandbox net ADDRESS GATEWAY LINK BRIDGE` makes the network namespace of a pod and holds it until it is ended; prints `up`.
//! * `sandbox run FILE` becomes the program of a container, in a file system and a network as the file says.
//! * `sandbox exec PID PROGRAM [ARGUMENT…]` becomes a program in the container whose process PID is.

mod root;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd;
use serde_json::Value;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["net", address, gateway, link, bridge] => net(address, gateway, link, bridge),
        ["run", file] => run(Path::new(file)),
        ["exec", pid, program, rest @ ..] => exec(pid, program, rest),
        _ => Err(anyhow::anyhow!("sandbox net ADDRESS GATEWAY LINK BRIDGE | run FILE | exec PID PROGRAM …")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sandbox: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// A namespace with `eth0`, whose other end is `link` at the bridge of the node, where the parent process is.
fn net(address: &str, gateway: &str, link: &str, bridge: &str) -> Result<()> {
    let node = File::open("/proc/self/ns/net")?;
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace")?;
    let own = File::open("/proc/self/ns/net")?;
    ip(&format!(
        "link set lo up\nlink add eth0 type veth peer name {link} netns {}\naddr add {address} dev eth0\n\
         link set eth0 up\nroute add default via {gateway}\n",
        parent_id()
    ))
    .or_else(|_| {
        // Without IPv6 or with addresses in use there is more to say; the plain message is enough here.
        bail!("no eth0 with {address}")
    })?;
    setns(&node, CloneFlags::CLONE_NEWNET)?;
    ip(&format!("link set {link} master {bridge} up\n"))?;
    setns(&own, CloneFlags::CLONE_NEWNET)?;
    println!("up");
    loop {
        unistd::pause();
    }
}

fn ip(lines: &str) -> Result<()> {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("cannot run ip")?;
    child.stdin.take().context("ip has no input")?.write_all(lines.as_bytes())?;
    ensure!(child.wait()?.success(), "ip refused: {lines}");
    Ok(())
}

/// The file, in JSON: `net` (a namespace by its path), `root` (an empty folder to mount on), `files` (path and content), `binds`
/// (path and where it is taken from), `argv`, `env`, `dir`.
fn run(file: &Path) -> Result<()> {
    let spec: Value = serde_json::from_slice(&fs::read(file)?).with_context(|| format!("{}", file.display()))?;
    let text = |field: &str| spec[field].as_str().with_context(|| format!("{}: no {field}", file.display()));
    setns(File::open(text("net")?)?, CloneFlags::CLONE_NEWNET).context("the network of the pod")?;
    root::enter(Path::new(text("root")?), &spec)?;
    let argv: Vec<&str> = spec["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some((program, rest)) = argv.split_first() else { bail!("no argv") };
    std::env::set_current_dir(spec["dir"].as_str().unwrap_or("/"))?;
    let env = spec["env"].as_object().into_iter().flatten();
    let env: Vec<_> = env.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    replace(program, rest, &env)
}

fn exec(pid: &str, program: &str, rest: &[&str]) -> Result<()> {
    let environ = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ"))?).into_owned();
    let env: Vec<_> = environ.split('\0').filter_map(|one| one.split_once('=')).collect();
    let (net, root) = (File::open(format!("/proc/{pid}/ns/net"))?, File::open(format!("/proc/{pid}/ns/mnt"))?);
    setns(net, CloneFlags::CLONE_NEWNET)?;
    setns(root, CloneFlags::CLONE_NEWNS)?;
    replace(program, rest, &env)
}

/// Becomes the program, which is looked for as the new environment says.
fn replace(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let path = env.iter().find(|(name, _)| *name == "PATH").map_or("/usr/local/bin:/usr/bin:/bin", |(_, path)| path);
    let mut places = path.split(':').map(|dir| Path::new(dir).join(program));
    let found = if program.contains('/') { Some(program.into()) } else { places.find(|place| place.exists()) };
    let found = found.with_context(|| format!("no {program} in {path}"))?;
    let why = Command::new(&found).arg0(program).args(args).env_clear().envs(env.iter().copied()).exec();
    Err(why).with_context(|| format!("cannot run {}", found.display()))
}
