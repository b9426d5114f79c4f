//! What we call: the host functions of Proxy-Wasm ABI 0.2.1, each status handled, and the two of WASI that the ABI
//! lacks (a monotonic clock, randomness).
//!
//! Calls that return bytes cost about 1 µs, because the host re-enters the VM to allocate them; the others 0.1 to
//! 0.3 µs.

#![allow(unsafe_code)]

use std::ptr::null_mut;

/// `proxy_status_t`: 0 is success.
type Status = u32;
const OK: Status = 0;
const CAS_MISMATCH: Status = 8;

/// `proxy_map_type_t`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    #[cfg_attr(not(feature = "observe"), allow(dead_code))]
    Response = 2,
    CallResponse = 6,
}

/// `proxy_buffer_type_t`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

/// `proxy_metric_type_t`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Metric {
    #[cfg_attr(not(feature = "observe"), allow(dead_code))]
    Counter = 0,
    Gauge = 1,
}

/// `proxy_log_level_t`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> Status;
    fn proxy_set_tick_period_milliseconds(period: u32) -> Status;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    #[cfg(feature = "observe")]
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> Status;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> Status;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> Status;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> Status;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> Status;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> Status;
    fn proxy_record_metric(id: u32, value: u64) -> Status;
    #[cfg(feature = "observe")]
    fn proxy_increment_metric(id: u32, offset: i64) -> Status;
    fn proxy_get_metric(id: u32, value: *mut u64) -> Status;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, size: usize) -> u32;
}

/// A host call that did not go through, with the status it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Status);

/// Runs a call that hands over bytes the host put into our allocator; `None` unless it succeeded with some.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> (Status, Option<Vec<u8>>) {
    let (mut data, mut size) = (null_mut(), 0);
    let status = call(&mut data, &mut size);
    if status != OK || data.is_null() {
        return (status, None);
    }
    // SAFETY: `data` came from `proxy_on_memory_allocate(size)`, which allocates a byte array of exactly that layout
    // and gives up ownership.
    (status, Some(unsafe { Vec::from_raw_parts(data, size, size) }))
}

fn check(status: Status) -> Result<(), Refused> {
    if status == OK { Ok(()) } else { Err(Refused(status)) }
}

/// A line in Envoy's log.
pub(crate) fn log(level: Level, message: &str) {
    // SAFETY: pointer and length of a live str. A log line that cannot be written has nowhere to be reported.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Milliseconds between ticks of the current root context.
pub(crate) fn set_tick_period(ms: u32) -> Result<(), Refused> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_tick_period_milliseconds(ms) })
}

/// At most `max` bytes of a buffer.
pub(crate) fn buffer(kind: Buffer, max: usize) -> Option<Vec<u8>> {
    // SAFETY: out-pointers are live for the call.
    bytes(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, 0, max, data, size) }).1
}

/// The first value of a header; `Some(empty)` and `None` differ.
pub(crate) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    // SAFETY: live str, out-pointers live for the call.
    let (status, value) =
        bytes(|data, size| unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) });
    match value {
        None if status == OK => Some(Vec::new()),
        value => value,
    }
}

/// All values of a header, in order, at the price of copying every header.
pub(crate) fn header_values(map: Map, name: &str) -> Vec<Vec<u8>> {
    // SAFETY: out-pointers live for the call.
    let (_, pairs) = bytes(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) });
    pairs.map_or_else(Vec::new, |pairs| values_in(&pairs, name))
}

/// Serialised map: count, then key and value sizes of each pair, then the pairs, each part followed by a NUL.
fn values_in(pairs: &[u8], name: &str) -> Vec<Vec<u8>> {
    let number = |at: usize| {
        let bytes = pairs.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0).unwrap_or(0);
    let mut at = 4 + 8 * count;
    let mut values = Vec::new();
    for i in 0..count {
        let (Some(key_size), Some(value_size)) = (number(4 + 8 * i), number(8 + 8 * i)) else { break };
        let value_at = at + key_size + 1;
        if pairs.get(at..at + key_size) == Some(name.as_bytes())
            && let Some(value) = pairs.get(value_at..value_at + value_size)
        {
            values.push(value.to_vec());
        }
        at = value_at + value_size + 1;
    }
    values
}

