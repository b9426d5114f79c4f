//! The floor: a Wasm filter with one hand-written per-request export that does nothing, and no SDK.
//! What this costs is what Envoy takes for entering Wasm once per request; no filter can be cheaper.
#![allow(unsafe_code, reason = "an export is a symbol, and `no_mangle` counts as unsafe")]

use std::alloc::{Layout, alloc};

/// Marks the ABI; Envoy looks for the symbol and never calls it.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for bytes that Envoy hands in (the plugin configuration, at most once).
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), 8) {
        // SAFETY: the size is at least one.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Continue, whatever the request is.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    0
}
