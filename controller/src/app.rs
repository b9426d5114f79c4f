//! Builds and runs the controller. The only place that knows everybody, and the only one that reads the clock.

use crate::{
    admin,
    clock::{Clock, Now},
    context::{Context, Desk},
    listen::{Port, TlsFiles, token, token::TokenFile},
    push, report,
    rollouts::{self, Desks, engine::Tools, record::Records},
    store::{Command, Handle, file::FolderStore, watch},
};
use anyhow::{Context as _, Result, bail};
use axum::{Router, middleware, routing::post};
use sluicegate_core::wire::{REPORT_PATH, SYNC_PATH};
use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::info;

/// How often silence of proxies is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What `sluicegate serve` was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of YAML.
    pub dir: PathBuf,
    /// Where generations are kept; `None`: `.sluicegate` in the folder.
    pub state: Option<PathBuf>,
    /// Where the filters call.
    pub proxy_listen: SocketAddr,
    /// Where people and monitoring call.
    pub admin_listen: SocketAddr,
    /// The admin port may be reachable from other machines.
    pub admin_allow_remote: bool,
    /// Certificate and key of the proxy port.
    pub proxy_tls: Option<(PathBuf, PathBuf)>,
    /// Tokens the proxy port asks for.
    pub proxy_token_file: Option<PathBuf>,
    /// What proxies are told as their report interval.
    pub report_interval: Duration,
}

/// A controller whose ports are bound and whose folder is read, not yet serving.
#[derive(Debug)]
pub struct Bound {
    /// Where the filters call.
    pub proxy_address: SocketAddr,
    /// Where people call.
    pub admin_address: SocketAddr,
    proxy: (Port, Router),
    admin: (Port, Router),
    context: Context,
    commands: mpsc::Sender<Command>,
    store: JoinHandle<Option<FolderStore>>,
    rollouts: JoinHandle<()>,
}

/// The real clock; under a paused tokio clock it stands still with it.
#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
pub fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Clock::new(move || Now { at: start.elapsed(), wall: jiff::Timestamp::now() })
}

/// Binds the ports and reads the folder.
pub async fn build(config: Config) -> Result<Bound> {
    if !config.admin_listen.ip().is_loopback() && !config.admin_allow_remote {
        bail!(
            "--admin-listen {} can be reached from other machines, and whoever reaches it can change weights; listen \
             on 127.0.0.1, or say --admin-allow-remote",
            config.admin_listen
        );
    }
    let tls = config.proxy_tls.map(|(cert, key)| TlsFiles::read(cert, key)).transpose()?;
    let tokens = config.proxy_token_file.map(TokenFile::read).transpose()?;
    let bind = |what, address, tls| async move {
        let port = Port::bind(address, tls).await;
        port.with_context(|| format!("cannot listen on {address} ({what}); is another controller running?"))
    };
    let proxy = bind("--proxy-listen", config.proxy_listen, tls).await?;
    let admin = bind("--admin-listen", config.admin_listen, None).await?;

    let clock = clock();
    let context = Context::new(rand::random(), config.report_interval, clock.clone());
    let (commands, queue) = mpsc::channel(watch::QUEUE);
    let state = config.state.clone().unwrap_or_else(|| config.dir.join(".sluicegate"));
    let records = Records::open(&state)?;
    context.remember(rollouts::remembered(&records));
    let (dir, sink, start) = (config.dir.clone(), Box::new(context.clone()), clock.now());
    let store = tokio::task::spawn_blocking(move || FolderStore::open(config.dir, config.state, sink, start)).await??;
    context.lock().loaded = true;
    let store = tokio::spawn(watch::run(store, dir.clone(), commands.clone(), queue, clock));
    let desks = Desks::default();
    let tools = Tools { context: context.clone(), store: Handle(commands.clone()), records, folder: dir };
    let rollouts = tokio::spawn(rollouts::run(tools, desks.clone()));

    let mut proxy_router = Router::new()
        .route(SYNC_PATH, post(push::sync))
        .route(REPORT_PATH, post(report::report))
        .with_state(context.clone());
    if let Some(tokens) = tokens {
        proxy_router = proxy_router.layer(middleware::from_fn_with_state(tokens, token::check));
    }
    let admin_router =
        admin::router(Desk { context: context.clone(), store: Handle(commands.clone()), rollouts: desks });
    Ok(Bound {
        proxy_address: proxy.address()?,
        admin_address: admin.address()?,
        proxy: (proxy, proxy_router),
        admin: (admin, admin_router),
        context,
        commands,
        store,
        rollouts,
    })
}

impl Bound {
    /// Serves until `stop` completes; then answers held polls, finishes writes and returns.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { proxy, admin, context, commands, mut store, rollouts, .. } = self;
        info!(proxy_listen = %self.proxy_address, admin_listen = %self.admin_address, "listening");
        let proxy = tokio::spawn(proxy.0.serve(proxy.1, context.closing()));
        let admin = tokio::spawn(admin.0.serve(admin.1, context.closing()));
        let ticks = tokio::spawn({
            let context = context.clone();
            async move {
                let mut interval = tokio::time::interval(TICK);
                loop {
                    interval.tick().await;
                    context.tick(context.clock.now());
                }
            }
        });
        let lost = tokio::select! {
            () = stop => false,
            _ = &mut store => true,
        };
        info!("shutting down");
        context.close();
        ticks.abort();
        let (proxy, admin) = tokio::join!(proxy, admin);
        proxy.and(admin).context("a port ended with a panic")?;
        rollouts.await.context("the rollouts ended with a panic")?;
        if lost {
            bail!("the store ended by itself, which is a bug; the log above may say why");
        }
        // Fails only when the store is gone already. What is queued before this is still carried out.
        let _ = commands.send(Command::Stop).await;
        store.await.context("the store ended with a panic")?;
        Ok(())
    }
}

/// Listens for SIGTERM and SIGINT from now on; what it returns completes at the first one.
pub fn signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
