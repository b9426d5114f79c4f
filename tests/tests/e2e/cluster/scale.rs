//! What an idle controller asks of the API server. The large sizes are measured by `make bench-kube`.

use anyhow::{Result, ensure};
use sluicegate_tests::kube;
use sluicegate_tests::kube_size::KubeSize;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(30);

#[test]
fn an_idle_controller_writes_nothing_but_its_lease() -> Result<()> {
    let size = KubeSize::start(kube::shared()?, 100, 10)?;
    let calls = size.calls(IDLE)?;
    println!("{calls:?}");
    let expected = ["GET leases", "PUT leases"];
    let others: Vec<_> = calls.iter().filter(|(kind, _)| !expected.contains(&kind.as_str())).collect();
    ensure!(others.iter().all(|(kind, _)| kind.starts_with("WATCH")), "{others:?}");
    Ok(())
}