/// Sets a header to exactly one value. On request headers this makes Envoy look for the route again.
pub(crate) fn replace_header(map: Map, name: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: live strs.
    check(unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Adds a value to a header.
#[cfg(feature = "observe")]
pub(crate) fn add_header(map: Map, name: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: live strs.
    check(unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Removes every value of a header.
pub(crate) fn remove_header(map: Map, name: &str) -> Result<(), Refused> {
    // SAFETY: live str.
    check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property; parts of the path are separated by NUL.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: live str, out-pointers live for the call.
    bytes(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }).1
}

/// A property as text; empty when there is none.
pub(crate) fn property_text(path: &str) -> String {
    String::from_utf8_lossy(&property(path).unwrap_or_default()).into_owned()
}

/// A numeric property of Envoy: 8 bytes, little endian.
#[cfg(feature = "observe")]
pub(crate) fn property_number(path: &str) -> Option<u64> {
    Some(u64::from_le_bytes(property(path)?.try_into().ok()?))
}

/// Sets a property; in Envoy it becomes filter state `wasm.<path>`.
pub(crate) fn set_property(path: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: live strs.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// What shared data holds under a key.
pub(crate) struct Shared {
    /// Empty when the key is only seeded.
    pub(crate) value: Vec<u8>,
    /// Changes with every write.
    pub(crate) cas: u32,
}

/// A key of shared data; `None` when it does not exist.
pub(crate) fn shared(key: &str) -> Option<Shared> {
    let mut cas = 0;
    // SAFETY: live str, out-pointers live for the call.
    let (status, value) =
        bytes(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas) });
    (status == OK).then(|| Shared { value: value.unwrap_or_default(), cas })
}

/// Writes a key. With `cas` 0 unconditionally, otherwise only over that very value: `Ok(false)` when another VM was
/// faster. The host ignores `cas` on a missing key, so keys are seeded first.
pub(crate) fn set_shared(key: &str, value: &[u8], cas: u32) -> Result<bool, Refused> {
    // SAFETY: live slices.
    match unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) } {
        OK => Ok(true),
        CAS_MISMATCH => Ok(false),
        status => Err(Refused(status)),
    }
}

/// Sends a POST with a JSON body to a cluster; the answer comes as `proxy_on_http_call_response` with this token.
pub(crate) fn post(cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Result<u32, Refused> {
    let headers = serialize(headers);
    let none = serialize(&[]);
    let mut token = 0;
    // SAFETY: live slices, out-pointer live for the call.
    check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            none.as_ptr(),
            none.len(),
            timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

fn serialize(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
    for (key, value) in pairs {
        out.extend((key.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for part in pairs.iter().flat_map(|(key, value)| [key, value]) {
        out.extend(part.as_bytes());
        out.push(0);
    }
    out
}

/// Makes a metric. Every call makes a new id, so [`crate::vm`] keeps them.
pub(crate) fn define_metric(kind: Metric, name: &str) -> Result<u32, Refused> {
    let mut id = 0;
    // SAFETY: live str, out-pointer live for the call.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Sets a gauge.
pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Refused> {
    // SAFETY: no pointers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Adds to a counter; the host refuses 0.
#[cfg(feature = "observe")]
pub(crate) fn increment_metric(id: u32, by: u64) -> Result<(), Refused> {
    // SAFETY: no pointers.
    check(unsafe { proxy_increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX)) })
}

/// Reads a counter or gauge: process-wide, whoever wrote it.
pub(crate) fn metric(id: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: out-pointer live for the call.
    (unsafe { proxy_get_metric(id, &mut value) } == OK).then_some(value)
}

/// Monotonic nanoseconds, the same clock in every VM of the process.
pub(crate) fn now_nanos() -> u64 {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: out-pointer live for the call. It cannot fail for this clock; 0 would only spoil a latency.
    let _ = unsafe { clock_time_get(MONOTONIC, 1, &mut time) };
    time
}

/// Monotonic milliseconds.
pub(crate) fn now_millis() -> u64 {
    now_nanos() / 1_000_000
}

/// 64 random bits; should the host have none, the clock.
pub(crate) fn random() -> u64 {
    let mut buffer = [0; 8];
    // SAFETY: live buffer of that size.
    match unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) } {
        0 => u64::from_le_bytes(buffer),
        _ => now_nanos().wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}
