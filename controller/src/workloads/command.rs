//! The user's own command as [`Workloads`]: asked by JSON, see [`super::contract`].

use super::{
    Answer, Observed, Role, Target, Workloads,
    contract::{self, Request},
    error::{AnswerError, WorkloadsError},
    process::{self, Job},
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use tracing::{debug, warn};

/// Asks the user's command.
///
/// Make one per rollout: its requests, and those of its clones, are carried out one at a time in the order they came,
/// so that a slow `apply` is never overtaken by the next.
#[derive(Debug, Clone)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
    folder: PathBuf,
    timeout: Duration,
    turn: Arc<Mutex<()>>,
}

impl Command {
    /// `command` is the program and its arguments; `folder`, which should be absolute, is where it runs and where a
    /// program with a slash in its name is looked for (one without is looked for in `$PATH`). `timeout` is for each
    /// run, not counting the wait for runs before it.
    pub fn new(command: &[String], folder: PathBuf, timeout: Duration) -> Self {
        let (program, arguments) = command.split_first().map_or((String::new(), &[][..]), |(p, a)| (p.clone(), a));
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { program, arguments: arguments.to_vec(), folder, timeout, turn: Arc::default() }
    }

    async fn ask<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
    ) -> Result<T, WorkloadsError> {
        let _turn = self.turn.lock().await;
        let what = request.in_words();
        let asked = self.run(request, read, &what).await;
        match &asked {
            Ok(_) => debug!(command = self.program, what, "command answered"),
            Err(why) => warn!(command = self.program, what, %why, "command failed"),
        }
        asked
    }

    async fn run<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
        what: &str,
    ) -> Result<T, WorkloadsError> {
        // The folder of a child is set before its program is looked for on some systems and after it on others.
        let program = match self.program.contains('/') {
            true => self.folder.join(&self.program),
            false => PathBuf::from(&self.program),
        };
        let job = Job {
            program: &program,
            arguments: &self.arguments,
            folder: &self.folder,
            variables: request.variables(),
            stdin: request.to_json().into_bytes(),
            timeout: self.timeout,
        };
        let (command, what) = (self.program.clone(), what.to_owned());
        let done = match process::run(job).await {
            Ok(done) => done,
            Err(failed) => return Err(self.explain(failed, &program, what)),
        };
        if !done.stderr.is_empty() {
            debug!(command, what, stderr = done.stderr, "command wrote to stderr");
        }
        if done.code != Some(0) {
            return Err(WorkloadsError::Exit {
                command,
                what,
                code: done.code,
                signal: done.signal,
                stderr: done.stderr,
            });
        }
        read(&done.stdout).map_err(|why| WorkloadsError::Answer { command, what, why, stderr: done.stderr })
    }

    fn explain(&self, failed: process::Failed, program: &std::path::Path, what: String) -> WorkloadsError {
        let command = self.program.clone();
        match failed {
            process::Failed::Start(why) => self.not_started(why, program),
            process::Failed::Timeout { stderr } => {
                WorkloadsError::Timeout { command, what, after: self.timeout, stderr }
            }
            process::Failed::TooLong => WorkloadsError::TooLong { command, what, limit: process::MAX_STDOUT },
            process::Failed::Pipe(why) => WorkloadsError::Pipe { command, what, why },
        }
    }

    fn not_started(&self, why: io::Error, program: &std::path::Path) -> WorkloadsError {
        /// `ENOEXEC`, which has no kind of its own.
        const NOT_A_PROGRAM: i32 = 8;
        let (command, folder) = (self.program.clone(), self.folder.display().to_string());
        match why.kind() {
            io::ErrorKind::NotFound if !self.folder.is_dir() => WorkloadsError::NoFolder { command, folder },
            io::ErrorKind::NotFound if program.is_absolute() && program.exists() => {
                WorkloadsError::NoInterpreter { command }
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => WorkloadsError::NotFound { command, folder },
            io::ErrorKind::PermissionDenied => WorkloadsError::NotExecutable { command },
            _ if why.raw_os_error() == Some(NOT_A_PROGRAM) => WorkloadsError::NotAProgram { command },
            _ => WorkloadsError::NotStarted { command, why },
        }
    }
}

impl Workloads for Command {
    fn observe<'a>(&'a self, rollout: &'a str, roles: &'a [Role]) -> Answer<'a, Observed> {
        let request = Request::Observe { rollout, roles };
        Box::pin(self.ask(request, move |answer| contract::observed(answer, roles)))
    }

    fn apply<'a>(&'a self, rollout: &'a str, role: Role, target: &'a Target) -> Answer<'a, ()> {
        Box::pin(self.ask(Request::apply(rollout, role, target), contract::applied))
    }
}
