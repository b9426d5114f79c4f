//! A child process whose output goes to a file and which cannot outlive this one.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::poll;

/// A running child. Dropping it sends SIGTERM, then SIGKILL; if this process dies first, the kernel kills the child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    clock: ClockId,
}

impl Process {
    /// Starts `command`; standard output and error go to `NAME.log` in `dir` (appended to).
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().context("cannot share the log file")?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let what = format!("{:?}", command.get_program());
        let child = spawn(command).with_context(|| format!("cannot start {what}"))?;
        let clock =
            clock_getcpuclockid(Pid::from_raw(child.id().cast_signed())).context("no CPU clock for the child")?;
        Ok(Self { name: name.to_owned(), child, log, clock })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// CPU time of all its threads since it started, user and system, to the nanosecond.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let now = self.clock.now().with_context(|| format!("{} is gone: no CPU clock", self.name))?;
        Ok(now.into())
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
        Ok(kib * 1024)
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits for a line that contains `needle`, and returns the first.
    ///
    /// # Errors
    /// After `limit`, or at once when the process has ended without printing it; with the end of its log.
    pub fn wait_log(&mut self, needle: &str, limit: Duration) -> Result<String> {
        poll::until(&format!("'{needle}' in the log of {}", self.name), limit, || {
            let ended = self.exited().is_some();
            match self.log().lines().find(|line| line.contains(needle)) {
                Some(line) => Ok(Ok(line.to_owned())),
                None if ended => Ok(Err(self.tail(20))),
                None => Err(self.tail(5)),
            }
        })?
        .or_else(|tail| bail!("{} ended without printing '{needle}':\n{tail}", self.name))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to exit", self.name);
        poll::until(&what, limit, || self.exited().ok_or("still running"))
    }

    /// Sends a signal; not an error when the process is gone.
    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid(), signal).ok();
    }

    /// Stops it until SIGCONT, and waits until none of its threads runs any more.
    ///
    /// # Errors
    /// When one still does.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        poll::until("all its threads to be stopped", poll::LONG, || {
            let threads = fs::read_dir(&tasks).map_err(|why| why.to_string())?.flatten();
            let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
            let runs = status.filter(|status| !status.contains("State:\tT")).count();
            if runs == 0 { Ok(()) } else { Err(format!("{runs} run")) }
        })
    }

    /// Kills it without a chance to say goodbye, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks it to stop (SIGTERM); kills it when it has not ended after `limit`.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exited() {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM);
        self.wait_exit(limit).inspect_err(|_| self.kill())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- end of the log of {} ---\n{}", self.name, self.tail(40));
        }
        self.stop(Duration::from_secs(3)).ok();
    }
}

/// Starts the command on a thread that lives as long as this process: the kernel's "kill me with my parent" means
/// the parent *thread*, and the thread of a test ends before the process does.
fn spawn(mut command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

    die_with_parent(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        jobs
    });
    let (answer, result) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| io::Error::other("the spawner thread is gone"))?;
    result.recv().map_err(|_| io::Error::other("the spawner thread is gone"))?
}

#[allow(unsafe_code, reason = "code between fork and exec can be given in no other way")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is a plain system call, fine between fork and exec.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
}
