//! What persons say to a rollout: over the admin port, and by Judgments among their documents.

use super::Engine;
use crate::{
    api::{
        accept_rollout::{Judgment, Said},
        judgment::DecisionKind,
    },
    rollouts::{
        Found, Wanted,
        history::{self, Entry},
        machine::Machine,
        record::Record,
        words,
    },
    store::{SetError, TestEdit},
};
use serde_json::json;
use sluicegate_core::rollout::{
    command::{Command, Refused},
    deploy::{Phase, State},
};
use tokio::sync::oneshot;
use tracing::info;

/// What a person says to a rollout.
#[derive(Debug)]
pub struct Order {
    /// What, and who says so.
    pub what: What,
    /// What became of it.
    pub reply: oneshot::Sender<Result<(), OrderError>>,
}

/// What a person wants of a rollout.
#[derive(Debug, Clone)]
pub enum What {
    /// A word to a CanaryDeploy.
    Word(Word),
    /// Another weight for a CanaryTest.
    Weigh(Weigh),
}

/// What a CanaryTest is to be, by whom, and why.
#[derive(Debug, Clone)]
pub struct Weigh {
    /// What.
    pub edit: TestEdit,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What is said, by whom, and why.
#[derive(Debug, Clone)]
pub struct Word {
    /// What.
    pub command: Command,
    /// The step it is about, counting from 0.
    pub about: Option<usize>,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not now.
    #[error("{rollout}: {why}")]
    Refused {
        /// Which rollout.
        rollout: String,
        /// Why not.
        why: Refused,
    },
    /// It could not be written down.
    #[error("{0}; nothing has changed")]
    Disk(String),
    /// Nobody knows whether it was written down.
    #[error("{0}; it may have been written down all the same: look, and say it again if it was not")]
    Unanswered(String),
    /// It is not to be written into the user's file, or could not be.
    #[error(transparent)]
    Store(#[from] SetError),
    /// It is in the file, and not yet in the history.
    #[error("the file says so now and it is in force; who asked for it is noted once that is possible: {0}")]
    Unnoted(String),
}

/// What is to become of a Judgment among the documents.
enum Due {
    /// Its moment may still come.
    Later,
    /// Its moment has passed, or never comes.
    Never(String),
    /// Now.
    Now(Word),
}

impl Engine {
    pub(super) async fn obey(&mut self, order: Order) {
        let done = match &order.what {
            What::Word(word) => self.carry_order(word, None).await,
            What::Weigh(weigh) => self.weigh(weigh).await,
        };
        self.publish();
        // The asker may have gone; what was done stays done.
        let _ = order.reply.send(done);
    }

    /// `document`: the Judgment that says it, which is done with by this.
    async fn carry_order(&mut self, word: &Word, document: Option<&str>) -> Result<(), OrderError> {
        let done = self.try_order(word, document).await;
        let Word { command, by, reason, .. } = word;
        match &done {
            Ok(()) => info!(rollout = self.name, ?command, by, reason, "a person said"),
            Err(why) => info!(rollout = self.name, ?command, by, %why, "a person was refused"),
        }
        done
    }

    async fn try_order(&mut self, word: &Word, document: Option<&str>) -> Result<(), OrderError> {
        self.settle().await.map_err(OrderError::Disk)?;
        let refused = |why| OrderError::Refused { rollout: self.name.clone(), why };
        let record = self.record.clone().ok_or_else(|| refused(Refused::Idle))?;
        let at = self.tools.context.clock.now().wall;
        let stepped = record.machine.command(word.command, word.about, &self.seen(&record), self.wall_ms());
        let machine = stepped.map_err(refused)?;
        let said = said(word.command);
        if let Machine::CanaryDeploy { state, evidence, .. } = &record.machine {
            let version = state.rollout.as_ref().map(|rollout| rollout.version.clone());
            let judgment = json!({
                "rollout": self.name, "version": version, "step": state.phase.step().map(|step| step + 1),
                "decision": said, "by": word.by, "reason": word.reason, "at": at,
                "evidence": evidence.as_ref().map(|e| e.assess()),
            });
            let name = format!("{}_{}_{}_{}", self.name, version.unwrap_or_default(), self.wall_ms(), word.by);
            self.tools.records.judge(&name, &judgment).await.map_err(|why| OrderError::Disk(why.to_string()))?;
        }
        let why = if word.reason.is_empty() { String::new() } else { format!(": {}", word.reason) };
        let message = format!("{} said {said}{why}", word.by);
        let step = words::place(&record.machine).1.map(|step| step + 1);
        let told = told(word, document, step);
        let kept = self.keep(|record| {
            let entry = Entry::new(at, words::phase(&record.machine), message);
            record.history.push(Entry { step, said: Some(told), ..entry });
            record.machine = machine;
            // In one write with what follows from it, so that it is never carried out twice.
            if let Some(document) = document {
                record.judgments.insert(document.to_owned(), "carried out".to_owned());
            }
        });
        kept.await.map_err(|why| self.unkept(why))
    }

    /// Why something was not written down, for who asked for it.
    pub(super) fn unkept(&self, why: String) -> OrderError {
        if self.doubtful { OrderError::Unanswered(why) } else { OrderError::Disk(why) }
    }

