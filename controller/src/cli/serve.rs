//! `sluicegate serve`.

use crate::app::{self, Config, Source};
use anyhow::{Context, Result};
use clap::Args;
use std::{
    io::{IsTerminal, stderr},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use tracing_subscriber::EnvFilter;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Folder of YAML, one or more documents a file; watched for changes. Subfolders are not entered.
    #[arg(long, value_name = "DIR", required_unless_present = "kube")]
    dir: Option<PathBuf>,
    /// Read from, and write to, the Kubernetes cluster of the kubeconfig or of the pod's service account.
    #[arg(long, conflicts_with_all = ["dir", "state"])]
    kube: bool,
    /// Only this namespace of the cluster [default: all].
    #[arg(long, value_name = "NAME", requires = "kube")]
    namespace: Option<String>,
    /// The label that tells pods of main, baseline and canary apart.
    #[arg(long, value_name = "KEY", requires = "kube", default_value = "sluicegate.dev/role")]
    role_label: String,
    /// Where generations are kept [default: .sluicegate in the folder].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where the filters call. Port 0 takes any free one; the real one is logged.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    proxy_listen: SocketAddr,
    /// Where people call. Who can reach it can change weights.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    admin_listen: SocketAddr,
    /// Allow an --admin-listen that other machines can reach.
    #[arg(long)]
    admin_allow_remote: bool,
    /// Where monitoring calls, for /metrics, /healthz and /readyz: nothing can be changed there [default: the admin port
    /// alone has them].
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Certificate chain of the proxy port, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "proxy_tls_key")]
    proxy_tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "proxy_tls_cert")]
    proxy_tls_key: Option<PathBuf>,
    /// Bearer tokens the filters must show, one per line; each is accepted.
    #[arg(long, value_name = "FILE")]
    proxy_token_file: Option<PathBuf>,
    /// The filter's module, to be fetched by gateways from the proxy port as /sluicegate.wasm, and its digest as
    /// /sluicegate.wasm.sha256.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// How often proxies report what they counted, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    report_interval: Duration,
}

/// A duration as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    parsed.ok_or_else(|| "write a number with a unit, such as 500ms, 2s or 5m".to_owned())
}

/// From here on what happens is told on standard error.
pub(crate) fn begin_log() {
    // Every failed call is told by us, with what it was for.
    let filter = EnvFilter::try_from_env("SLUICEGATE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=off,kube_runtime=off"));
    let ansi = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(ansi).init();
}

/// Runs the controller until it is told to stop.
pub(crate) fn run(serve: Serve) -> Result<()> {
    begin_log();
    let config = Config {
        source: match serve.dir {
            Some(dir) => Source::Folder { dir, state: serve.state },
            None => Source::Kube { namespace: serve.namespace, role_label: serve.role_label },
        },
        proxy_listen: serve.proxy_listen,
        admin_listen: serve.admin_listen,
        admin_allow_remote: serve.admin_allow_remote,
        metrics_listen: serve.metrics_listen,
        proxy_tls: serve.proxy_tls_cert.zip(serve.proxy_tls_key),
        proxy_token_file: serve.proxy_token_file,
        wasm: serve.wasm,
        report_interval: serve.report_interval,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        // Before anybody can know that we are here.
        let stop = app::signal().context("cannot listen for signals")?;
        app::build(config).await?.run(stop).await
    })
}
