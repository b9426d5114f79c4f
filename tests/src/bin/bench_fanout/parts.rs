//! The parts: each a controller and a fleet of its own.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluicegate_tests::client::Client;
use sluicegate_tests::fleet::Slow;
use sluicegate_tests::poll;

use crate::args::Args;
use crate::machine::{self, Cores};
use crate::paper::Costs;
use crate::rig::{PATIENCE, Rig, standing};
use crate::table::{goal, mib, ms, quantile, row, spread};

/// One hold of all polls.
const IDLE: Duration = Duration::from_secs(25);

pub(crate) fn connect(args: &Args, cores: &Cores, costs: &mut Costs) -> Result<()> {
    let part = "connect";
    let sockets = machine::sockets();
    let mut rig = Rig::start(args.proxies, 1, cores)?;
    let count = args.proxies;
    row(part, &format!("{count} proxies at once: all polls held and acked"), &ms(rig.connected));
    row(part, "controller's CPU for that", &ms(rig.cpu));
    let sockets = machine::sockets().saturating_sub(sockets);
    let (cpu, began) = (rig.controller.process().cpu()?, Instant::now());
    wait(IDLE + Duration::from_secs(1))?;
    let used = (rig.controller.process().cpu()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    row(part, "CPU of one core while nothing changes (each poll answered and sent anew every 25 s)", &percent(used));
    let resident = rig.controller.process().resident()?;
    let each = resident.saturating_sub(rig.empty) as f64 / count as f64 / 1024.0;
    (costs.memory, costs.idle) = (Some(each * 1024.0), Some(used / count as f64));
    let text = format!("{each:.1} KiB ({} → {})", mib(rig.empty), mib(resident));
    goal(part, "controller's memory (RSS) per idle proxy", &text, each, 10.0, "KiB");
    row(part, "buffers of all sockets in the kernel, both ends, not in that", &mib(sockets));
    Ok(())
}

/// Returns the CPU seconds of a change per proxy.
pub(crate) fn change(args: &Args, cores: &Cores, splits: usize) -> Result<f64> {
    let part = if splits == 1 { "1 split".to_owned() } else { format!("{splits} splits") };
    let mut rig = Rig::start(args.proxies, splits, cores)?;
    if splits > 1 {
        let resident = rig.controller.process().resident()?;
        let each = resident.saturating_sub(rig.empty) as f64 / args.proxies as f64 / 1024.0;
        row(
            &part,
            "all polls held and all splits acked by all",
            &format!("{}, CPU {}", ms(rig.connected), ms(rig.cpu)),
        );
        row(
            &part,
            "controller's memory (RSS) per proxy",
            &format!("{each:.1} KiB ({} → {})", mib(rig.empty), mib(resident)),
        );
    }
    let (mut all, mut last, mut acked, mut told, mut cpu, mut bytes) = (vec![], vec![], vec![], vec![], vec![], 0);
    for _ in 0..args.changes {
        let changed = rig.change(args.proxies)?;
        last.push(quantile(&changed.answers, 1.0));
        all.extend(changed.answers);
        acked.push(changed.acked);
        told.push(changed.told);
        cpu.push(changed.cpu);
        bytes += changed.bytes;
    }
    let limit = |what: &str, times: &[Duration]| {
        goal(&part, what, &spread(times), quantile(times, 0.99).as_secs_f64() * 1e3, 250.0, "ms");
    };
    row(&part, &format!("{} changes: every answer", args.changes), &spread(&all));
    limit("… the last answer of each change", &last);
    limit("… the last ack of each change", &acked);
    row(&part, "… `?wait=acked` answered, with the list of all proxies", &spread(&told));
    let each = cpu.iter().sum::<Duration>().as_secs_f64() / args.changes as f64 / args.proxies as f64 * 1e6;
    row(&part, "controller's CPU per change", &format!("{}; {each:.1} µs per proxy", spread(&cpu)));
    row(&part, "bytes of an answer", &format!("{}", bytes / args.changes / args.proxies));
    Ok(each / 1e6)
}

/// Returns the CPU seconds of a proxy that comes again.
pub(crate) fn storm(args: &Args, cores: &Cores) -> Result<f64> {
    let part = "storm";
    let mut rig = Rig::start(args.proxies, 1, cores)?;
    let _ = rig.fleet.take();
    let began = Instant::now();
    machine::stay_on(cores.first())?;
    rig.controller.kill();
    rig.controller.restart()?;
    machine::stay_on(cores.get(1))?;
    let listening = Instant::now();
    let mut seen = rig.until_steady()?;
    let (steady, since) = (listening.elapsed(), began.elapsed());
    let cpu = rig.controller.process().cpu()?;
    seen.add(rig.fleet.take());
    goal(part, "from listening again to all polls held and acked", &ms(steady), steady.as_secs_f64(), 5.0, "s");
    row(part, "from the kill", &ms(since));
    row(part, "controller's CPU from its start until then", &ms(cpu));
    let failures: Vec<String> = seen.failures.iter().map(|(why, count)| format!("{why}: {count}")).collect();
    row(part, "polls that failed", &failures.join("; "));
    Ok(cpu.as_secs_f64() / args.proxies as f64)
}

pub(crate) fn slow(args: &Args, cores: &Cores) -> Result<()> {
    let part = "slow";
    let mut rig = Rig::start(args.proxies, 1, cores)?;
    let before = rig.controller.process().resident()?;
    for (index, how) in [Slow::Deaf, Slow::Greedy, Slow::HalfHead, Slow::HalfBody].into_iter().enumerate() {
        rig.fleet.slow((args.slow + index) / 4, how)?;
    }
    let good = args.proxies - args.slow;
    poll::until("the others to poll", PATIENCE, || match rig.fleet.polling() {
        // The deaf ones have a poll under way for ever.
        polling if polling <= good + args.slow.div_ceil(4) => Ok(()),
        polling => Err(polling),
    })?;
    let (mut last, mut acked, mut most) = (vec![], vec![], 0);
    for _ in 0..args.changes {
        let changed = rig.change(good)?;
        last.push(quantile(&changed.answers, 1.0));
        acked.push(changed.acked);
        most = most.max(rig.controller.process().resident()?);
    }
    row(part, &format!("{} of {} never drain: the last answer to the others", args.slow, args.proxies), &spread(&last));
    let p99 = quantile(&acked, 0.99).as_secs_f64() * 1e3;
    goal(part, "… their last ack", &spread(&acked), p99, 250.0, "ms");
    row(
        part,
        "controller's memory before they stopped reading, and the most after",
        &format!("{} → {}", mib(before), mib(most)),
    );
    let began = Instant::now();
    let mut admin = Client::connect(rig.controller.admin)?.named("localhost");
    poll::until("the slow ones to be lost", PATIENCE, || match standing(&mut admin) {
        Ok((acked, live)) if (acked, live) == (good, good) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    row(part, "after the last change, until the slow ones count as lost", &ms(began.elapsed()));
    let changed = rig.change(good)?;
    ensure!(changed.answers.len() == good, "{} answers", changed.answers.len());
    Ok(())
}

/// Lets so much time pass.
fn wait(time: Duration) -> Result<()> {
    let began = Instant::now();
    poll::until("time to pass", time * 2, || if began.elapsed() >= time { Ok(()) } else { Err("not yet") })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