    /// Carries out the Judgments among the documents, each once.
    pub(super) async fn heed(&mut self) -> Result<(), String> {
        let Some(Found { wanted, judgments, .. }) = self.spec.borrow().clone() else { return Ok(()) };
        let Some(record) = &self.record else { return Ok(()) };
        let known = |name: &String| judgments.iter().any(|judgment| judgment.name == *name);
        if !record.judgments.keys().all(known) {
            self.keep(|record| record.judgments.retain(|name, _| known(name))).await?;
        }
        for judgment in &judgments {
            let Some(record) = self.record.as_ref().filter(|r| !r.judgments.contains_key(&judgment.name)) else {
                continue;
            };
            let refusal = match due(judgment, record, &wanted) {
                Due::Later => continue,
                Due::Never(why) => why,
                Due::Now(word) => match self.carry_order(&word, Some(&judgment.name)).await {
                    Ok(()) => continue,
                    Err(OrderError::Disk(why) | OrderError::Unanswered(why)) => return Err(why),
                    Err(why) => why.to_string(),
                },
            };
            let at = self.tools.context.clock.now().wall;
            self.keep(|record| {
                let phase = words::phase(&record.machine);
                let message = format!("Judgment {} is refused: {refusal}", judgment.name);
                let said = refused(judgment, &refusal);
                record.history.push(Entry { said, ..Entry::new(at, phase, message) });
                record.judgments.insert(judgment.name.clone(), format!("refused: {refusal}"));
            })
            .await?;
        }
        Ok(())
    }
}

fn due(judgment: &Judgment, record: &Record, wanted: &Wanted) -> Due {
    let Said::Person { decision, by, over_fail } = &judgment.said else {
        return Due::Never("it is a record of the evidence; nothing follows from it".to_owned());
    };
    let Machine::CanaryDeploy { state, .. } = &record.machine else {
        return Due::Never(Refused::Test.to_string());
    };
    let reason = judgment.reason.clone().unwrap_or_default();
    if *decision == DecisionKind::Undo {
        return match &judgment.version {
            Some(about) if *about != state.stable => {
                Due::Never(format!("it is about {about}, and main runs {}", state.stable))
            }
            _ => Due::Now(Word { command: Command::Undo, about: None, by: by.clone(), reason }),
        };
    }
    if let Some(about) = &judgment.version {
        let current = state.rollout.as_ref().filter(|_| state.phase.is_forward()).map(|rollout| &rollout.version);
        match current {
            Some(current) if current == about => {}
            _ if wanted.version() == *about && !is_over(state, about) => return Due::Later,
            Some(current) => return Due::Never(format!("it is about {about}, and {current} is rolled out")),
            None => return Due::Never(format!("it is about {about}, which is over")),
        }
    }
    if !state.phase.is_forward() && !state.phase.is_back() {
        return Due::Later;
    }
    let command = match decision {
        DecisionKind::Continue => Command::Continue { over_fail: *over_fail },
        DecisionKind::Rollback => Command::Rollback,
        DecisionKind::Promote => Command::Promote { over_fail: *over_fail },
        DecisionKind::Undo => Command::Undo,
    };
    if let Some(about) = judgment.step {
        match state.phase.step() {
            Some(step) if about > step => return Due::Later,
            Some(step) if about == step => {}
            Some(_) | None => return Due::Never(format!("step {} is over", about + 1)),
        }
    }
    if matches!(command, Command::Continue { .. }) && !matches!(state.phase, Phase::Hold { .. } | Phase::Watch) {
        return Due::Later;
    }
    Due::Now(Word { command, about: judgment.step, by: by.clone(), reason })
}

/// That version has been promoted or rolled back.
fn is_over(state: &State, version: &str) -> bool {
    state.stable == version || state.rejected.as_deref() == Some(version) || state.phase.is_back()
}

/// What is remembered of what a person said.
fn told(word: &Word, document: Option<&str>, step: Option<usize>) -> history::Said {
    let (verb, by, why) = (said(word.command).to_owned(), word.by.clone(), word.reason.clone());
    history::Said { verb, step, by, why, document: document.map(str::to_owned), refused: None }
}

/// What is remembered of a Judgment that is not carried out; nothing when it is no person's.
fn refused(judgment: &Judgment, refusal: &str) -> Option<history::Said> {
    let Said::Person { decision, by, .. } = &judgment.said else { return None };
    let verb = match decision {
        DecisionKind::Continue => "continue",
        DecisionKind::Rollback => "rollback",
        DecisionKind::Promote => "promote",
        DecisionKind::Undo => "undo",
    };
    Some(history::Said {
        verb: verb.to_owned(),
        step: judgment.step.map(|step| step + 1),
        by: by.clone(),
        why: judgment.reason.clone().unwrap_or_default(),
        document: Some(judgment.name.clone()),
        refused: Some(refusal.to_owned()),
    })
}

/// As a person types it.
fn said(command: Command) -> &'static str {
    match command {
        Command::Pause => "pause",
        Command::Resume => "resume",
        Command::Continue { over_fail: false } => "continue",
        Command::Continue { over_fail: true } => "continue --override",
        Command::Promote { over_fail: false } => "promote",
        Command::Promote { over_fail: true } => "promote --override",
        Command::Rollback => "rollback",
        // By this it begins with, it is a decision to go back.
        Command::Undo => "rollback (undo)",
    }
}
