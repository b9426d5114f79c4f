//! Services: a listener at each address and port that a Service has, which passes connections on to pods that are ready.
//!
//! In: the Services and EndpointSlices of the cluster. Out: listeners, as long as there is a pod; [`dns::Names`]; and for a Service
//! of type LoadBalancer the address that a cloud would give it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{dns, net};
use crate::kube::api::Api;

const KINDS: [&str; 2] = ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"];
/// The API server ends a watch after so many seconds; then all is listed again.
const WATCH: u32 = 30;
const CONNECT: Duration = Duration::from_secs(2);

/// The threads that do it.
#[derive(Debug)]
pub struct Services {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: Api,
    stopped: AtomicBool,
    /// Of each kind, by namespace and name.
    objects: Mutex<[BTreeMap<String, Value>; 2]>,
    forwards: Mutex<BTreeMap<SocketAddr, Forward>>,
    names: dns::Names,
}

#[derive(Debug)]
struct Forward {
    pods: Arc<Mutex<Vec<SocketAddr>>>,
    ended: Arc<AtomicBool>,
}

impl Services {
    pub(super) fn start(api: &Api, api_port: u16) -> Result<Self> {
        let shared = Arc::new(Shared {
            api: api.clone(),
            stopped: AtomicBool::new(false),
            objects: Mutex::default(),
            forwards: Mutex::default(),
            names: dns::Names::default(),
        });
        // Behind the first of all Services there is no pod.
        let server = vec![SocketAddr::from(([127, 0, 0, 1], api_port))];
        listen(
            SocketAddr::from((net::API, 443)),
            Forward { pods: Arc::new(Mutex::new(server)), ended: Arc::default() },
        )?;
        for kind in 0..KINDS.len() {
            let worker = Arc::clone(&shared);
            thread::Builder::new().name("services".into()).spawn(move || {
                while !worker.stopped.load(Ordering::Relaxed) {
                    if worker.follow(kind).is_err() {
                        thread::sleep(Duration::from_millis(50));
                    }
                }
            })?;
        }
        Ok(Self { shared })
    }

