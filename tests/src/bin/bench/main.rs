//! `make bench`: what a request costs with each filter, side by side in one run, and what a weight change costs.
//!
//! In: which parts (all when none is named) and how much of them. Out: Markdown tables on standard output, progress
//! on standard error. How to read them: docs/BENCHMARKS.md.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod args;
mod delta;
mod ext_proc;
mod hotpath;
mod loading;
mod machine;
mod propagation;
mod rig;
mod samples;
mod table;
mod variants;

use anyhow::Result;

use args::{Args, Part};
use rig::Rig;

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    println!("{}\n", machine::describe());
    for part in &args.parts {
        match part {
            Part::Loading => loading::run()?,
            Part::Hotpath => hotpath::run(&args, 1, &variants::one_worker)?,
            Part::Workers => hotpath::run(&args, 2, &variants::two_workers)?,
            Part::Flat => {
                hotpath::run(&args, 1, &variants::flat)?;
                delta::run()?;
            }
            Part::ExtProc => ext_proc::run(&args)?,
            Part::Propagation => propagation::run(&args)?,
        }
    }
    Ok(())
}

/// Makes the variants that a part measures; those whose pieces are not built are missing from it.
type Variants = dyn Fn(&Rig) -> Vec<variants::Variant>;
