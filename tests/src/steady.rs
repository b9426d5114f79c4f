//! A steady load beside a test: a thread that sends at a fixed rate and keeps every answer, in the order sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};

use crate::http1;
use crate::load::{Limits, Load, Tally, Write};
use crate::poll;

/// Connections of a steady load: enough that every worker has some.
const CONNECTIONS: usize = 16;

/// The running load. Dropping it ends it.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    /// As they came.
    answers: Arc<Mutex<Vec<Seeing>>>,
    thread: Option<thread::JoinHandle<Result<Tally>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Seen {
    /// All of it, counted.
    pub tally: Tally,
    answers: Vec<Seeing>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Seeing {
    /// When its request was sent.
    pub sent: Instant,
    /// When its answer was complete.
    pub answered: Instant,
    /// Its status.
    pub status: u16,
    /// The pod that gave it; "" when Envoy did.
    pub pod: String,
}

impl Steady {
    /// Starts so many requests per second over sixteen connections.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn start(to: SocketAddr, rate: f64) -> Result<Self> {
        Self::run(Load::new(to, CONNECTIONS, "")?, rate)
    }

    /// The same, of a host that is asked for by this name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_to_host(to: SocketAddr, host: &str, rate: f64) -> Result<Self> {
        Self::run(Load::to_host(to, CONNECTIONS, host, "")?, rate)
    }

    /// The same; `write` makes each request.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(to: SocketAddr, rate: f64, write: Write) -> Result<Self> {
        Self::run(Load::with(to, CONNECTIONS, write)?, rate)
    }

    fn run(mut load: Load, rate: f64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let limits = Limits::count(u64::MAX).rate(rate).until(&stop);
        let seen = Arc::clone(&answers);
        let thread = thread::spawn(move || {
            load.run_with(&limits, |answer| {
                let pod = http1::header(answer.head, "x-pod").unwrap_or_default();
                let pod = String::from_utf8_lossy(pod).into_owned();
                let answered = answer.sent + answer.latency;
                lock(&seen).push(Seeing { sent: answer.sent, answered, status: answer.status, pod });
            })
        });
        Ok(Self { stop, answers, thread: Some(thread) })
    }

    /// Waits for so many more answers; returns when it began to wait, and when they were there.
    ///
    /// # Errors
    /// When they do not come.
    pub fn await_answers(&self, more: usize) -> Result<(Instant, Instant)> {
        let began = Instant::now();
        let until = lock(&self.answers).len() + more;
        poll::until(&format!("{more} answers"), poll::LONG, || {
            let now = lock(&self.answers).len();
            if now >= until { Ok(()) } else { Err(format!("{} to go", until - now)) }
        })?;
        Ok((began, Instant::now()))
    }

    /// The answers that came last, at most so many, as they came.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Seeing> {
        let answers = lock(&self.answers);
        answers[answers.len().saturating_sub(count)..].to_vec()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the load generator itself failed.
    pub fn stop(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Err(anyhow!("stopped before")) };
        let tally = thread.join().map_err(|_| anyhow!("the load generator panicked"))??;
        let mut answers = std::mem::take(&mut *lock(&self.answers));
        answers.sort_by_key(|seeing| seeing.sent);
        Ok(Seen { tally, answers })
    }

    /// Ends it, and fails unless every request was answered with 200.
    ///
    /// # Errors
    /// When one was not.
    pub fn stop_clean(self) -> Result<Seen> {
        let seen = self.stop()?;
        ensure!(seen.tally.answers() > 0 && seen.tally.failures() == 0, "requests failed: {:?}", seen.tally.statuses);
        Ok(seen)
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    /// All answers, in the order sent.
    #[must_use]
    pub fn all(&self) -> &[Seeing] {
        &self.answers
    }

    /// The answers to requests sent at or after this moment.
    pub fn since(&self, moment: Instant) -> impl Iterator<Item = &Seeing> {
        self.answers.iter().filter(move |seeing| seeing.sent >= moment)
    }

    /// Of these, the answers that were there before another moment: whatever that one changed, it did not change them.
    pub fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Seeing> {
        self.since(from).filter(move |seeing| seeing.answered < to)
    }

    /// Fails unless all requests sent at or after this moment, some at least, went to this pod.
    ///
    /// # Errors
    /// When one did not.
    pub fn only_since(&self, moment: Instant, pod: &str) -> Result<()> {
        ensure!(self.since(moment).next().is_some(), "no request was sent after that moment");
        match self.since(moment).find(|seeing| seeing.pod != pod) {
            Some(other) => Err(anyhow!("not {pod}, {:?} later: {other:?}", other.sent - moment)),
            None => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