    pub(super) fn names(&self) -> dns::Names {
        Arc::clone(&self.shared.names)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn follow(&self, kind: usize) -> Result<()> {
        let (all, version) = self.api.list(KINDS[kind])?;
        lock(&self.objects)[kind] = all.into_iter().map(|one| (key(&one), one)).collect();
        self.update();
        self.api.watch(KINDS[kind], &version, WATCH, |what, object| {
            match what {
                "DELETED" => lock(&self.objects)[kind].remove(&key(&object)),
                _ => lock(&self.objects)[kind].insert(key(&object), object),
            };
            self.update();
            Ok(())
        })
    }

    fn update(&self) {
        let objects = lock(&self.objects);
        let [services, slices] = &*objects;
        let mut wanted = BTreeMap::new();
        let mut names = BTreeMap::new();
        for service in services.values() {
            let Some(address) = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
                continue;
            };
            let [namespace, name] =
                ["namespace", "name"].map(|field| service["metadata"][field].as_str().unwrap_or_default());
            names.insert(format!("{name}.{namespace}.svc.cluster.local"), vec![address]);
            let mut addresses = vec![address];
            addresses.extend(self.balancer(service, address));
            for port in service["spec"]["ports"].as_array().into_iter().flatten() {
                let pods = pods(slices.values(), namespace, name, &port["name"]);
                let number = port["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
                wanted.extend(addresses.iter().map(|address| (SocketAddr::from((*address, number)), pods.clone())));
            }
        }
        *lock(&self.names) = names;
        self.forward(wanted);
    }

    /// Where nobody is ready nobody listens: then who asks is refused at once, as in a cluster.
    fn forward(&self, mut wanted: BTreeMap<SocketAddr, Vec<SocketAddr>>) {
        wanted.retain(|at, pods| !pods.is_empty() && at.ip() != net::API);
        let mut forwards = lock(&self.forwards);
        for (at, forward) in forwards.extract_if(.., |at, _| !wanted.contains_key(at)) {
            drop(forward);
            // It looks whether it has ended when somebody comes.
            TcpStream::connect_timeout(&at, CONNECT).ok();
        }
        for (at, pods) in wanted {
            if let Some(forward) = forwards.get(&at) {
                *lock(&forward.pods) = pods;
                continue;
            }
            let forward = Forward { pods: Arc::new(Mutex::new(pods)), ended: Arc::default() };
            let other = Forward { pods: Arc::clone(&forward.pods), ended: Arc::clone(&forward.ended) };
            match listen(at, other) {
                Ok(()) => drop(forwards.insert(at, forward)),
                Err(why) => eprintln!("nobody listens at {at}: {why:#}"),
            }
        }
    }

    /// The address of the load balancer of a Service that wants one.
    fn balancer(&self, service: &Value, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if service["spec"]["type"] != "LoadBalancer" {
            return None;
        }
        let [first, _, third, last] = address.octets();
        let balancer = Ipv4Addr::new(first, net::BALANCERS, third, last);
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": balancer }] } } });
        if service["status"]["loadBalancer"]["ingress"].is_null() {
            let (namespace, name) = (&service["metadata"]["namespace"], &service["metadata"]["name"]);
            let [namespace, name] = [namespace, name].map(|text| text.as_str().unwrap_or_default());
            self.api.patch(&format!("/api/v1/namespaces/{namespace}/services/{name}/status"), &status).ok();
        }
        Some(balancer)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// The pods behind a port of a Service: those that are ready, or else those that still serve while they end.
fn pods<'a>(slices: impl Iterator<Item = &'a Value>, namespace: &str, service: &str, port: &Value) -> Vec<SocketAddr> {
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    let of_service = |slice: &&Value| {
        slice["metadata"]["namespace"] == namespace
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
    };
    for slice in slices.filter(of_service) {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let named = |one: &&Value| one["name"].as_str().unwrap_or_default() == port.as_str().unwrap_or_default();
        let number = ports.clone().find(named).and_then(|one| one["port"].as_u64());
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let Some(ip) = endpoint["addresses"][0].as_str().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
                continue;
            };
            let conditions = &endpoint["conditions"];
            if conditions["ready"] == true {
                ready.push(SocketAddr::from((ip, number)));
            } else if conditions["serving"] == true && conditions["terminating"] == true {
                ending.push(SocketAddr::from((ip, number)));
            }
        }
    }
    if ready.is_empty() { ending } else { ready }
}

/// Passes on every connection that comes, until the forward has ended.
fn listen(at: SocketAddr, forward: Forward) -> Result<()> {
    let listener = TcpListener::bind(at)?;
    thread::Builder::new().name("service".into()).stack_size(64 << 10).spawn(move || {
        for client in listener.incoming().flatten() {
            if forward.ended.load(Ordering::Relaxed) {
                return;
            }
            let pods = lock(&forward.pods).clone();
            thread::Builder::new().stack_size(64 << 10).spawn(move || pass(&client, &pods)).ok();
        }
    })?;
    Ok(())
}

fn pass(client: &TcpStream, pods: &[SocketAddr]) -> Option<()> {
    let pod = pods.get(fastrand::usize(..pods.len().max(1)))?;
    let pod = TcpStream::connect_timeout(pod, CONNECT).ok()?;
    for stream in [client, &pod] {
        stream.set_nodelay(true).ok();
    }
    let (back_from, back_to) = (pod.try_clone().ok()?, client.try_clone().ok()?);
    let back = thread::Builder::new().stack_size(64 << 10).spawn(move || copy(&back_from, &back_to)).ok()?;
    copy(client, &pod);
    back.join().ok()
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    match io::copy(&mut from, &mut to) {
        Ok(_) => to.shutdown(Shutdown::Write).ok(),
        // One side is gone: so is the connection.
        Err(_) => from.shutdown(Shutdown::Both).and(to.shutdown(Shutdown::Both)).ok(),
    };
}

fn key(object: &Value) -> String {
    let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
