//! Work that an engine has done beside it, so that it can go on listening.

use std::{future::Future, sync::Arc};
use tokio::{
    sync::{
        Notify,
        oneshot::{self, error::TryRecvError},
    },
    task::AbortHandle,
};

/// Work under way; dropped, it is given up.
#[derive(Debug)]
pub struct Job<T> {
    answer: oneshot::Receiver<T>,
    task: AbortHandle,
}

/// How work stands.
#[derive(Debug)]
pub enum Progress<T> {
    /// Under way.
    Busy(Job<T>),
    /// This came of it.
    Done(T),
    /// It ended with a panic, which is a bug.
    Lost,
}

impl<T: Send + 'static> Job<T> {
    /// Begins; `wake` is told when it is done.
    pub fn start(wake: &Arc<Notify>, work: impl Future<Output = T> + Send + 'static) -> Self {
        let (sender, answer) = oneshot::channel();
        let wake = Arc::clone(wake);
        let task = tokio::spawn(async move {
            // Fails only when nobody waits for it any more.
            let _ = sender.send(work.await);
            wake.notify_one();
        });
        Self { answer, task: task.abort_handle() }
    }

    /// Looks without waiting.
    pub fn look(mut self) -> Progress<T> {
        match self.answer.try_recv() {
            Ok(done) => Progress::Done(done),
            Err(TryRecvError::Empty) => Progress::Busy(self),
            Err(TryRecvError::Closed) => Progress::Lost,
        }
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
