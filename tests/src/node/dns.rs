//! The names of Services, `NAME.NAMESPACE.svc.cluster.local`: their addresses, for whoever asks at the node by UDP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use super::net;

/// By name without a last dot: the addresses. The writer keeps it up to date.
pub type Names = Arc<Mutex<BTreeMap<String, Vec<Ipv4Addr>>>>;

const HEAD: usize = 12;
const A: u16 = 1;

/// Answers until the process ends.
///
/// # Errors
/// When the address of the node is not there.
pub(super) fn start(names: Names) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from((net::DNS, 53))).context("cannot serve DNS")?;
    thread::Builder::new().name("dns".into()).spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(reply) = answer(&buffer[..length], &names) {
                socket.send_to(&reply, from).ok();
            }
        }
    })?;
    Ok(())
}

/// The reply to a query of one question; `None` to what is none.
fn answer(query: &[u8], names: &BTreeMap<String, Vec<Ipv4Addr>>) -> Option<Vec<u8>> {
    let mut at = HEAD;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        let label = query.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(HEAD..at + 4)?;
    let found = names.get(&labels.join("."));
    let addresses = if kind == A { found.map(Vec::as_slice).unwrap_or_default() } else { &[] };
    let mut reply = query[..2].to_vec();
    // An answer with authority, to a recursive question; code 3: there is no such name.
    reply.extend([0x85, if found.is_some() { 0x80 } else { 0x83 }]);
    reply.extend([0, 1]);
    reply.extend(u16::try_from(addresses.len()).ok()?.to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(question);
    for address in addresses {
        // The name of the question, class IN, valid for five seconds.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        let names = BTreeMap::from([("a.b.svc.cluster.local".to_owned(), vec![Ipv4Addr::new(10, 96, 1, 2)])]);
        answer(&query, &names).unwrap()
    }

    #[test]
    fn a_known_name_has_its_address_and_another_does_not_exist() {
        let reply = ask("A.b.svc.cluster.local", 1);
        assert_eq!(reply[..8], [7, 8, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(reply.ends_with(&[0, 4, 10, 96, 1, 2]));
        // No address of version 6, but the name is there.
        assert_eq!(ask("a.b.svc.cluster.local", 28)[3..8], [0x80, 0, 1, 0, 0]);
        assert_eq!(ask("a.c.svc.cluster.local", 1)[3..8], [0x83, 0, 1, 0, 0]);
        assert!(answer(&[0; 5], &BTreeMap::new()).is_none());
    }
}
