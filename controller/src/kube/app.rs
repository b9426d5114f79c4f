//! Starts everything that a cluster needs.

use super::{
    cluster::{self, Cluster, Kind},
    events,
    lease::{Election, Fence, Standing},
    records::KubeRecords,
    report,
    store::KubeStore,
    watch,
};
use crate::{
    app::Work,
    context::Context,
    rollouts::{self, Desks, engine::Tools, record::Records},
    store::{Command, Handle},
    workloads::{Keeper, kube::Deployments},
};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use tokio::sync::{mpsc, watch as channel};
use tracing::info;

/// What is heard of the cluster waits here while the store writes; when it is full, the watches wait.
const NOTICED: usize = 1024;

/// What files that documents name are seen from, such as `secretFile`: mounted for that, and nothing else is there.
const FILES: &str = "/etc/sluicegate/files";

/// Where to look, and who we are.
#[derive(Debug)]
pub(crate) struct Place {
    /// Only this one.
    pub(crate) namespace: Option<String>,
    /// Tells main, baseline and canary apart.
    pub(crate) role_label: String,
    /// Where the filters call.
    pub(crate) proxy: SocketAddr,
}

/// Begins to follow the cluster. Nothing is known yet when this returns; `/readyz` tells when it is.
pub(crate) async fn start(
    place: Place,
    context: &Context,
    commands: mpsc::Sender<Command>,
    queue: mpsc::Receiver<Command>,
    desks: Desks,
) -> Result<Work> {
    let (client, default_namespace) = cluster::connect(None)
        .await
        .context("set KUBECONFIG to a kubeconfig, or run it in a pod with a service account")?;
    context.lock().leads = false;
    let fence = Fence::new(context.clock.clone());
    // In a pod the lease is beside it, whatever namespace it looks at; elsewhere there is no such place.
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let home = place.namespace.clone().filter(|_| !in_pod).unwrap_or(default_namespace);
    let host = std::env::var("POD_NAME").or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"));
    // The port is this process's alone, so a restart is itself again and need not wait for its own lease to run out.
    let identity = format!("{}_{}", host.unwrap_or_default().trim(), place.proxy.port());
    let address = std::env::var("POD_IP").map_or_else(|_| place.proxy.to_string(), |ip| join(&ip, place.proxy.port()));
    let election = Election::new(client.clone(), &home, identity.clone(), address, fence.clone());
    let cluster = Cluster::new(client, place.namespace, fence);
    let (told, noticed) = mpsc::channel(NOTICED);
    for kind in Kind::ALL.into_iter().chain(Kind::WORKLOADS) {
        // Ends with the store, which has the other end of the channel.
        drop(tokio::spawn(watch::run(cluster.clone(), kind, told.clone())));
    }
    let standing = election.standing();
    let store = KubeStore::new(cluster.clone(), context.clone()).run(noticed, queue, standing.clone());
    let keeper = Keeper::Cluster(Deployments::new(cluster.clone(), place.role_label));
    let lead =
        lead(context.clone(), Handle(commands), KubeRecords::new(cluster.clone()), keeper, desks, standing.clone());
    let rest = vec![
        tokio::spawn(lead),
        tokio::spawn(report::run(cluster.clone(), context.clone())),
        tokio::spawn(events::run(cluster, context.clone(), identity)),
        tokio::spawn(election.run(context.closing())),
    ];
    Ok(Work { store: tokio::spawn(store), rest, standing: Some(standing) })
}

fn join(ip: &str, port: u16) -> String {
    ip.parse().map_or_else(|_| format!("{ip}:{port}"), |ip| SocketAddr::new(ip, port).to_string())
}

/// Leads rollouts for as long as this replica leads. What is cut off goes on where it was, here or elsewhere: states are
/// written in one piece, effects repeat.
async fn lead(
    context: Context,
    store: Handle,
    records: KubeRecords,
    keeper: Keeper,
    desks: Desks,
    mut standing: channel::Receiver<Standing>,
) {
    let mut closing = context.closing();
    loop {
        let begun = async {
            let leads = standing.wait_for(|standing| standing.leads).await.is_ok();
            until_loaded(&context).await;
            leads
        };
        tokio::select! {
            leads = begun => if !leads { return },
            _ = closing.wait_for(|closing| *closing) => return,
        }
        let tools = Tools {
            context: context.clone(),
            store: store.clone(),
            records: Records::Cluster(records.clone()),
            keeper: keeper.clone(),
            folder: FILES.into(),
        };
        context.lock().leads = true;
        let run = rollouts::run(tools, desks.clone());
        tokio::select! {
            () = run => {}
            _ = standing.wait_for(|standing| !standing.leads) => info!("rollouts are led by another replica now"),
        }
        desks.clear();
        {
            let mut inner = context.lock();
            inner.rollouts.clear();
            inner.leads = false;
        }
        if *closing.borrow() {
            return;
        }
    }
}

async fn until_loaded(context: &Context) {
    let mut settled = context.settled();
    while !context.lock().loaded {
        // It ticks every second, and more often.
        if settled.changed().await.is_err() {
            return;
        }
    }
}
