//! The contract between the controller and the user's own command, protocol 1. Pure: bytes in, meaning out.
//!
//! The command is started once per request, in the folder of the YAML. The request is one JSON object on stdin, which
//! is then closed; the answer is one JSON object on stdout; exit code 0 says that it worked. What is written to
//! stderr goes to the controller's log, and its end into error messages. Both sides ignore fields they do not know.
//!
//! ```json
//! {"protocol":1,"do":"observe","rollout":"default/hello-app","roles":["main","baseline","canary"]}
//! ```
//!
//! asks what there is. The answer has one object per role in `roles`, also for those that do not exist:
//!
//! ```json
//! {
//!   "main":     {"version":"v1","replicas":4,"ready":4,"settled":true},
//!   "baseline": {"replicas":0,"ready":0},
//!   "canary":   {"version":"v2","replicas":2,"ready":1,"trouble":"image registry/hello:v2 cannot be pulled"}
//! }
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `version` | what the role was last told to run; may be left out when `replicas` is 0 |
//! | `replicas` | how many pods (or processes) it was last told to have |
//! | `ready` | how many *of that version* can serve requests now |
//! | `settled` | none of another version is left and none above `replicas`; unless given: `ready` equals `replicas` |
//! | `trouble` | why they do not get ready, one line for people |
//!
//! ```json
//! {"protocol":1,"do":"apply","rollout":"default/hello-app","role":"canary","version":"v2","replicas":3}
//! ```
//!
//! tells one role what it should be from now on; `replicas: 0` means that it should go. The answer is `{}`, or
//! nothing. The command answers when it has passed that on; it need not wait until pods are ready, because `observe`
//! asks for that. **The same request may come again at any time**, after a crash for instance, and must then change
//! nothing.
//!
//! A command that cannot do what it was asked ends with another exit code, or answers `{"error":"why"}`.
//!
//! For scripts without a JSON reader the request is also in the environment: `SLUICEGATE_DO`, `SLUICEGATE_ROLLOUT`,
//! and for `apply` `SLUICEGATE_ROLE`, `SLUICEGATE_VERSION` and `SLUICEGATE_REPLICAS`.

use super::{Observed, Role, Target, Workload, error::AnswerError};
use serde::{Deserialize, Serialize};

/// The version of the contract.
pub const PROTOCOL: u64 = 1;
/// Bytes of a wrong answer that an error message shows.
const SHOWN: usize = 80;
/// Characters of `trouble` and `error` that are kept.
const MAX_LINE: usize = 300;

/// What the command is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Request<'a> {
    /// What there is.
    Observe {
        /// `namespace/name`.
        rollout: &'a str,
        /// What to say something about.
        roles: &'a [Role],
    },
    /// What there should be.
    Apply {
        /// `namespace/name`.
        rollout: &'a str,
        /// Of which role.
        role: Role,
        /// What it should run.
        version: &'a str,
        /// How many.
        replicas: u32,
    },
}

#[derive(Serialize)]
struct Versioned<'a> {
    protocol: u64,
    #[serde(flatten)]
    request: Request<'a>,
}

impl<'a> Request<'a> {
    /// The request that makes a role this.
    pub fn apply(rollout: &'a str, role: Role, target: &'a Target) -> Self {
        Self::Apply { rollout, role, version: &target.version, replicas: target.replicas }
    }

    /// What goes to stdin: one line.
    pub fn to_json(self) -> String {
        // Strings, numbers and lists of them: there is nothing in it that could fail.
        let json = serde_json::to_string(&Versioned { protocol: PROTOCOL, request: self }).unwrap_or_default();
        format!("{json}\n")
    }

    /// The same for the environment.
    pub fn variables(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Observe { rollout, .. } => {
                vec![("SLUICEGATE_DO", "observe".to_owned()), ("SLUICEGATE_ROLLOUT", rollout.to_owned())]
            }
            Self::Apply { rollout, role, version, replicas } => vec![
                ("SLUICEGATE_DO", "apply".to_owned()),
                ("SLUICEGATE_ROLLOUT", rollout.to_owned()),
                ("SLUICEGATE_ROLE", role.name().to_owned()),
                // A version with a NUL in it could not be passed on at all.
                ("SLUICEGATE_VERSION", version.replace('\0', "")),
                ("SLUICEGATE_REPLICAS", replicas.to_string()),
            ],
        }
    }

    /// In words, for messages and the log.
    pub fn in_words(self) -> String {
        match self {
            Self::Observe { rollout, .. } => format!("observe of {rollout}"),
            Self::Apply { rollout, role, version, replicas } => {
                format!("apply of {replicas} {role} {version:?} of {rollout}")
            }
        }
    }
}

#[derive(Deserialize)]
struct Written {
    protocol: Option<u64>,
    error: Option<String>,
    main: Option<WrittenRole>,
    baseline: Option<WrittenRole>,
    canary: Option<WrittenRole>,
}

#[derive(Deserialize)]
struct WrittenRole {
    version: Option<String>,
    replicas: u32,
    ready: u32,
    settled: Option<bool>,
    trouble: Option<String>,
}

/// Reads the answer to an `observe` of these roles.
pub fn observed(answer: &[u8], roles: &[Role]) -> Result<Observed, AnswerError> {
    let mut written = read(answer)?;
    let mut observed = Observed::default();
    for role in roles {
        let given = match role {
            Role::Main => written.main.take(),
            Role::Baseline => written.baseline.take(),
            Role::Canary => written.canary.take(),
        };
        let given = given.ok_or(AnswerError::MissingRole(*role))?;
        let version = given.version.unwrap_or_default();
        if version.is_empty() && given.replicas > 0 {
            return Err(AnswerError::NoVersion { role: *role, replicas: given.replicas });
        }
        let workload = Workload {
            version,
            replicas: given.replicas,
            ready: given.ready,
            settled: given.settled.unwrap_or(given.ready == given.replicas),
            trouble: given.trouble.map(|line| shorten(&line)).filter(|line| !line.is_empty()),
            floor: None,
        };
        observed.set(*role, workload);
    }
    Ok(observed)
}

/// Reads the answer to an `apply`.
pub fn applied(answer: &[u8]) -> Result<(), AnswerError> {
    if answer.trim_ascii().is_empty() { Ok(()) } else { read(answer).map(|_| ()) }
}

fn read(answer: &[u8]) -> Result<Written, AnswerError> {
    if answer.trim_ascii().is_empty() {
        return Err(AnswerError::Empty);
    }
    let begins = || answer.get(..SHOWN).unwrap_or(answer).escape_ascii().to_string();
    let text =
        std::str::from_utf8(answer).map_err(|why| AnswerError::NotUtf8 { at: why.valid_up_to(), begins: begins() })?;
    let written: Written = serde_json::from_str(text).map_err(|why| {
        // serde_json ends its messages with the place, which has fields of its own here.
        let full = why.to_string();
        let words = full.rsplit_once(" at line ").map_or(full.as_str(), |(words, _)| words).to_owned();
        AnswerError::NotJson { line: why.line(), column: why.column(), why: words, begins: begins() }
    })?;
    match (written.protocol, &written.error) {
        (Some(other), _) if other != PROTOCOL => Err(AnswerError::Protocol(other)),
        (_, Some(error)) => Err(AnswerError::Refused(shorten(error))),
        _ => Ok(written),
    }
}

/// One line, not too long.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
