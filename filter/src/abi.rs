//! What Envoy calls: the exports of Proxy-Wasm ABI 0.2.1 we need, and no other, since each costs 0.1 to 0.5 µs per
//! request for being there.

#![allow(unsafe_code)]

use crate::{
    host::{self, Buffer, Level},
    request,
    root::Root,
    vm::Vm,
};
use std::alloc::{Layout, alloc};

/// `proxy_action_t`: go on.
const CONTINUE: u32 = 0;

/// Marks the version of the ABI. Later ones do not look for the route again when a header changes.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Called once per VM. Its being here also keeps the linker from wrapping every export in start-up and clean-up code.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker provides it; Envoy calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
}

/// Memory for bytes the host hands over; null when there is none, which the host turns into a failed call.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size is not zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// A root context (parent 0), or a stream, whose headers come next.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    if parent != 0 {
        Vm::stream_created(context, parent);
    }
}

/// Returns 0 to refuse the configuration; Envoy then keeps the one before.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    let json = host::buffer(Buffer::PluginConfiguration, size).unwrap_or_default();
    let configured = Vm::with(|vm| {
        let root = Root::configure(root, &json, &mut vm.common)?;
        vm.add(root, host::now_millis());
        Ok::<(), String>(())
    });
    match configured {
        Some(Ok(())) => 1,
        Some(Err(why)) => {
            host::log(Level::Error, &format!("sluicegate: {why}"));
            0
        }
        None => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    Vm::with(|vm| {
        if let Some((root, common)) = vm.root(root) {
            root.tick(common);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(root: u32, token: u32, _headers: u32, body_size: usize, _trailers: u32) {
    Vm::with(|vm| {
        if let Some((root, common)) = vm.root(root) {
            root.call_response(token, body_size, common);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(stream: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    Vm::with(|vm| request::headers(vm, stream));
    CONTINUE
}

#[cfg(feature = "observe")]
#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(stream: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    Vm::with(|vm| request::response_headers(vm, stream));
    CONTINUE
}

#[cfg(feature = "observe")]
#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(stream: u32) {
    Vm::with(|vm| request::log(vm, stream));
}
