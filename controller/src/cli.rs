//! The command line: what was typed, and what it means.

mod serve;

use clap::{Parser, Subcommand};

/// Splits traffic in Envoy by weight, with proof that every proxy obeys.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller on a folder of YAML.
    Serve(serve::Serve),
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Verb::Serve(serve) => serve::run(serve),
    }
}
