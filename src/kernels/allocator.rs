//! The allocator of the system, which other libraries in the process use too.

/// Bytes of a large block.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// From now on large blocks go back to the system when they are freed. glibc would learn from the first ones to keep the later
/// ones, and weights that were freed would stay in memory. Other allocators do so by themselves.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
