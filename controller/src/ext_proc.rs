//! `sluicegate ext-proc`: the filter's decision as a gRPC service, for proxies that cannot load Wasm.
//!
//! In the order a request meets it:
//!
//! * [`service`]: the route that Envoy calls, one stream per HTTP request. [`proto`]: its messages.
//! * [`exchange`]: one HTTP request: the decision at its headers, its outcome at those of the response.
//! * [`gate`]: decides and counts, by the same core as the filter.
//! * [`follow`]: a proxy towards the controller: poll, ack, report. [`link`]: how it is reached.

pub mod exchange;
pub mod follow;
pub mod gate;
pub mod link;
mod metrics;
pub mod proto;
pub mod service;

use crate::{
    app,
    listen::{Port, TlsFiles},
};
use anyhow::{Context as _, Result};
use exchange::Desk;
use follow::{Follower, Identity};
use gate::{Gate, Rules};
use link::{Address, Link};
use sluicegate_core::wire::ProxyId;
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::{info, warn};

/// What `sluicegate ext-proc` was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the controller is.
    pub controller: Address,
    /// Where Envoy calls.
    pub listen: SocketAddr,
    /// Certificate and key of that port.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where monitoring calls.
    pub metrics_listen: Option<SocketAddr>,
    /// What is decided.
    pub rules: Rules,
    /// The controller is lost after this long without an answer.
    pub lost_after: Option<Duration>,
    /// Name of this proxy, for people.
    pub node: String,
    /// Envoy is given the subset as dynamic metadata.
    pub access_log: bool,
    /// Requests under way may take this long when the process ends.
    pub drain: Duration,
}

/// Serves until `stop` completes, then lets requests under way finish and reports what they counted.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<()> {
    let tls = config.tls.map(|(cert, key)| TlsFiles::read(cert, key)).transpose()?.map(Arc::new);
    let bind = |what, address, tls| async move {
        Port::bind(address, tls).await.with_context(|| format!("cannot listen on {address} ({what})"))
    };
    let port = bind("--listen", config.listen, tls).await?.with_farewell(config.drain);
    let metrics = match config.metrics_listen {
        Some(address) => Some(bind("--metrics-listen", address, None).await?),
        None => None,
    };
    let clock = app::clock();
    let identity = Identity {
        proxy: ProxyId { epoch: rand::random(), node: config.node, plugin: "ext-proc".to_owned() },
        subscription: config.rules.subscription.clone(),
        observe: config.rules.observe,
        lost_after: config.lost_after,
    };
    let gate = Arc::new(Gate::new(config.rules, rand::random()));
    let follower = Follower::new(identity, Arc::clone(&gate), Link::new(config.controller)?, clock.clone());
    let follower = Arc::new(follower);
    let router = service::router(Desk { gate: Arc::clone(&gate), clock, access_log: config.access_log });

    let (close, closing) = watch::channel(false);
    info!(listen = %port.address()?, "listening for Envoy");
    let serving = tokio::spawn(port.serve(router, closing.clone()));
    let following = tokio::spawn(Arc::clone(&follower).run());
    let (close_metrics, closing_metrics) = watch::channel(false);
    let monitored = match metrics {
        None => None,
        Some(port) => {
            info!(metrics_listen = %port.address()?, "listening for monitoring");
            let router = metrics::router(metrics::Told { gate, follower: Arc::clone(&follower), closing });
            Some(tokio::spawn(port.serve(router, closing_metrics)))
        }
    };
    stop.await;
    info!("shutting down");
    close.send_replace(true);
    serving.await.context("the port ended with a panic")?;
    // Not before: what is decided while it drains is decided by the weights in force, and acked.
    following.abort();
    if let Err(why) = follower.report().await {
        warn!("the last counts could not be reported: {why:#}");
    }
    close_metrics.send_replace(true);
    if let Some(monitored) = monitored {
        monitored.await.context("the port of --metrics-listen ended with a panic")?;
    }
    Ok(())
}
