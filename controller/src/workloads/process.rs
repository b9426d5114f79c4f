//! One run of a command: its time, its output and its children kept within bounds.
//!
//! The command leads a process group of its own, which is killed as a whole when the run ends, however it ends: by
//! itself, by the timeout, by too much output, or because nobody waits for it any more. So nothing of it is left
//! behind, except what made a session of its own (`setsid`), which is how a command starts a server that is to
//! outlive it.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{collections::VecDeque, io, os::unix::process::ExitStatusExt, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// Most bytes an answer may have.
pub const MAX_STDOUT: usize = 64 << 10;
/// Bytes and lines of stderr that are kept: its end.
const STDERR_BYTES: usize = 2 << 10;
const STDERR_LINES: usize = 10;
/// How long what the command has written may take to arrive after its group is dead. Only a child with a session of
/// its own can still hold the pipes then, and it is not waited for.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a killed command may take to be gone.
const REAP: Duration = Duration::from_secs(1);
/// A program that is just being replaced may be open for writing for a moment.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_TRIES: u32 = 25;

/// What to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Where it runs.
    pub folder: &'a Path,
    /// Added to the environment.
    pub variables: Vec<(&'static str, String)>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A run that ended by itself.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote, at most [`MAX_STDOUT`] bytes.
    pub stdout: Vec<u8>,
    /// The last lines it wrote to stderr, joined by ` | `, without control characters.
    pub stderr: String,
}

/// A run that did not.
#[derive(Debug)]
pub enum Failed {
    /// It could not be started.
    Start(io::Error),
    /// It was killed after its time.
    Timeout {
        /// As in [`Done`].
        stderr: String,
    },
    /// It was killed because it wrote too much.
    TooLong,
    /// Its output could not be read, or its end not be seen.
    Pipe(io::Error),
}

/// A process group that is killed when this is dropped. It must be dropped before its leader is reaped: as long as
/// that is at least a zombie, nobody else can get its number.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Fails only when there is nothing left to kill.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// Runs it.
pub async fn run(job: Job<'_>) -> Result<Done, Failed> {
    let mut child = start(&job).await.map_err(Failed::Start)?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let Some(pid) = pid else { return Err(Failed::Start(io::Error::other("it has no process id"))) };
    // Declared after the child and so dropped before it.
    let group = Group(pid);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut answer, mut tail) = (Vec::new(), Tail::default());
    let ended = {
        let mut answering = std::pin::pin!(read_answer(stdout, &mut answer));
        let mut complaining = std::pin::pin!(tail.read(stderr));
        let mut asking = std::pin::pin!(write_request(stdin, &job.stdin));
        let mut exiting = std::pin::pin!(exited(pid));
        let (mut answered, mut complained, mut asked) = (false, false, false);
        let run = async {
            loop {
                tokio::select! {
                    // First what it wrote, then that it ended.
                    biased;
                    read = &mut answering, if !answered => { answered = true; read?; }
                    () = &mut complaining, if !complained => complained = true,
                    () = &mut asking, if !asked => asked = true,
                    exit = &mut exiting => return exit.map_err(Failed::Pipe),
                }
            }
        };
        let ended = match timeout(job.timeout, run).await {
            Ok(ended) => ended,
            Err(_) => Err(Failed::Timeout { stderr: String::new() }),
        };
        drop(group);
        let rest = async {
            if !complained {
                complaining.await;
            }
            match answered {
                true => Ok(()),
                false => answering.await,
            }
        };
        match (ended, timeout(DRAIN, rest).await) {
            (Ok(()), Ok(Err(why))) => Err(why),
            (ended, _) => ended,
        }
    };
    match ended {
        Ok(()) => {
            // It is dead already: this only takes its status.
            let status = child.wait().await.map_err(Failed::Pipe)?;
            Ok(Done { code: status.code(), signal: status.signal(), stdout: answer, stderr: tail.text() })
        }
        Err(why) => {
            // Killed, so gone in a moment; the runtime takes the status of one that takes longer.
            let _ = timeout(REAP, child.wait()).await;
            match why {
                Failed::Timeout { .. } => Err(Failed::Timeout { stderr: tail.text() }),
                why => Err(why),
            }
        }
    }
}

async fn start(job: &Job<'_>) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        let started = tokio::process::Command::new(job.program)
            .args(job.arguments)
            .current_dir(job.folder)
            .envs(job.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match started {
            Err(why) if why.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tries += 1;
                sleep(BUSY_PAUSE).await;
            }
            started => return started,
        }
    }
}

/// Waits for the end of a child and leaves it a zombie.
async fn exited(pid: Pid) -> io::Result<()> {
    let wait = move || {
        loop {
            match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                ended => return ended.map(|_| ()).map_err(io::Error::from),
            }
        }
    };
    spawn_blocking(wait).await.map_err(io::Error::other)?
}

/// Writes the request and closes the pipe. A command need not read it.
async fn write_request(stdin: Option<ChildStdin>, request: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(request).await;
    }
}

async fn read_answer(stdout: Option<impl AsyncRead + Unpin>, answer: &mut Vec<u8>) -> Result<(), Failed> {
    let Some(stdout) = stdout else { return Ok(()) };
    stdout.take(MAX_STDOUT as u64 + 1).read_to_end(answer).await.map_err(Failed::Pipe)?;
    if answer.len() > MAX_STDOUT { Err(Failed::TooLong) } else { Ok(()) }
}

/// The end of what was written to stderr.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    async fn read(&mut self, stderr: Option<impl AsyncRead + Unpin>) {
        let Some(mut stderr) = stderr else { return };
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
            self.0.extend(chunk.iter().take(read));
            let beyond = self.0.len().saturating_sub(STDERR_BYTES);
            self.0.drain(..beyond);
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let printable = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let mut lines: Vec<String> = text.lines().map(printable).filter(|line| !line.is_empty()).collect();
        lines.drain(..lines.len().saturating_sub(STDERR_LINES));
        lines.join(" | ")
    }
}
