//! The programs of the control plane: which arguments each gets, and the files that they share. In: a folder. Out: processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::process::Process;
use crate::{paths, ports};

/// The controllers that do something here. Named one by one: others would take the stub's node for dead and delete its pods.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,endpointslice-controller,endpoints-controller,\
    garbage-collector-controller,namespace-controller,job-controller,serviceaccount-controller,\
    root-ca-certificate-publisher-controller";

/// One program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where the API server keeps everything.
    Etcd,
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`: makes ReplicaSets and pods of Deployments, EndpointSlices of pods.
    ControllerManager,
}

/// Ports and files, so that a part can be started again as it was.
#[derive(Debug)]
pub(super) struct Plan {
    dir: PathBuf,
    etcd: u16,
    peer: u16,
    server: u16,
    /// The administrator's bearer token.
    pub(super) token: String,
}

impl Plan {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        // It takes no port 0 that they would tell.
        let plan =
            Self { dir: dir.to_owned(), etcd: ports::free()?, peer: ports::free()?, server: ports::free()?, token };
        fs::write(plan.file("tokens.csv"), format!("{},admin,admin,system:masters\n", plan.token))?;
        let key = rcgen::KeyPair::generate().context("no key for service accounts")?;
        fs::write(plan.file("sa.key"), key.serialize_pem())?;
        fs::write(plan.file("sa.pub"), key.public_key_pem())?;
        Ok(plan)
    }

    pub(super) const fn port(&self) -> u16 {
        self.server
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.server)
    }

    /// The certificate that the API server makes for itself when it starts.
    pub(super) fn ca(&self) -> PathBuf {
        self.dir.join("certs/apiserver.crt")
    }

    pub(super) fn kubeconfig(&self, token: &str) -> Result<String> {
        let ca = fs::canonicalize(self.ca()).context("kube-apiserver has no certificate yet")?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": self.url(), "certificate-authority": ca } }],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        // JSON is YAML, too.
        Ok(config.to_string())
    }

    pub(super) fn start(&self, part: Part) -> Result<Process> {
        let (name, args) = match part {
            Part::Etcd => ("etcd", self.etcd()),
            Part::ApiServer => ("kube-apiserver", self.api_server()),
            Part::ControllerManager => ("kube-controller-manager", self.controller_manager()),
        };
        let mut command = Command::new(paths::kubernetes(name)?);
        command.args(args);
        Process::start(name, command, &self.dir)
    }

    pub(super) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }

    /// Etcd forgets all but the newest versions.
    pub(super) fn compact(&self) -> Result<()> {
        let url = format!("{}/v3/kv", self.etcd_url());
        let ask = |verb: &str, body: serde_json::Value| -> Result<serde_json::Value> {
            let mut answer = ureq::post(format!("{url}/{verb}")).send_json(body).context("etcd")?;
            answer.body_mut().read_json().context("etcd")
        };
        // Of a key that is not there: only the head of the answer is wanted.
        let now = ask("range", json!({ "key": "AA==" }))?["header"]["revision"].take();
        ask("compaction", json!({ "revision": now, "physical": true })).map(drop)
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn etcd(&self) -> Vec<String> {
        let (client, peer) = (self.etcd_url(), format!("http://127.0.0.1:{}", self.peer));
        vec![
            format!("--data-dir={}", self.file("etcd")),
            // Nobody pulls the plug of this machine between two lines of a test.
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".into(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd),
            "--bind-address=127.0.0.1".into(),
            // Else it looks for a default route, which a machine, or a namespace, need not have.
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.server),
            format!("--cert-dir={}", self.file("certs")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-signing-key-file={}", self.file("sa.key")),
            format!("--service-account-key-file={}", self.file("sa.pub")),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            // Else it would complain for ever that its own address is a loopback one.
            "--endpoint-reconciler-type=none".into(),
        ]
    }

    fn controller_manager(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.file("kubeconfig")),
            "--leader-elect=false".into(),
            // Nobody asks it anything.
            "--secure-port=0".into(),
            format!("--service-account-private-key-file={}", self.file("sa.key")),
            format!("--root-ca-file={}", self.ca().display()),
            format!("--controllers={CONTROLLERS}"),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=500".into(),
        ]
    }
}
