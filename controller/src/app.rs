//! Builds and runs the controller. The only place that knows everybody, and the only one that reads the clock.

use crate::{
    admin::{self, browser::Gate},
    clock::{Clock, Now},
    context::{Context, Desk},
    kube,
    listen::{Port, TlsFiles, module, token, token::TokenFile},
    push, report,
    rollouts::{
        self, Desks,
        engine::Tools,
        record::{Files, Records},
    },
    store::{Command, Handle, file::FolderStore, watch},
    workloads::Keeper,
};
use anyhow::{Context as _, Result, bail};
use axum::{Router, middleware, routing::post};
use sluicegate_core::wire::{REPORT_PATH, SYNC_PATH};
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::info;

/// How often silence of proxies is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Where splits and rollouts come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of YAML.
    Folder {
        /// Which.
        dir: PathBuf,
        /// Where generations are kept; `None`: `.sluicegate` in the folder.
        state: Option<PathBuf>,
    },
    /// A Kubernetes cluster.
    Kube {
        /// Only this namespace; `None`: all.
        namespace: Option<String>,
        /// The label that tells main, baseline and canary apart.
        role_label: String,
    },
}

/// What `sluicegate serve` was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the YAML is.
    pub source: Source,
    /// Where the filters call.
    pub proxy_listen: SocketAddr,
    /// Where people and monitoring call.
    pub admin_listen: SocketAddr,
    /// The admin port may be reachable from other machines.
    pub admin_allow_remote: bool,
    /// Where monitoring calls, and can change nothing; `None`: the admin port has to do.
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate and key of the proxy port.
    pub proxy_tls: Option<(PathBuf, PathBuf)>,
    /// Tokens the proxy port asks for.
    pub proxy_token_file: Option<PathBuf>,
    /// The filter's module, served to gateways.
    pub wasm: Option<PathBuf>,
    /// What proxies are told as their report interval.
    pub report_interval: Duration,
}

type Standings = tokio::sync::watch::Receiver<kube::lease::Standing>;

/// The tasks behind the ports.
#[derive(Debug)]
pub(crate) struct Work {
    /// Ends by itself only when something is wrong with us.
    pub(crate) store: JoinHandle<()>,
    /// End when the process closes.
    pub(crate) rest: Vec<JoinHandle<()>>,
    /// Who leads, where there are several replicas.
    pub(crate) standing: Option<Standings>,
}

/// A controller whose ports are bound and whose folder is read, not yet serving.
#[derive(Debug)]
pub struct Bound {
    /// Where the filters call.
    pub proxy_address: SocketAddr,
    /// Where people call.
    pub admin_address: SocketAddr,
    /// Where monitoring calls.
    pub metrics_address: Option<SocketAddr>,
    ports: Vec<(Port, Router)>,
    context: Context,
    commands: mpsc::Sender<Command>,
    work: Work,
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
    let tls = config.proxy_tls.map(|(cert, key)| TlsFiles::read(cert, key)).transpose()?.map(Arc::new);
    let tokens = config.proxy_token_file.map(TokenFile::read).transpose()?;
    let module = config.wasm.map(module::Module::read).transpose()?;
    if let Some(module) = &module {
        info!(sha256 = module.sha256, "serving /sluicegate.wasm");
    }
    let bind = |what, address, tls| async move {
        let port = Port::bind(address, tls).await;
        port.with_context(|| format!("cannot listen on {address} ({what}); is another controller running?"))
    };
    let proxy = bind("--proxy-listen", config.proxy_listen, tls.clone()).await?;
    let admin = bind("--admin-listen", config.admin_listen, None).await?;
    let metrics = match config.metrics_listen {
        Some(address) => Some(bind("--metrics-listen", address, None).await?),
        None => None,
    };

