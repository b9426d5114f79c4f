//! `sluicegate dashboard`.

use super::text;
use crate::{
    admin::look::Looker,
    app,
    kube::{cluster, dashboard, rights},
    listen::Port,
};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use kube::{Client, config::Kubeconfig};
use std::{net::SocketAddr, pin::pin};
use tokio::runtime::Runtime;

/// Options of `dashboard`.
#[derive(Debug, Args)]
pub(super) struct Dashboard {
    /// Where the browser finds it. Only this machine may reach it, since whoever does acts with your rights. Port 0 takes
    /// any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7072", value_parser = loopback)]
    listen: SocketAddr,
    /// The context of the kubeconfig [default: the current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace that is shown [default: that of the kubeconfig].
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Show all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

fn loopback(typed: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = typed.parse().map_err(|_| "write an address with a port, such as 127.0.0.1:7072")?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "other machines can reach it, and who reaches the dashboard acts with your rights, since it asks nobody who they \
         are; listen on 127.0.0.1, and reach that from elsewhere with `ssh -L {0}:127.0.0.1:{0}`",
        address.port()
    ))
}

pub(super) fn run(told: Dashboard) -> Result<()> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let mut stop = pin!(app::signal().context("cannot listen for signals")?);
        let (dashboard, looker) = tokio::select! {
            opened = open(told) => opened?,
            () = &mut stop => return Ok(()),
        };
        let (Looker { user, context, .. }, address) = (looker, dashboard.address);
        text::print(&format!("The dashboard of {context} as {user}: http://{address}\n"))?;
        dashboard.run(stop).await;
        Ok(())
    });
    // A question that is under way is nobody's any more.
    runtime.shutdown_background();
    done
}

async fn open(told: Dashboard) -> Result<(dashboard::Dashboard, Looker)> {
    let port = Port::bind(told.listen, None).await.with_context(|| {
        format!(
            "cannot listen on {}; is another dashboard running there? `--listen 127.0.0.1:0` takes any free port",
            told.listen
        )
    })?;
    let context = context(told.context.as_deref());
    let connected = cluster::connect(told.context.as_deref()).await;
    let (client, usual) = connected.context("--context and KUBECONFIG say which cluster it is")?;
    let user =
        who(&client).await.with_context(|| format!("{context} cannot be asked; `kubectl cluster-info` asks it too"))?;
    let namespace = (!told.all_namespaces).then(|| told.namespace.unwrap_or(usual));
    let looker = Looker { user, context, namespace };
    Ok((dashboard::build(port, client, looker.clone(), app::clock()).await?, looker))
}

async fn who(client: &Client) -> Result<String> {
    rights::user(client).await?.ok_or_else(|| anyhow!("it does not say who you are"))
}

/// What people call the cluster.
fn context(given: Option<&str>) -> String {
    let current = || Kubeconfig::read().ok().and_then(|config| config.current_context);
    given.map(str::to_owned).or_else(current).unwrap_or_else(|| "this cluster".to_owned())
}
