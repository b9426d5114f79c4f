//! Why pods could not be looked at or changed, in words that help the author of the command.

use super::Role;
use crate::kube::cluster::ClusterError;
use std::{io, time::Duration};
use thiserror::Error;

/// Why it did not work. Each message names the command and what to try.
#[derive(Debug, Error)]
pub enum WorkloadsError {
    /// No such file.
    #[error("{command}: there is no such file{}; paths are relative to the folder of the YAML", looked_from(.folder))]
    NotFound {
        /// The program, as it was looked for.
        command: String,
        /// The folder it was to run in.
        folder: String,
    },
    /// The file is there, but what its first line names is not.
    #[error(
        "{command}: the file is there, but the interpreter in its first line (#!…) is not; install it or name another"
    )]
    NoInterpreter {
        /// The program.
        command: String,
    },
    /// The folder is gone.
    #[error("{command}: the folder {folder} it runs in is not there")]
    NoFolder {
        /// The program.
        command: String,
        /// The folder.
        folder: String,
    },
    /// Not a program.
    #[error("{command}: not executable; run chmod +x {command}")]
    NotExecutable {
        /// The program.
        command: String,
    },
    /// Neither a binary nor a script.
    #[error("{command}: neither a binary of this machine nor a script; begin a script with #!/bin/sh")]
    NotAProgram {
        /// The program.
        command: String,
    },
    /// Anything else that keeps a program from starting.
    #[error("{command}: cannot be started: {why}")]
    NotStarted {
        /// The program.
        command: String,
        /// What the system says.
        why: io::Error,
    },
    /// It said that it failed.
    #[error("{command}: {} for {what}{}", ended(.code, .signal), tail(.stderr))]
    Exit {
        /// The program.
        command: String,
        /// What it was asked, in words.
        what: String,
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// Too slow.
    #[error(
        "{command}: no answer to {what} within {after:?}, so it was killed with all its children; if it needs \
         longer, raise workloads.timeout{}", tail(.stderr)
    )]
    Timeout {
        /// The program.
        command: String,
        /// What it was asked, in words.
        what: String,
        /// How long it had.
        after: Duration,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// Too much.
    #[error(
        "{command}: wrote more than {limit} bytes to stdout for {what}, so it was killed; only the answer belongs \
         there, everything else on stderr"
    )]
    TooLong {
        /// The program.
        command: String,
        /// What it was asked, in words.
        what: String,
        /// Bytes that would have been read.
        limit: usize,
    },
    /// Pipes that break.
    #[error("{command}: cannot talk to it about {what}: {why}")]
    Pipe {
        /// The program.
        command: String,
        /// What it was asked, in words.
        what: String,
        /// What the system says.
        why: io::Error,
    },
    /// An answer that cannot be read.
    #[error("{command}: the answer to {what} {why}{}", tail(.stderr))]
    Answer {
        /// The program.
        command: String,
        /// What it was asked, in words.
        what: String,
        /// What is wrong with it.
        why: AnswerError,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A Deployment that is not as the rollout needs it.
    #[error("Deployment {deployment}: {why}")]
    Deployment {
        /// `namespace/name`.
        deployment: String,
        /// What is wrong and what to do.
        why: String,
    },
}

/// What is wrong with an answer. Reads on after "the answer".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// Nothing at all.
    #[error("is empty; write one JSON object to stdout")]
    Empty,
    /// Not text.
    #[error("is not UTF-8 at byte {at}; it begins with \"{begins}\"")]
    NotUtf8 {
        /// Bytes before the first wrong one.
        at: usize,
        /// Its first bytes, escaped.
        begins: String,
    },
    /// Not JSON, or not of the right shape.
    #[error("cannot be read at line {line} column {column}: {why}; it begins with \"{begins}\"")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1; 0 for before the first.
        column: usize,
        /// What the reader says.
        why: String,
        /// Its first bytes, escaped.
        begins: String,
    },
    /// Made for another contract.
    #[error("is by protocol {0}, but this controller speaks protocol 1; leave protocol out, or update the controller")]
    Protocol(u64),
    /// A role that was asked about and is not there.
    #[error("says nothing about {0}; for one that does not exist write \"{0}\": {{\"replicas\": 0, \"ready\": 0}}")]
    MissingRole(Role),
    /// Pods of nothing.
    #[error("gives {role} {replicas} replicas but no version; say which version they were told to run")]
    NoVersion {
        /// Which.
        role: Role,
        /// As the answer says.
        replicas: u32,
    },
    /// The command says no.
    #[error("is an error: {0}")]
    Refused(String),
}

fn looked_from(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!(" (looked from {folder})") }
}

fn ended(code: &Option<i32>, signal: &Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended without an exit code".to_owned(),
    }
}

fn tail(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; the end of its stderr: {stderr}") }
}
