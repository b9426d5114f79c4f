//! The `sluicegate` binary: reads the command line and runs it.

use clap::Parser;
use sluicegate::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    // clap itself exits with 2 when the command line is wrong.
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sluicegate: {why:#}");
            ExitCode::FAILURE
        }
    }
}
