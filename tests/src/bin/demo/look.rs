//! After the demo, on a terminal: the page of the rollouts stays there until somebody has seen it.

use std::env;
use std::io::{IsTerminal as _, stdin, stdout};
use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

/// A terminal with somebody at it.
pub(crate) struct Terminal {
    looks: Arc<AtomicBool>,
    ctrl_c: Receiver<()>,
}

impl Terminal {
    /// Listens to its Ctrl-C; `None`: nobody looks, as in CI and in pipes. To be called before there is any thread.
    pub(crate) fn listen() -> Result<Option<Self>> {
        if !stdin().is_terminal() || !stdout().is_terminal() || env::var_os("CI").is_some() {
            return Ok(None);
        }
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        // All threads inherit it, and so do Envoy and the controller: a Ctrl-C is for us, who stop them in order.
        signals.thread_block().context("cannot block signals")?;
        let looks = Arc::new(AtomicBool::new(false));
        let (tell, ctrl_c) = mpsc::channel();
        let looking = Arc::clone(&looks);
        thread::spawn(move || {
            while signals.wait().is_ok() {
                if !looking.load(Ordering::Relaxed) {
                    // In the middle of it: the kernel ends the others with us.
                    process::exit(130);
                }
                tell.send(()).ok();
            }
        });
        Ok(Some(Self { looks, ctrl_c }))
    }

    /// Says where the page is, and waits until it was seen.
    pub(crate) fn look(self, admin: SocketAddr) -> Result<()> {
        self.looks.store(true, Ordering::Relaxed);
        println!("The finished rollouts: http://{admin}  (Ctrl-C ends it)");
        self.ctrl_c.recv().context("no signals")?;
        println!("\nstopping");
        Ok(())
    }
}
