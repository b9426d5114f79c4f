//! The life of one pod, in a thread of its own: network, volumes, containers one after the other and then side by side, probes,
//! and in the end its hooks, the signals, and nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, mem};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::container::Place;
use super::kubelet::{Shared, lock};
use super::volumes::Source;
use super::{Image, net, probe};
use crate::kube::pod_status::{self, State, Told};
use crate::paths;
use crate::process::Process;

/// How often a pod looks at its containers.
const LOOK: Duration = Duration::from_millis(50);
/// How often a container is asked whether it is ready, once it was.
const PROBE: Duration = Duration::from_secs(1);
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// A container that ended is started again after this, doubled each time.
const BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What is wanted of a pod from outside.
#[derive(Debug, Default)]
pub(super) struct Wishes(Mutex<Wish>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    Live,
    /// End, with so much time for it.
    End(Duration),
    /// It is gone from the API: end at once.
    Gone,
}

impl Wishes {
    pub(super) fn end(&self, grace: Duration) {
        let mut wish = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *wish != Wish::Gone {
            *wish = Wish::End(grace);
        }
    }

    pub(super) fn gone(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Wish::Gone;
    }

    fn now(&self) -> Wish {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod with its network.
struct Pod<'a> {
    shared: &'a Shared,
    wishes: &'a Wishes,
    pod: &'a Value,
    path: String,
    dir: PathBuf,
    address: IpAddr,
    /// The path of its network namespace.
    net: String,
    told: Option<Value>,
}

/// A container that is to run as long as the pod.
struct Container<'a> {
    spec: &'a Value,
    process: Option<Process>,
    /// When it is (to be) started.
    from: Instant,
    probed: Option<Instant>,
    told: Told,
}

/// From the moment at which it is bound until it is gone.
pub(super) fn live(shared: &Shared, pod: &Value, wishes: &Wishes) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let dir = shared.dir.join(namespace).join(name);
    match network(shared, &dir) {
        Err(why) => eprintln!("pod {namespace}/{name}: {why:#}"),
        Ok((holder, address)) => {
            let net = format!("/proc/{}/ns/net", holder.pid());
            lock(&shared.nets).insert(format!("{namespace}/{name}"), net.clone());
            let mut pod = Pod { shared, wishes, pod, path: path.clone(), dir, address, net, told: None };
            if let Err(why) = pod.run() {
                eprintln!("pod {namespace}/{name}: {why:#}");
            }
            lock(&shared.nets).remove(&format!("{namespace}/{name}"));
        }
    }
    // Its last word is the API's; until it ended, or when it could not begin, it waits for it.
    while wishes.now() == Wish::Live {
        thread::sleep(LOOK);
    }
    shared.api.delete(&format!("{path}?gracePeriodSeconds=0")).ok();
}

/// A network namespace with an address, and the process that holds it.
fn network(shared: &Shared, dir: &Path) -> Result<(Process, IpAddr)> {
    fs::create_dir_all(dir)?;
    let number = shared.addresses.fetch_add(1, Ordering::Relaxed);
    let address = net::pod(number);
    let mut command = Command::new(paths::built("sandbox")?);
    command.args(["net", &format!("{address}/16"), &net::GATEWAY.to_string(), &format!("pod{number}"), net::BRIDGE]);
    let mut holder = Process::start("net", command, dir)?;
    holder.wait_log("up", Duration::from_secs(20))?;
    Ok((holder, address.into()))
}

impl<'a> Pod<'a> {
    fn run(&mut self) -> Result<()> {
        let spec = &self.pod["spec"];
        let list = |field: &str| spec[field].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut all: Vec<Container<'a>> = Vec::new();
        if !self.patiently(Self::volumes) {
            return Ok(());
        }
        for first in list("initContainers") {
            let mut container = Container::new(first);
            if first["restartPolicy"] == "Always" {
                // One that runs beside the others and begins before them.
                all.push(container);
                self.until(&mut all, |all| all.last().is_none_or(|one| one.told.ready));
            } else {
                self.first(&mut container)?;
            }
        }
        all.extend(list("containers").iter().map(Container::new));
        self.until(&mut all, |_| false);
        self.end(all);
        Ok(())
    }

    /// Tries until it works; `false` when the pod is to end before.
    fn patiently(&mut self, mut act: impl FnMut(&Self) -> Result<()>) -> bool {
        let mut before = String::new();
        while self.wishes.now() == Wish::Live {
            match act(self) {
                Ok(()) => return true,
                Err(why) => {
                    let why = format!("{why:#}");
                    if why != before {
                        let containers = self.pod["spec"]["containers"].as_array().into_iter().flatten();
                        let waits = State::Waiting("ContainerCreating", why.clone());
                        let told: Vec<Told> =
                            containers.map(|one| Told { state: waits.clone(), ..Container::new(one).told }).collect();
                        self.tell(&told);
                        before = why;
                    }
                }
            }
            thread::sleep(LOOK * 2);
        }
        false
    }

    fn volumes(&self) -> Result<()> {
        let source = Source { api: &self.shared.api, pod: self.pod };
        let mut volumes = self.pod["spec"]["volumes"].as_array().into_iter().flatten();
        volumes.try_for_each(|volume| {
            source.fill(volume, &self.dir.join("volumes").join(volume["name"].as_str().unwrap_or_default()))
        })
    }

