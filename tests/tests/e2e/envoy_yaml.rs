//! What people start by hand: envoy/envoy.yaml as it is (only on other ports), `make local`, `make demo`.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::json;
use sluicegate_tests::controller::Controller;
use sluicegate_tests::ext_proc::ExtProc;
use sluicegate_tests::load::{Limits, Load, Tally};
use sluicegate_tests::process::Process;
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{client, paths, poll, ports};
use tempfile::TempDir;

const FILE: &str = "envoy/envoy.yaml";
const EXT_PROC: &str = "envoy/ext-proc.yaml";

/// An Envoy with that file, the pods it names, and a controller on a copy of envoy/splits.
struct ByHand {
    envoy: Process,
    web: SocketAddr,
    admin: SocketAddr,
    _dir: TempDir,
    _pods: Upstreams,
}

impl ByHand {
    /// `controller`: where it is; `edit`: what the person changed in the file.
    fn start(controller: SocketAddr, edit: impl Fn(&str) -> String) -> Result<Self> {
        Self::start_file(FILE, (7070, controller), edit)
    }

    /// `file`: which; `service`: the port that the file names for who decides, and where that is here.
    fn start_file(file: &str, service: (u16, SocketAddr), edit: impl Fn(&str) -> String) -> Result<Self> {
        let pods = Upstreams::start(&["v1", "v2", "v3"])?;
        let (web, admin) = (at(ports::free()?), at(ports::free()?));
        let mut text = edit(&fs::read_to_string(paths::repo().join(file))?);
        for (port, to) in [
            (10_000, web),
            (9901, admin),
            (9001, pods.addr("v1")),
            (9002, pods.addr("v2")),
            (9003, pods.addr("v3")),
            service,
        ] {
            let old = format!("port_value: {port} }}");
            ensure!(text.matches(&old).count() == 1, "{file} does not name port {port} once");
            text = text.replace(&old, &format!("port_value: {} }}", to.port()));
        }
        let dir = paths::scratch("by-hand")?;
        let mut command = envoy(&dir.path().join("envoy.yaml"))?;
        fs::write(dir.path().join("envoy.yaml"), text)?;
        command.args(["--concurrency", "2", "--disable-hot-restart", "--file-flush-interval-msec", "50"]);
        command.args(["--log-level", "warning"]);
        let envoy = Process::start("envoy", command, dir.path())?;
        let by_hand = Self { envoy, web, admin, _dir: dir, _pods: pods };
        poll::until("a live Envoy", poll::LONG, || match client::get(web, "/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}\n{}", by_hand.envoy.tail(10))),
        })?;
        Ok(by_hand)
    }

    fn load(&self, count: u64, header_lines: &str) -> Result<Tally> {
        let tally = Load::new(self.web, 4, header_lines)?.run(&Limits::count(count))?;
        ensure!(tally.answers() == count && tally.failures() == 0, "{:?}", tally.statuses);
        Ok(tally)
    }

    /// The lines of the Prometheus page that begin so, sorted.
    fn prometheus(&self, start: &str) -> Result<Vec<String>> {
        let page = client::get(self.admin, "/stats/prometheus")?.text();
        let mut lines: Vec<String> = page.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// `envoy -c FILE`, from the root of the repository, as the file itself says.
fn envoy(file: &Path) -> Result<Command> {
    paths::wasm("sluicegate.wasm")?;
    let mut command = Command::new(paths::envoy()?);
    command.arg("-c").arg(file).current_dir(paths::repo());
    Ok(command)
}

fn controller() -> Result<Controller> {
    let split = fs::read_to_string(paths::repo().join("envoy/splits/backend.yaml"))?;
    Controller::start(&[("backend.yaml", &split)])
}

fn acked(controller: &Controller) -> Result<()> {
    poll::until("the ack of the one Envoy", poll::LONG, || {
        let split = controller.json("/v1/splits/default/backend").map_err(|why| format!("{why:#}"))?;
        if split["live"] == 1 && split["acked"] == 1 { Ok(()) } else { Err(split.to_string()) }
    })
}

#[test]
fn envoys_own_check_accepts_the_files_as_they_are() -> Result<()> {
    for file in [FILE, EXT_PROC] {
        let check = envoy(Path::new(file))?.args(["--mode", "validate", "--log-level", "warning"]).output()?;
        ensure!(check.status.success(), "{file}: {}", String::from_utf8_lossy(&check.stderr));
    }

    // It does look: a field that does not exist is refused.
    let dir = paths::scratch("check")?;
    let wrong = fs::read_to_string(paths::repo().join(FILE))?.replace("failure_policy:", "failure_polity:");
    fs::write(dir.path().join("envoy.yaml"), wrong)?;
    let check = envoy(&dir.path().join("envoy.yaml"))?.args(["--mode", "validate"]).output()?;
    ensure!(!check.status.success(), "a wrong field was accepted");
    Ok(())
}

#[test]
fn the_file_splits_by_the_folder_beside_it() -> Result<()> {
    let controller = controller()?;
    let by_hand = ByHand::start(controller.proxy, str::to_owned)?;
    acked(&controller)?;
    let tally = by_hand.load(1_000, "")?;
    ensure!(tally.pods["v2"].abs_diff(100) <= 4 && !tally.pods.contains_key("v3"), "{:?}", tally.pods);

    controller.cli(&["set-weight", "backend", "v1=1", "v2=1", "v3=2"])?;
    // Whatever subset a client asks for.
    let tally = by_hand.load(1_000, "x-sluicegate-subset: v2\r\n")?;
    ensure!(tally.pods["v2"].abs_diff(250) <= 6 && tally.pods["v3"].abs_diff(500) <= 6, "{:?}", tally.pods);
    ensure!(tally.subset("v2") == tally.pods["v2"] && tally.subset("") == tally.pods["v1"], "{:?}", tally.subsets);
    Ok(())
}

#[test]
fn the_file_for_ext_proc_splits_and_without_ext_proc_everybody_goes_to_the_default_subset() -> Result<()> {
    let controller = controller()?;
    let mut service = ExtProc::start(controller.proxy, &json!({}))?;
    let by_hand = ByHand::start_file(EXT_PROC, (7073, service.addr), str::to_owned)?;
    acked(&controller)?;
    // Whatever subset a client asks for.
    let tally = by_hand.load(1_000, "x-sluicegate-subset: v3\r\n")?;
    ensure!(tally.pods["v2"].abs_diff(100) <= 2 && !tally.pods.contains_key("v3"), "{:?}", tally.pods);
    service.stop()?;
    let tally = by_hand.load(200, "x-sluicegate-subset: v2\r\n")?;
    ensure!(tally.pods["v1"] == 200, "{:?}", tally.pods);
    Ok(())
}

#[test]
fn without_a_controller_the_file_sends_everybody_to_the_default_subset() -> Result<()> {
    let nobody = at(ports::free()?);
    let by_hand = ByHand::start(nobody, str::to_owned)?;
    let tally = by_hand.load(200, "x-sluicegate-subset: v2\r\n")?;
    ensure!(tally.pods["v1"] == 200, "{:?}", tally.pods);
    Ok(())
}

#[test]
fn prometheus_sees_labels_instead_of_long_names() -> Result<()> {
    let controller = controller()?;
    let by_hand = ByHand::start(controller.proxy, str::to_owned)?;
    acked(&controller)?;
    // Equal weights: every answer is observed. The one request that found Envoy alive went to v1.
    controller.cli(&["set-weight", "backend", "v1=1", "v2=1"])?;
    let write = |number: u64, out: &mut Vec<u8>| {
        let query = if number % 4 == 3 { "?status=503" } else { "" };
        out.extend_from_slice(format!("GET /{query} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
    };
    let (mut v1, mut v2) = ([1, 0], [0, 0]);
    Load::with(by_hand.web, 4, Box::new(write))?.run_with(&Limits::count(400), |answer| {
        let on_v2 = sluicegate_tests::http1::header(answer.head, "x-pod") == Some(b"v2");
        let counts = if on_v2 { &mut v2 } else { &mut v1 };
        counts[usize::from(answer.status == 503)] += 1;
    })?;
    let requests = |subset: &str, counts: [u64; 2]| {
        let labels = format!("namespace=\"default\",split=\"backend\",subset=\"{subset}\"");
        format!("sluicegate_requests_total{{{labels}}} {}", counts[0] + counts[1])
    };
    let responses = |outcome: &str, count: u64| {
        let labels = format!("namespace=\"default\",split=\"backend\",subset=\"v2\",outcome=\"{outcome}\"");
        format!("sluicegate_responses_total{{{labels}}} {count}")
    };
    let expected = [requests("v1", v1), requests("v2", v2), responses("2xx", v2[0]), responses("5xx", v2[1])];
    poll::until("the counters", poll::LONG, || {
        let mut seen = by_hand.prometheus("sluicegate_re").map_err(|why| format!("{why:#}"))?;
        // What of v1 is observed before the change of weights depends on the sampling.
        seen.retain(|line| !line.contains("subset=\"v1\",outcome"));
        if seen == expected { Ok(()) } else { Err(format!("{seen:#?}, not {expected:#?}")) }
    })
}

#[test]
fn the_access_log_prints_the_subset_once_its_comment_is_taken_out() -> Result<()> {
    let controller = controller()?;
    let by_hand = ByHand::start(controller.proxy, |text| {
        let at = text.find("# access_log:").unwrap_or(text.len());
        let (before, block) = text.split_at(at);
        let mut lines: Vec<String> = block.lines().map(str::to_owned).collect();
        let end = lines.iter().position(|line| !line.trim_start().starts_with("# ")).unwrap_or(lines.len());
        lines[..end].iter_mut().for_each(|line| *line = line.replacen("# ", "", 1));
        let logging = before.replace("\"fallback\":", "\"access_log\": true, \"fallback\":");
        format!("{logging}{}\n", lines.join("\n"))
    })?;
    acked(&controller)?;
    controller.cli(&["set-weight", "backend", "v1=0", "v2=1"])?;
    client::get(by_hand.web, "/hello")?;
    poll::until("a line in the access log", poll::LONG, || {
        let log = by_hand.envoy.log();
        if log.contains("GET /hello 200 subset=v2") { Ok(()) } else { Err(log) }
    })
}

#[test]
fn local_runs_on_the_fixed_ports_and_leaves_nothing_behind() -> Result<()> {
    // Somebody else's may be running just now.
    poll::until("the ports of `make local` to be free", poll::LONG * 2, || {
        let taken =
            [10_000, 9901, 7070, 7071, 9001, 9002, 9003].into_iter().find(|port| TcpListener::bind(at(*port)).is_err());
        taken.map_or(Ok(()), |port| Err(format!("port {port} is taken")))
    })?;
    let dir = paths::scratch("local")?;
    let mut local = Process::start("local", Command::new(env!("CARGO_BIN_EXE_local")), dir.path())?;
    local.wait_log("Running until Ctrl-C", poll::LONG * 2)?;
    let tally = Load::new(at(10_000), 4, "")?.run(&Limits::count(100))?;
    ensure!(tally.failures() == 0 && tally.pods["v2"].abs_diff(10) <= 4, "{tally:?}");

    // A second one says what is in its way.
    let second = Command::new(env!("CARGO_BIN_EXE_local")).output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(second.status.code() == Some(1) && said.contains("port 10000, Envoy's listener, is taken"), "{said}");

    local.signal(Signal::SIGINT);
    let status = local.wait_exit(poll::LONG)?;
    ensure!(status.success(), "it ended with {status}: {}", local.log());
    TcpListener::bind(at(10_000)).context("Envoy still runs")?;
    TcpListener::bind(at(7071)).context("the controller still runs")?;
    Ok(())
}

#[test]
fn the_demo_keeps_every_promise_it_prints() -> Result<()> {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo")).output()?;
    let (out, err) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    ensure!(demo.status.success() && out.contains("\ndemo: ok"), "{out}{err}");
    ensure!(!out.contains('\x1b') && !out.contains("Ctrl-C"), "something for a terminal, without one: {out}");
    Ok(())
}

/// The controller, the Envoy and the pods of a demo: those of its session, and those that name it as their owner.
fn children_of(demo: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = |process: fs::DirEntry| process.file_name().into_string().ok().filter(|name| name != demo);
    let is_child = |pid: &String| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3));
        session == Some(demo) || String::from_utf8_lossy(&command).contains(&format!("--owner\0{demo}\0"))
    };
    processes.filter_map(pid).filter(is_child).collect()
}

