//! `kubectl` as a person types it: shown, run, and what it prints shown too.

use anyhow::Result;
use sluicegate_tests::kube_lab::KubeLab;
use sluicegate_tests::process::Process;

use crate::print::{faint, typed};

/// A `kubectl get -w` that goes on.
pub(crate) struct Watch {
    process: Process,
    /// Lines looked at.
    seen: usize,
    last: String,
}

/// Runs `kubectl`; returns what it printed.
pub(crate) fn kubectl(lab: &KubeLab, args: &[&str]) -> Result<String> {
    show(args);
    let said = lab.kubectl(args)?;
    print!("{said}");
    Ok(said)
}

/// Shows a file and applies it.
pub(crate) fn apply(lab: &KubeLab, file: &str, yaml: &str) -> Result<()> {
    typed(&format!("cat {file}"));
    yaml.lines().for_each(|line| println!("{}", faint(line)));
    show(&["apply", "-f", file]);
    print!("{}", lab.apply(yaml)?);
    Ok(())
}

fn show(args: &[&str]) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,".contains(c);
    let quoted = args.iter().map(|arg| if arg.chars().all(plain) { (*arg).to_owned() } else { format!("'{arg}'") });
    typed(&format!("kubectl {}", quoted.collect::<Vec<_>>().join(" ")));
}

/// A row without its last column, the age.
fn without_age(line: &str) -> &str {
    line.trim_end().rsplit_once(' ').map_or(line, |(rest, _)| rest.trim_end())
}

impl Watch {
    /// Starts it.
    pub(crate) fn start(lab: &KubeLab, args: &[&str]) -> Result<Self> {
        show(args);
        let process = lab.cluster.start_kubectl(&[&["-n", &lab.namespace], args].concat())?;
        Ok(Self { process, seen: 0, last: String::new() })
    }

    /// Prints what is new; rows that differ from the one before in their age only are left out.
    pub(crate) fn show(&mut self) {
        let log = self.process.log();
        // The last one may not be complete.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        for line in whole.lines().skip(self.seen) {
            if without_age(line) != without_age(&self.last) {
                println!("{line}");
                self.last = line.to_owned();
            }
            self.seen += 1;
        }
    }

    /// What was printed last.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }
}
