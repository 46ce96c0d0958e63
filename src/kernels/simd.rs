//! One vector type for each instruction set, so that a kernel is written once.

/// A vector of [`Vector::LANES`] f32.
///
/// # Safety
/// The methods may only run where the instruction set of the type is available, with pointers valid for the lanes used.
pub unsafe trait Vector: Copy {
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    /// The first `count ≤ LANES` elements at `from`; the other lanes are 0.
    unsafe fn load(from: *const f32, count: usize) -> Self;
    unsafe fn load_all(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32, count: usize);
    /// self + a·b
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
}

/// Eight lanes without any particular instruction set; product and sum round apart.
#[derive(Clone, Copy)]
pub struct Portable([f32; 8]);

// SAFETY: plain loads and stores within the lanes that the caller vouches for.
unsafe impl Vector for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: the caller vouches for `count` elements at `from`.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count) };
        Portable(lanes)
    }

    #[inline(always)]
    unsafe fn load_all(from: *const f32) -> Self {
        // SAFETY: as above, for all lanes.
        Portable(unsafe { std::ptr::read_unaligned(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        // SAFETY: the caller vouches for `count` elements at `to`.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count) };
    }

    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            *sum += a * b;
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (sum, x) in self.0.iter_mut().zip(other.0) {
            *sum += x;
        }
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    #[inline(always)]
    fn mask16(count: usize) -> __mmask16 {
        if count >= 16 { !0 } else { (1 << count) - 1 }
    }

    // SAFETY: masked accesses touch only the lanes that the caller vouches for.
    unsafe impl Vector for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            Avx512(unsafe { _mm512_maskz_loadu_ps(mask16(count), from) })
        }

        #[inline(always)]
        unsafe fn load_all(from: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, mask16(count), self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn mask8(count: usize) -> __m256i {
        // SAFETY: `8 - min(count, 8)` leaves eight entries of the table.
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count.min(8)).cast()) }
    }

    // SAFETY: masked accesses touch only the lanes that the caller vouches for.
    unsafe impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Avx2(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            Avx2(unsafe { _mm256_maskload_ps(from, mask8(count)) })
        }

        #[inline(always)]
        unsafe fn load_all(from: *const f32) -> Self {
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            unsafe { _mm256_maskstore_ps(to, mask8(count), self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }
    }
}
