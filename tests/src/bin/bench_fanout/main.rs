//! `make bench-fanout`: thousands of proxies on one controller.
//!
//! In: which parts (all when none is named), how many proxies and changes. Out: a Markdown table on standard output,
//! progress on standard error. How to read it: docs/BENCHMARKS.md.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod args;
mod machine;
mod paper;
mod parts;
mod rig;
mod table;

use anyhow::Result;

use args::{Args, Part};

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    let cores = machine::share_out()?;
    println!("{}\n\n{}", machine::describe(&cores), table::HEAD);
    let mut costs = paper::Costs::default();
    for part in &args.parts {
        eprintln!("{part:?}: {} proxies", args.proxies);
        match part {
            Part::Connect => parts::connect(&args, &cores, &mut costs)?,
            Part::Change => costs.change = Some(parts::change(&args, &cores, 1)?),
            Part::Splits => {
                // Each of them acks every split when it comes, which is what takes the time.
                let tenth = Args { proxies: args.proxies.div_ceil(10), ..args.clone() };
                parts::change(&tenth, &cores, args.splits)?;
            }
            Part::Storm => costs.storm = Some(parts::storm(&args, &cores)?),
            Part::Slow => parts::slow(&args, &cores)?,
        }
    }
    paper::print(&costs);
    Ok(())
}
