//! A Kubernetes node without a container runtime: pods are processes of this machine, each pod in a network namespace of its own and
//! each container in a file system of its own; Services and their names work.
//!
//! In: a control plane, and for the images that may be run which programs they are. Out: whatever is applied runs: pods by
//! [`kubelet`], Services by [`services`], their names by [`dns`]. [`net::enter`] must come first, before there are threads.
//!
//! What is other than on a real node: no users, no limits and no security of containers, no kernel in the path of Services (a
//! program passes bytes on), and probes come more often, so that tests take less time.

mod container;
pub mod dns;
pub mod kubelet;
pub mod net;
mod pod;
mod probe;
pub mod services;
mod volumes;

use anyhow::Result;

use crate::kube::api::Api;
use kubelet::Kubelet;
use services::Services;

/// What an image is here.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// What is run unless a container names a command.
    pub entrypoint: Vec<String>,
    /// Arguments that the image brings, before those of a container.
    pub args: Vec<String>,
    /// Files of the image: the path in it, and where it is taken from. Programs belong to `/usr/local/bin`.
    pub files: Vec<(String, std::path::PathBuf)>,
}

/// Finds an image by its name, as it stands in a container.
pub type Images = Box<dyn Fn(&str) -> Option<Image> + Send + Sync>;

/// The running node.
#[derive(Debug)]
pub struct Node {
    /// Its pods.
    pub kubelet: Kubelet,
    /// Its Services.
    pub services: Services,
}

impl Node {
    /// Starts to look after the pods and Services of a control plane that listens on this port of the node's loopback.
    ///
    /// # Errors
    /// When the API refuses the node, or the network is not there.
    pub fn start(api: &Api, api_port: u16, images: Images) -> Result<Self> {
        let services = Services::start(api, api_port)?;
        dns::start(services.names())?;
        Ok(Self { kubelet: Kubelet::start(api, images)?, services })
    }
}
