//! How much of the machine's memory an idle process holds.

#![expect(unsafe_code, reason = "asks the allocator")]

/// Asks the system for small pages. A huge page takes two mebibytes from its first byte, and each thread's part of
/// the heap begins with some: 12 MiB of an idle API.
pub fn use_small_pages() {
    // Without it the process holds more memory, and nothing else changes.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives the memory back that only the start needed: for reading plugins, settings and templates. The allocator
/// does so by itself when the process allocates again, which an idle one does not.
pub fn give_back() {
    // SAFETY: mimalloc allows it at any time, from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
