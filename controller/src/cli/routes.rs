//! `sluicegate routes`: the routes that a service needs once, so that nothing but weights changes afterwards. In: the command
//! line. Out: YAML for `kubectl apply`.
//!
//! One rule per subset header value, and a last one for requests without it, which go to the default subset.

use super::text;
use anyhow::Result;
use clap::{Args, ValueEnum};
use sluicegate_core::name;
use std::fmt::Write as _;

#[derive(Debug, Args)]
pub(super) struct Routes {
    /// The service, as its split and its Deployment are called: NAME or NAMESPACE/NAME.
    #[arg(value_parser = super::split_name)]
    name: String,
    /// Who will read the routes.
    #[arg(long = "for", value_enum, value_name = "PROXY")]
    proxy: Proxy,
    /// Its subsets, the default one first.
    #[arg(long = "subset", value_name = "SUBSET", value_parser = label, default_values = ["main", "baseline", "canary"])]
    subsets: Vec<String>,
    /// The port of the service.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The port of its pods. Unless given: that of the service.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    target_port: Option<u16>,
    /// A host whose requests these routes are for. Unless given: all hosts of the gateway; for Istio, those of the service.
    #[arg(long = "host", value_name = "HOST", value_parser = host)]
    hosts: Vec<String>,
    /// The gateway: NAME, or NAMESPACE/NAME. For Istio unless given: only inside the mesh.
    #[arg(long, value_name = "GATEWAY", value_parser = gateway, required_if_eq("proxy", "envoy-gateway"))]
    gateway: Option<String>,
    /// The subset header, as the filter writes it.
    #[arg(long, value_name = "NAME", value_parser = header, default_value = "x-sluicegate-subset")]
    header: String,
    /// A label that all pods of the service have.
    #[arg(long, value_name = "KEY=VALUE", value_parser = selector)]
    selector: Option<String>,
    /// The label by which the controller tells the pods of subsets apart.
    #[arg(long, value_name = "KEY", value_parser = key, default_value = "sluicegate.dev/role")]
    role_label: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Proxy {
    /// An HTTPRoute, and a Service per subset.
    EnvoyGateway,
    /// A VirtualService, and a DestinationRule with the subsets.
    Istio,
}

fn label(typed: &str) -> Result<String, String> {
    name::subset(typed).map(|()| typed.to_owned()).map_err(|why| why.to_string())
}

fn host(typed: &str) -> Result<String, String> {
    name::host(typed).map(|()| typed.to_owned()).map_err(|why| why.to_string())
}

fn header(typed: &str) -> Result<String, String> {
    name::written_header(typed).map_err(|why| why.to_string())
}

fn gateway(typed: &str) -> Result<String, String> {
    typed.split('/').try_for_each(name::subset).map_err(|why| why.to_string())?;
    match typed.matches('/').count() {
        0 | 1 => Ok(typed.to_owned()),
        _ => Err("a gateway is NAME, or NAMESPACE/NAME".to_owned()),
    }
}

/// A label's key: a name, perhaps with a DNS name before it.
fn key(typed: &str) -> Result<String, String> {
    let (prefix, own) = typed.split_once('/').map_or((None, typed), |(prefix, own)| (Some(prefix), own));
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain = |part: &str| (1..=63).contains(&part.len()) && part.chars().all(known);
    match plain(own) && prefix.is_none_or(|prefix| name::host(prefix).is_ok()) {
        true => Ok(typed.to_owned()),
        false => Err("write a label as app, or example.com/app".to_owned()),
    }
}

fn selector(typed: &str) -> Result<String, String> {
    let wrong = || "write KEY=VALUE, for example app=hello-app".to_owned();
    let (name, value) = typed.split_once('=').ok_or_else(wrong)?;
    key(name)?;
    key(value).map_err(|_| wrong())?;
    if value.contains('/') { Err(wrong()) } else { Ok(format!("{name}: {value:?}")) }
}

pub(super) fn run(routes: &Routes) -> Result<()> {
    text::print(&routes.yaml())
}

impl Routes {
    fn yaml(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = match self.proxy {
            Proxy::EnvoyGateway => self.envoy_gateway(&mut out),
            Proxy::Istio => self.istio(&mut out),
        };
        out
    }