    /// Runs a container that comes before the others, to its end.
    fn first(&self, container: &mut Container<'_>) -> Result<()> {
        while self.wishes.now() == Wish::Live {
            self.tend(container, false);
            match container.told.state {
                State::Ended(0) => return Ok(()),
                State::Ended(code) => bail!("{} ended with {code}", container.told.name),
                _ => thread::sleep(LOOK),
            }
        }
        Ok(())
    }

    /// Looks after the containers until this is so, or the pod is to end, or all have ended for good.
    fn until(&mut self, all: &mut [Container<'_>], enough: impl Fn(&[Container<'_>]) -> bool) {
        let again = self.pod["spec"]["restartPolicy"] != "Never";
        while self.wishes.now() == Wish::Live {
            for container in all.iter_mut() {
                self.tend(container, again);
            }
            let told: Vec<Told> = all.iter().map(|one| one.told.clone()).collect();
            self.tell(&told);
            if enough(all) || told.iter().all(|one| matches!(one.state, State::Ended(_))) {
                return;
            }
            thread::sleep(LOOK);
        }
    }

    /// Starts it when it is time, sees whether it has ended, asks whether it is ready.
    fn tend(&self, container: &mut Container<'_>, again: bool) {
        if matches!(container.told.state, State::Ended(_)) {
            return;
        }
        let Some(process) = &mut container.process else {
            if Instant::now() >= container.from {
                self.begin(container);
            }
            return;
        };
        if let Some(status) = process.exited() {
            container.process = None;
            container.told.ready = false;
            let code = status.code().unwrap_or(137);
            let once = self.pod["spec"]["restartPolicy"] == "OnFailure" && code == 0;
            if !again || once {
                container.told.state = State::Ended(code);
            } else {
                let pause = (BACKOFF * 2_u32.saturating_pow(container.told.restarts)).min(LONGEST_BACKOFF);
                container.from = Instant::now() + pause;
                container.told.restarts += 1;
                container.told.state = State::Waiting("CrashLoopBackOff", format!("ended with {code}"));
            }
            return;
        }
        let pause = if container.told.ready { PROBE } else { Duration::ZERO };
        if container.probed.is_none_or(|last| last.elapsed() >= pause) {
            container.told.ready = self.ready(container.spec);
            container.probed = Some(Instant::now());
        }
    }

    fn begin(&self, container: &mut Container<'_>) {
        match self.start(container.spec) {
            Ok(process) => {
                container.process = Some(process);
                container.told.state = State::Running;
            }
            Err(why) => {
                container.from = Instant::now() + BACKOFF;
                let known = (self.shared.images)(&container.told.image).is_some();
                let reason = if known { "CreateContainerError" } else { "ImagePullBackOff" };
                container.told.state = State::Waiting(reason, format!("{why:#}"));
            }
        }
    }

    fn start(&self, container: &Value) -> Result<Process> {
        let name = container["name"].as_str().unwrap_or_default();
        let image = container["image"].as_str().unwrap_or_default();
        let image: Image = (self.shared.images)(image).with_context(|| format!("there is no image {image} here"))?;
        let root = self.dir.join(format!("{name}-root"));
        fs::create_dir_all(&root)?;
        let address = self.address.to_string();
        let place = Place { pod: self.pod, address: &address, net: &self.net, dir: &self.dir };
        let file = self.dir.join(format!("{name}.json"));
        fs::write(&file, place.spec(&self.shared.api, container, &image, &root)?.to_string())?;
        let mut command = Command::new(paths::built("sandbox")?);
        command.arg("run").arg(&file);
        Process::start(name, command, &self.dir)
    }

    fn ready(&self, container: &Value) -> bool {
        let ask = &container["readinessProbe"];
        if ask["httpGet"].is_object() {
            return probe::get(container, &ask["httpGet"], self.address, PROBE_PATIENCE).is_ok();
        }
        match ask["tcpSocket"]["port"].as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port) => {
                std::net::TcpStream::connect_timeout(&SocketAddr::from((self.address, port)), PROBE_PATIENCE).is_ok()
            }
            None => true,
        }
    }

    fn tell(&mut self, all: &[Told]) {
        let status = pod_status::of(all, &self.address);
        if self.told.as_ref() != Some(&status)
            && self.shared.api.patch(&format!("{}/status", self.path), &json!({ "status": status })).is_ok()
        {
            self.told = Some(status);
        }
    }

    /// Hooks, then SIGTERM, and after the time that it has, SIGKILL.
    fn end(&self, mut all: Vec<Container<'_>>) {
        let Wish::End(grace) = self.wishes.now() else { return };
        let until = Instant::now() + grace;
        thread::scope(|scope| {
            for container in &mut all {
                let Some(mut process) = mem::take(&mut container.process) else { continue };
                let spec = container.spec;
                scope.spawn(move || {
                    let left = || until.saturating_duration_since(Instant::now());
                    probe::hook(spec, &spec["lifecycle"]["preStop"], self.address, process.pid(), left());
                    process.stop(left()).ok();
                });
            }
        });
    }
}

impl<'a> Container<'a> {
    fn new(spec: &'a Value) -> Self {
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let state = State::Waiting("ContainerCreating", String::new());
        let told = Told { name: text("name"), image: text("image"), state, ready: false, restarts: 0 };
        Self { spec, process: None, from: Instant::now(), probed: None, told }
    }
}
