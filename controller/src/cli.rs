//! The command line: what was typed, and what it means.
//!
//! Exit codes: 0 it worked, 1 it failed, 2 the command line was wrong.

mod client;
mod cluster;
mod crds;
mod dashboard;
mod describe;
mod door;
mod evidence;
mod ext_proc;
mod get;
mod judge;
mod rollout;
mod routes;
mod say;
mod serve;
mod set_weight;
mod text;
mod watch;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use sluicegate_core::name;

/// Splits traffic in Envoy by weight, with proof that every proxy obeys.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller on a folder of YAML.
    Serve(Box<serve::Serve>),
    /// Decide requests for an Envoy that cannot load the filter: its ext_proc service, a proxy to the controller.
    ExtProc(Box<ext_proc::ExtProc>),
    /// List splits, proxies or rollouts.
    Get(get::Get),
    /// Show one split: weights, conditions, proxies, counts.
    Describe(describe::Describe),
    /// Follow one rollout, or one split, until interrupted.
    Watch(watch::Watch),
    /// Change weights of a split, or the weight of a CanaryTest, in the user's file, and wait until every proxy obeys.
    SetWeight(set_weight::SetWeight),
    /// Find the step good that a rollout waits at.
    Continue(say::Say),
    /// Take the canary off, whatever the evidence says.
    Rollback(say::Say),
    /// Keep a rollout where it is; bad evidence still rolls it back.
    Pause(say::Say),
    /// Let a paused rollout go on.
    Resume(say::Say),
    /// Go to the last step and promote, leaving out the judgments in between.
    Promote(say::Say),
    /// After promotion: give main the version before, at once. Its document still says the other one.
    Undo(say::Say),
    /// Serve the dashboard of a cluster on this machine, with the rights of your kubeconfig and under your name.
    Dashboard(dashboard::Dashboard),
    /// Judge a recording, without a controller: what the judges would have said, and when.
    Judge(judge::Judge),
    /// Print the Kubernetes CRDs, and the policy that goes with them.
    Crds,
    /// Print the static routes that a service needs, for Envoy Gateway or Istio.
    Routes(routes::Routes),
}

/// Whom to ask, and how to print.
#[derive(Debug, Args)]
struct Common {
    /// The admin port of a controller. Unless given: http://127.0.0.1:7071; as kubectl plugin: the cluster.
    #[arg(long, value_name = "URL", env = "SLUICEGATE_ADMIN")]
    admin: Option<String>,
    /// Ask the cluster of the kubeconfig, with the rights that one gives.
    #[arg(long)]
    kube: bool,
    /// The same, by this context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Where names without a namespace are. Unless given: default, or what the kubeconfig says.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// As the admin port gives it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.verb {
        Verb::Serve(serve) => serve::run(*serve),
        Verb::ExtProc(told) => ext_proc::run(*told),
        Verb::Get(get) => get::run(&get),
        Verb::Describe(describe) => describe::run(&describe),
        Verb::Watch(watch) => watch::run(&watch),
        Verb::SetWeight(set) => set_weight::run(&set),
        Verb::Continue(say) => say::run("continue", &say),
        Verb::Rollback(say) => say::run("rollback", &say),
        Verb::Pause(say) => say::run("pause", &say),
        Verb::Resume(say) => say::run("resume", &say),
        Verb::Promote(say) => say::run("promote", &say),
        Verb::Undo(say) => say::run("undo", &say),
        Verb::Dashboard(told) => dashboard::run(told),
        Verb::Judge(judge) => judge::run(&judge),
        Verb::Crds => crds::run(),
        Verb::Routes(routes) => routes::run(&routes),
    }
}

/// `backend` means `default/backend`.
fn split_name(typed: &str) -> Result<String, String> {
    let full = if typed.contains('/') { typed.to_owned() } else { format!("default/{typed}") };
    name::split(&full).map_err(|why| why.to_string())?;
    Ok(full)
}

/// NAME or NAMESPACE/NAME, as typed: which namespace goes without saying depends on whom is asked.
fn object_name(typed: &str) -> Result<String, String> {
    split_name(typed).map(|_| typed.to_owned())
}

/// Prints as JSON or YAML; `None` when a table is wanted.
fn print_as(output: Output, value: &impl Serialize) -> Option<anyhow::Result<()>> {
    let text = match output {
        Output::Table => return None,
        Output::Json => serde_json::to_string_pretty(value).map_err(anyhow::Error::from),
        Output::Yaml => serde_saphyr::to_string(value).map_err(anyhow::Error::from),
    };
    Some(text.and_then(|text| text::print(&format!("{}\n", text.trim_end()))))
}
