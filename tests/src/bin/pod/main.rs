//! A pod as a process: `pod --name NAME --file FILE [--errors 5%] [--slow 10% --delay 150ms] [--deaf] [--owner PID]`;
//! or in a container `pod --listen ADDRESS [--errors 5%] …`: there it is called as `$HOSTNAME`, and runs until it is ended.
//!
//! It writes its address into the file, which must be there already. When the file is gone it drains: it goes on answering
//! until nobody is connected any more, and ends. `--deaf`: never listens. It also ends when the process PID has.
#![allow(clippy::disallowed_methods, reason = "drains in real time")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal;
use nix::unistd::Pid;
use sluicegate_tests::upstream::{Habits, Upstreams};

/// How often it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// Nobody has been connected for so long: nobody will come any more, since proxies have heard of it long ago.
const QUIET: Duration = Duration::from_millis(800);
/// The longest it drains.
const DRAIN: Duration = Duration::from_secs(10);

struct Options {
    name: String,
    file: PathBuf,
    habits: Habits,
    deaf: bool,
    owner: Option<Pid>,
    listen: Option<SocketAddr>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pod: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let (mut name, mut file, mut deaf, mut owner) = (String::new(), PathBuf::new(), false, None);
    let mut listen = None;
    let mut habits = Habits::default();
    let mut args = std::env::args().skip(1);
    while let Some(option) = args.next() {
        let mut value = || args.next().with_context(|| format!("{option} wants a value"));
        match option.as_str() {
            "--name" => name = value()?,
            "--file" => file = value()?.into(),
            "--errors" => habits.errors = share(&value()?)?,
            "--slow" => habits.slow = share(&value()?)?,
            "--delay" => habits.delay = millis(&value()?)?,
            "--deaf" => deaf = true,
            "--listen" => listen = Some(value()?.parse().context("--listen wants an address and a port")?),
            "--owner" => owner = Some(Pid::from_raw(value()?.parse().context("--owner wants a process id")?)),
            other => bail!("there is no option {other}"),
        }
    }
    if name.is_empty() {
        name = std::env::var("HOSTNAME").unwrap_or_default();
    }
    Ok(Options { name, file, habits, deaf, owner, listen })
}

fn share(text: &str) -> Result<f64> {
    let percent: f64 = text.trim_end_matches('%').parse().with_context(|| format!("{text} is no share such as 5%"))?;
    Ok(percent / 100.0)
}

fn millis(text: &str) -> Result<Duration> {
    let millis = text.trim_end_matches("ms").parse().with_context(|| format!("{text} is no time such as 150ms"))?;
    Ok(Duration::from_millis(millis))
}

fn run(options: &Options) -> Result<()> {
    if let Some(at) = options.listen {
        let _pod = Upstreams::start_at(&options.name, at, options.habits)?;
        loop {
            thread::park();
        }
    }
    let pods = match options.deaf {
        true => None,
        false => Some(Upstreams::start_with(&[&options.name], options.habits)?),
    };
    if let Some(pods) = &pods {
        // Not made anew: without it the pod is not wanted any more.
        let Ok(mut file) = OpenOptions::new().write(true).open(&options.file) else { return Ok(()) };
        // In one piece: whoever reads it sees nothing, or all of it.
        file.write_all(format!("{}\n", pods.addr(&options.name)).as_bytes()).context("cannot write the address")?;
    }
    let alive = || options.owner.is_none_or(|owner| signal::kill(owner, None).is_ok());
    while options.file.exists() && alive() {
        thread::sleep(LOOK);
    }
    let Some(pods) = pods else { return Ok(()) };
    let began = Instant::now();
    let mut used = began;
    while used.elapsed() < QUIET && began.elapsed() < DRAIN && alive() {
        if pods.open() > 0 {
            used = Instant::now();
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