    fn parts(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or(("default", &self.name))
    }

    fn selector(&self) -> String {
        self.selector.clone().unwrap_or_else(|| format!("app: {}", self.parts().1))
    }

    /// Default subset, and the others.
    fn subsets(&self) -> (&str, &[String]) {
        match self.subsets.split_first() {
            Some((default, others)) => (default, others),
            None => ("main", &[]),
        }
    }

    fn envoy_gateway(&self, out: &mut String) -> std::fmt::Result {
        let ((namespace, name), (default, others)) = (self.parts(), self.subsets());
        let (selector, role) = (self.selector(), &self.role_label);
        let (port, target) = (self.port, self.target_port.unwrap_or(self.port));
        for subset in &self.subsets {
            writeln!(
                out,
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}-{subset}, namespace: {namespace} }}"
            )?;
            writeln!(out, "spec:\n  selector: {{ {selector}, {role}: {subset} }}")?;
            writeln!(out, "  ports: [{{ name: http, port: {port}, targetPort: {target} }}]\n---")?;
        }
        writeln!(out, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute")?;
        writeln!(out, "metadata: {{ name: {name}, namespace: {namespace} }}\nspec:")?;
        match self.gateway.as_deref().unwrap_or_default().split_once('/') {
            Some((elsewhere, gateway)) => {
                writeln!(out, "  parentRefs: [{{ name: {gateway}, namespace: {elsewhere} }}]")?;
            }
            None => writeln!(out, "  parentRefs: [{{ name: {} }}]", self.gateway.as_deref().unwrap_or_default())?,
        }
        if !self.hosts.is_empty() {
            writeln!(out, "  hostnames: {:?}", self.hosts)?;
        }
        writeln!(out, "  rules:")?;
        for subset in others {
            writeln!(out, "    - matches: [{{ headers: [{{ name: {}, value: {subset} }}] }}]", self.header)?;
            writeln!(out, "      backendRefs: [{{ name: {name}-{subset}, port: {port} }}]")?;
        }
        writeln!(out, "    # Without the header: {default}. Must stay the last rule, and must be what is safe.")?;
        writeln!(out, "    - backendRefs: [{{ name: {name}-{default}, port: {port} }}]")
    }

    fn istio(&self, out: &mut String) -> std::fmt::Result {
        let ((namespace, name), (default, others)) = (self.parts(), self.subsets());
        let service = format!("{name}.{namespace}.svc.cluster.local");
        let (port, target) = (self.port, self.target_port.unwrap_or(self.port));
        writeln!(out, "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace} }}")?;
        writeln!(out, "spec:\n  selector: {{ {} }}", self.selector())?;
        writeln!(out, "  ports: [{{ name: http, port: {port}, targetPort: {target} }}]\n---")?;
        writeln!(out, "apiVersion: networking.istio.io/v1\nkind: DestinationRule")?;
        writeln!(out, "metadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n  host: {service}\n  subsets:")?;
        for subset in &self.subsets {
            writeln!(out, "    - {{ name: {subset}, labels: {{ {}: {subset} }} }}", self.role_label)?;
        }
        writeln!(out, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService")?;
        writeln!(out, "metadata: {{ name: {name}, namespace: {namespace} }}\nspec:")?;
        let gateways = ["mesh"].into_iter().chain(self.gateway.as_deref());
        writeln!(out, "  gateways: [{}]", gateways.collect::<Vec<_>>().join(", "))?;
        let hosts: Vec<_> = [&service].into_iter().chain(&self.hosts).collect();
        writeln!(out, "  hosts: {hosts:?}\n  http:")?;
        let destination = |subset: &str| {
            format!("route: [{{ destination: {{ host: {service}, subset: {subset}, port: {{ number: {port} }} }} }}]")
        };
        for subset in others {
            writeln!(out, "    - match: [{{ headers: {{ {}: {{ exact: {subset} }} }} }}]", self.header)?;
            writeln!(out, "      {}", destination(subset))?;
        }
        writeln!(out, "    # Without the header: {default}. Must stay the last rule, and must be what is safe.")?;
        writeln!(out, "    - {}", destination(default))
    }
}
