//! The hot path: what happens for each request, and for the answers of those that are observed.
//!
//! Order: version, decision, header, count. The default subset's requests are left as they are, because writing a
//! header makes Envoy search the route a second time; a client's own subset header is removed.

#[cfg(feature = "observe")]
use crate::slots::NO_SERIES;
use crate::{
    host::{self, Map},
    root::Root,
    vm::{Common, Vm},
};
#[cfg(feature = "observe")]
use sluicegate_core::{counts::Outcome, ledger::Sampler, spec::Protocol, split::Split};
use sluicegate_core::{
    decide::{Decision, Request, SubsetHeader, decide},
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
    let (split, state) = root.ready.split_for(|| host::header(Map::Request, ":authority"))?;
    let decision = match state.forced {
        Some(subset) => Decision::plain(subset),
        None => decide(split, &mut state.memory, header, &mut Live),
    };
    let subset = split.subsets.get(decision.subset)?;
    // The host refuses these only outside a request. Should it, the request goes by the default route.
    match split.subset_header(&decision) {
        SubsetHeader::Keep => {}
        SubsetHeader::Write => drop(host::replace_header(Map::Request, header, &subset.name)),
        SubsetHeader::Remove if host::header(Map::Request, header).is_some() => {
            let _ = host::remove_header(Map::Request, header);
        }
        SubsetHeader::Remove => {}
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
    (series, sampler): (u32, &mut Sampler),
    common: &mut Common,
    stream: u32,
) {
    let Some(line) = common.ledger.get_mut(series) else { return };
    line.request();
    let sampled = sampler.next(sample);
    let cookie = split.set_cookie(decision).map(String::into_boxed_str);
    if !sampled && cookie.is_none() {
        return;
    }
    let series = if sampled { series } else { NO_SERIES };
    if !common.slots.open(stream, series, host::now_nanos(), cookie) && sampled {
        line.unobserved();
    }
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
