//! The hot path: what happens for each request, and for the answers of those that are observed.
//!
//! Order: version, decision, header, count. The default subset's requests are left as they are, because writing a
//! header makes Envoy search the route a second time; a client's own subset header is removed.

#[cfg(feature = "observe")]
use crate::slots::NO_SERIES;
use crate::{
    host::{self, Map},
    root::{Ready, Root},
    vm::{Common, Vm},
};
#[cfg(feature = "observe")]
use sluicegate_core::{
    counts::Outcome,
    spec::{Protocol, StickyKey},
    split::{Chooser, Split},
};
use sluicegate_core::{
    decide::{Decision, Request, decide},
    key,
};

/// The request at hand, as the host shows it.
struct Live;

impl Request for Live {
    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        host::header(Map::Request, name)
    }

    fn cookie(&mut self, name: &str) -> Option<Vec<u8>> {
        let first = host::header(Map::Request, "cookie")?;
        if let Some(value) = key::cookie(&first, name.as_bytes()) {
            return Some(value.to_vec());
        }
        // The host shows only the first `cookie` header; HTTP/1 clients may send several.
        let all = host::header_values(Map::Request, "cookie");
        all.iter().skip(1).find_map(|header| key::cookie(header, name.as_bytes()).map(<[u8]>::to_vec))
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        host::property("source\0address")
    }
}

impl Ready {
    /// Index of the split that decides this request.
    fn split_for(&self) -> Option<usize> {
        match self.single {
            Some(index) => Some(index),
            None if self.none => None,
            None => self.table.by_authority(&host::header(Map::Request, ":authority")?),
        }
    }
}

/// The headers of a request are there.
pub(crate) fn headers(vm: &mut Vm, stream: u32) {
    let Some((root, common)) = Vm::root_of(stream).and_then(|id| vm.root(id)) else { return };
    #[cfg(feature = "faults")]
    crate::fault::request();
    root.refresh(common);
    if decided(root, common, stream).is_none() && host::header(Map::Request, &root.config.header).is_some() {
        // No split, so nobody chose; a client must not either.
        let _ = host::remove_header(Map::Request, &root.config.header);
    }
}

/// Decides, writes and counts; `None` when no split applies.
fn decided(root: &mut Root, common: &mut Common, stream: u32) -> Option<()> {
    let header = root.config.header.as_str();
    let index = root.ready.split_for()?;
    let split = root.ready.table.get(index)?;
    let state = root.ready.states.get_mut(index)?;
    let decision = match state.forced {
        Some(subset) => Decision { subset, keep: false, issue: None },
        None => decide(split, &mut state.memory, header, &mut Live),
    };
    let subset = split.subsets.get(decision.subset)?;
    // The host refuses these only outside a request. Should it, the request goes by the default route.
    if decision.keep {
    } else if decision.subset != split.default || split.write_default {
        let _ = host::replace_header(Map::Request, header, &subset.name);
    } else if host::header(Map::Request, header).is_some() {
        let _ = host::remove_header(Map::Request, header);
    }
    if root.config.access_log {
        let _ = host::set_property("subset", &subset.name);
    }
    #[cfg(feature = "observe")]
    {
        let (line, sampler) = state.lines.get_mut(decision.subset)?;
        observe(split, &decision, subset.sample, (*line, sampler), common, stream);
    }
    #[cfg(not(feature = "observe"))]
    let _ = (common, stream);
    Some(())
}

#[cfg(feature = "observe")]
fn observe(
    split: &Split,
    decision: &Decision,
    sample: u32,
    (series, sampler): (u32, &mut crate::ledger::Sampler),
    common: &mut Common,
    stream: u32,
) {
    let Some(line) = common.ledger.get_mut(series) else { return };
    line.request();
    let sampled = sampler.next(sample);
    let cookie = decision.issue.as_ref().and_then(|id| set_cookie(split, id));
    if !sampled && cookie.is_none() {
        return;
    }
    let series = if sampled { series } else { NO_SERIES };
    if !common.slots.open(stream, series, host::now_nanos(), cookie) && sampled {
        line.unobserved();
    }
}

#[cfg(feature = "observe")]
fn set_cookie(split: &Split, id: &[u8]) -> Option<Box<str>> {
    let Chooser::Sticky(sticky) = &split.chooser else { return None };
    let StickyKey::Cookie { name, ttl } = &sticky.key else { return None };
    let id = std::str::from_utf8(id).ok()?;
    let age = ttl.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    Some(format!("{name}={id}; Path=/{age}; HttpOnly; SameSite=Lax").into())
}

/// The headers of a response are there: a new sticky user gets the cookie.
#[cfg(feature = "observe")]
pub(crate) fn response_headers(vm: &mut Vm, stream: u32) {
    if let Some(cookie) = vm.common.slots.take_cookie(stream) {
        // Should the host refuse, the next response carries another id.
        let _ = host::add_header(Map::Response, "set-cookie", &cookie);
    }
}

/// A stream is over, however it ended. Called for streams we never saw too.
#[cfg(feature = "observe")]
pub(crate) fn log(vm: &mut Vm, stream: u32) {
    let Some(slot) = vm.common.slots.close(stream) else { return };
    let Some(line) = vm.common.ledger.get_mut(slot.series) else { return };
    let status = host::header(Map::Response, ":status")
        .and_then(|s| std::str::from_utf8(&s).ok().and_then(|s| s.parse::<u16>().ok()));
    // Flags cost a microsecond, so only where they can matter: gRPC hides failures behind status 200.
    let grpc = line.protocol == Protocol::Grpc;
    let flags = match status {
        Some(..500) if !grpc => 0,
        _ => host::property_number("response\0flags").unwrap_or(0),
    };
    let outcome = match grpc {
        true => Outcome::of_grpc(host::property_number("response\0grpc_status"), flags),
        false => Outcome::of_http(status, flags),
    };
    let micros = status.map(|_| host::now_nanos().saturating_sub(slot.started) / 1_000);
    line.outcome(outcome, micros);
}