#[test]
fn on_a_terminal_the_demo_ends_with_the_page_of_its_rollouts_until_ctrl_c() -> Result<()> {
    let mut script = Command::new("script");
    script.args(["-qec", r#"echo "pid $$"; exec "$DEMO" manual"#, "/dev/null"]);
    script.env("DEMO", env!("CARGO_BIN_EXE_demo")).env_remove("CI");
    let dir = paths::scratch("terminal")?;
    let mut terminal = Process::start("script", script, dir.path())?;
    let demo = terminal.wait_log("pid ", poll::LONG)?.trim_end().replace("pid ", "");
    let line = terminal.wait_log("The finished rollouts: ", poll::LONG * 6)?;
    let address = line
        .trim_end()
        .strip_prefix("The finished rollouts: http://")
        .and_then(|rest| rest.strip_suffix("  (Ctrl-C ends it)"));
    let address: SocketAddr = address.with_context(|| line.clone())?.parse()?;
    ensure!(client::get(address, "/")?.text().contains("<title>Sluicegate</title>"));
    let rollout = client::get(address, "/v1/rollouts/default/app")?.json()?;
    ensure!(rollout["phase"] == "Promoted" && rollout["stable"] == "v5", "{rollout}");
    // The controller, the Envoy, and four pods.
    ensure!(children_of(&demo).len() >= 6, "{:?}", children_of(&demo));

    // As the terminal does: to everybody in front of it.
    signal::killpg(Pid::from_raw(demo.parse()?), Signal::SIGINT)?;
    let status = terminal.wait_exit(poll::LONG)?;
    ensure!(status.success(), "it ended with {status}: {}", terminal.tail(20));
    poll::until("nothing to be left", poll::LONG, || match children_of(&demo) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })
}
