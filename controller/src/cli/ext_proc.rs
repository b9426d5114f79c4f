//! `sluicegate ext-proc`.

use super::{
    serve::{begin_log, duration},
    split_name,
};
use crate::{
    app,
    ext_proc::{self, Config, gate::Rules, link::Address},
};
use anyhow::{Context, Result};
use clap::Args;
use sluicegate_core::{
    name,
    spec::{Assignment, Protocol, SplitSpec, SubsetSpec},
    split::Split,
    wire::Subscription,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Options of `ext-proc`.
#[derive(Debug, Args)]
pub(crate) struct ExtProc {
    /// The proxy port of the controller.
    #[arg(long, value_name = "URL")]
    controller: String,
    /// Where Envoy calls, by gRPC. Port 0 takes any free one; the real one is logged.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7073")]
    listen: SocketAddr,
    /// The one split to serve.
    #[arg(long, value_name = "SPLIT", value_parser = split_name, required_unless_present = "hosts")]
    split: Option<String>,
    /// Serve every split that lists hosts, by :authority.
    #[arg(long, conflicts_with = "split")]
    hosts: bool,
    /// Until there have been weights: one subset, or weights such as main=90,canary=10. Unless given: no header, the default
    /// route.
    #[arg(long, value_name = "SUBSETS", value_parser = fallback)]
    fallback: Option<SplitSpec>,
    /// Where all requests go when there has been no controller for too long. Unless given: on by the last weights.
    #[arg(long, value_name = "SUBSET", value_parser = subset, requires = "on_loss_after")]
    on_loss_revert: Option<String>,
    /// How long is too long, at least 1s.
    #[arg(long, value_name = "TIME", value_parser = second, requires = "on_loss_revert")]
    on_loss_after: Option<Duration>,
    /// The subset header.
    #[arg(long, value_name = "NAME", default_value = "x-sluicegate-subset", value_parser = header)]
    header: String,
    /// Look at no response: nothing is counted for rollouts to judge by, and no sticky cookies are issued.
    #[arg(long)]
    split_only: bool,
    /// Give Envoy the subset for access logs: %DYNAMIC_METADATA(sluicegate:subset)%.
    #[arg(long)]
    access_log: bool,
    /// Whom to trust as the controller, PEM [default: the certificate authorities of the web].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The bearer token that the controller asks for; read again for each call.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate chain of --listen, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where monitoring calls, for /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Name of this proxy, for people.
    #[arg(long, value_name = "NAME", env = "HOSTNAME", default_value = "ext-proc")]
    node: String,
    /// How long requests under way may take when the process ends.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    drain: Duration,
}

fn header(typed: &str) -> Result<String, String> {
    name::written_header(typed).map_err(|why| why.to_string())
}

fn subset(typed: &str) -> Result<String, String> {
    name::subset(typed).map(|()| typed.to_owned()).map_err(|why| why.to_string())
}

fn second(typed: &str) -> Result<Duration, String> {
    duration(typed).and_then(|time| match time.as_secs() {
        0 => Err("at least 1s: a shorter silence is no sign of anything".to_owned()),
        _ => Ok(time),
    })
}

/// `main`, or `main=90,canary=10`, of which `main`, or the first, goes without header.
fn fallback(typed: &str) -> Result<SplitSpec, String> {
    let subset = |part: &str| match part.split_once('=') {
        None => Ok(SubsetSpec { name: part.to_owned(), weight: 1 }),
        Some((name, weight)) => match weight.parse() {
            Ok(weight) => Ok(SubsetSpec { name: name.to_owned(), weight }),
            Err(_) => Err(format!("the weight of {name} must be a whole number from 0 to {}", u32::MAX)),
        },
    };
    let subsets = typed.split(',').map(subset).collect::<Result<Vec<_>, _>>()?;
    let default = subsets.iter().find(|s| s.name == "main").or(subsets.first());
    let spec = SplitSpec {
        name: "default/fallback".to_owned(),
        generation: 0,
        default: default.map(|s| s.name.clone()).unwrap_or_default(),
        // Of one subset alone it is not known whether the routes take it as default.
        write_default: !typed.contains('='),
        subsets,
        hosts: Vec::new(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        protocol: Protocol::Http,
    };
    Split::try_from(spec.clone()).map(|_| spec).map_err(|why| why.to_string())
}

/// Runs until it is told to stop.
pub(crate) fn run(told: ExtProc) -> Result<()> {
    begin_log();
    let subscription = told.split.map_or(Subscription::Hosts, Subscription::Split);
    let fallback = told.fallback.map(|spec| {
        // Its requests are counted as those of the split it stands for.
        let name = match &subscription {
            Subscription::Split(name) => name.clone(),
            Subscription::Hosts => spec.name.clone(),
        };
        Split::try_from(SplitSpec { name, ..spec })
    });
    let config = Config {
        controller: Address { url: told.controller, ca_file: told.ca_file, token_file: told.token_file },
        listen: told.listen,
        tls: told.tls_cert.zip(told.tls_key),
        metrics_listen: told.metrics_listen,
        rules: Rules {
            subscription,
            fallback: fallback.transpose()?,
            revert: told.on_loss_revert,
            header: told.header,
            observe: !told.split_only,
        },
        lost_after: told.on_loss_after,
        node: told.node,
        access_log: told.access_log,
        drain: told.drain,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let stop = app::signal().context("cannot listen for signals")?;
        ext_proc::run(config, stop).await
    });
    // A held poll ends with the process; nobody waits for its answer.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_a_subset_or_weights() {
        let read = |typed: &str| {
            fallback(typed).map(|spec| {
                let weights: Vec<_> = spec.subsets.iter().map(|s| format!("{}={}", s.name, s.weight)).collect();
                (weights.join(" "), spec.default, spec.write_default)
            })
        };
        assert_eq!(read("v1"), Ok(("v1=1".to_owned(), "v1".to_owned(), true)));
        assert_eq!(read("canary=10,main=90"), Ok(("canary=10 main=90".to_owned(), "main".to_owned(), false)));
        for (typed, named) in [
            ("", "name"),
            ("v1=x", "whole number"),
            ("v1=0", "weight"),
            ("v1=1,v1=2", "twice"),
            ("v1=-1", "whole number"),
        ] {
            let refused = read(typed).expect_err(typed);
            assert!(refused.contains(named), "{typed}: {refused}");
        }
        assert!(second("900ms").is_err() && second("1s").is_ok());
    }
}