    let clock = clock();
    let context = Context::new(rand::random(), config.report_interval, clock.clone());
    let (commands, queue) = mpsc::channel(watch::QUEUE);
    let desks = Desks::default();
    let (proxy_address, admin_address) = (proxy.address()?, admin.address()?);
    let local = config.admin_listen.ip().is_loopback();
    let shut = match config.source {
        _ if !local => Some(
            "the dashboard knows nobody, so there is none on an --admin-listen that other machines reach; let it listen on \
             127.0.0.1, and reach that with `ssh -L 7071:127.0.0.1:7071`",
        ),
        Source::Kube { .. } => {
            Some("in a cluster people act as who they are: `kubectl sluicegate dashboard`, on your own machine")
        }
        Source::Folder { .. } => None,
    };
    let work = match config.source {
        Source::Folder { dir, state } => folder(dir, state, &context, commands.clone(), queue, desks.clone()).await?,
        Source::Kube { namespace, role_label } => {
            let place = kube::app::Place { namespace, role_label, proxy: proxy_address };
            kube::app::start(place, &context, commands.clone(), queue, desks.clone()).await?
        }
    };

    let mut proxy_router = Router::new()
        .route(SYNC_PATH, post(push::sync))
        .route(REPORT_PATH, post(report::report))
        .with_state(context.clone());
    if let Some(standing) = work.standing.clone() {
        let relay = kube::relay::Relay { standing, tls };
        proxy_router = proxy_router.layer(middleware::from_fn_with_state(relay, kube::relay::relay));
    }
    if let Some(tokens) = tokens {
        proxy_router = proxy_router.layer(middleware::from_fn_with_state(tokens, token::check));
    }
    let proxy_router = proxy_router.merge(module::router(module));
    let admin_router = admin::router(
        Desk { context: context.clone(), store: Handle(commands.clone()), rollouts: desks },
        Gate::new(shut, local),
    );
    let metrics_address = metrics.as_ref().map(Port::address).transpose()?;
    let metrics = metrics.map(|port| (port, admin::metrics_router(context.clone())));
    Ok(Bound {
        proxy_address,
        admin_address,
        metrics_address,
        ports: [(proxy, proxy_router), (admin, admin_router)].into_iter().chain(metrics).collect(),
        context,
        commands,
        work,
    })
}

/// Reads the folder and begins to follow it.
async fn folder(
    dir: PathBuf,
    state: Option<PathBuf>,
    context: &Context,
    commands: mpsc::Sender<Command>,
    queue: mpsc::Receiver<Command>,
    desks: Desks,
) -> Result<Work> {
    let files = Files::open(&state.clone().unwrap_or_else(|| dir.join(".sluicegate")))?;
    context.remember(rollouts::remembered(&files));
    let (path, sink, start) = (dir.clone(), Box::new(context.clone()), context.clock.now());
    let store = tokio::task::spawn_blocking(move || FolderStore::open(path, state, sink, start)).await??;
    context.lock().loaded = true;
    let watched = watch::run(store, dir.clone(), commands.clone(), queue, context.clock.clone());
    // The store comes back, so that its state stays locked until it has ended.
    let store = tokio::spawn(async move { drop(watched.await) });
    let tools = Tools {
        context: context.clone(),
        store: Handle(commands),
        records: Records::Files(files),
        keeper: Keeper::Folder(dir.clone()),
        folder: dir,
    };
    Ok(Work { store, rest: vec![tokio::spawn(rollouts::run(tools, desks))], standing: None })
}

impl Bound {
    /// Serves until `stop` completes; then answers held polls, finishes writes and returns.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { ports, context, commands, work, .. } = self;
        let Work { mut store, rest, .. } = work;
        info!(proxy_listen = %self.proxy_address, admin_listen = %self.admin_address, "listening");
        if let Some(metrics_listen) = self.metrics_address {
            info!(%metrics_listen, "listening for monitoring");
        }
        let serve = |(port, router): (Port, Router)| tokio::spawn(port.serve(router, context.closing()));
        let ports: Vec<_> = ports.into_iter().map(serve).collect();
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
        for port in ports {
            port.await.context("a port ended with a panic")?;
        }
        for task in rest {
            task.await.context("a task ended with a panic")?;
        }
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
