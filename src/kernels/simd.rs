//! Vectors of f32, one type per instruction set. Kernels are written once over [`Vector`] and instantiated inside
//! functions that enable the set's features.
#![allow(clippy::needless_range_loop)] // Indices are constants of the tile, which unrolls.
#![allow(unsafe_op_in_unsafe_fn)] // The contract of every function here is that of the trait.

/// A vector of `LANES` f32.
///
/// # Safety
/// Every method may be called only where the instruction set is available, best inlined into a function that enables
/// it. Pointers must be valid for the lanes that are touched: all of them, or those of the mask.
pub trait Vector: Copy {
    const LANES: usize;
    /// The first lanes, as many as [`Vector::mask`] was asked for.
    type Mask: Copy;

    unsafe fn mask(lanes: usize) -> Self::Mask;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Lanes outside the mask are zero.
    unsafe fn load_masked(from: *const f32, mask: Self::Mask) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_masked(self, to: *mut f32, mask: Self::Mask);
    unsafe fn add(self, other: Self) -> Self;
    /// `self + a · b`.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
}

/// Eight lanes in plain Rust; multiplies, then adds.
#[derive(Clone, Copy)]
pub struct Plain([f32; 8]);

impl Vector for Plain {
    const LANES: usize = 8;
    type Mask = usize;

    #[inline(always)]
    unsafe fn mask(lanes: usize) -> usize {
        lanes
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Plain([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Plain(from.cast::<[f32; 8]>().read_unaligned())
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: usize) -> Self {
        let mut lanes = [0.0; 8];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), mask);
        Plain(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        to.cast::<[f32; 8]>().write_unaligned(self.0);
    }

    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, mask: usize) {
        std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, mask);
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (lane, value) in self.0.iter_mut().zip(other.0) {
            *lane += value;
        }
        self
    }

    #[inline(always)]
    unsafe fn mul_add(mut self, a: Self, b: Self) -> Self {
        for lane in 0..8 {
            self.0[lane] += a.0[lane] * b.0[lane];
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

    /// Eight lanes with fused multiply-add.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Vector for Avx2 {
        const LANES: usize = 8;
        type Mask = __m256i;

        #[inline(always)]
        unsafe fn mask(lanes: usize) -> __m256i {
            _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Avx2(_mm256_set1_ps(value))
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx2(_mm256_loadu_ps(from))
        }

        #[inline(always)]
        unsafe fn load_masked(from: *const f32, mask: __m256i) -> Self {
            Avx2(_mm256_maskload_ps(from, mask))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm256_storeu_ps(to, self.0);
        }

        #[inline(always)]
        unsafe fn store_masked(self, to: *mut f32, mask: __m256i) {
            _mm256_maskstore_ps(to, mask, self.0);
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx2(_mm256_add_ps(self.0, other.0))
        }

        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            Avx2(_mm256_fmadd_ps(a.0, b.0, self.0))
        }
    }

    /// Sixteen lanes with fused multiply-add.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Vector for Avx512 {
        const LANES: usize = 16;
        type Mask = __mmask16;

        #[inline(always)]
        unsafe fn mask(lanes: usize) -> __mmask16 {
            ((1u32 << lanes) - 1) as __mmask16
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Avx512(_mm512_set1_ps(value))
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(_mm512_loadu_ps(from))
        }

        #[inline(always)]
        unsafe fn load_masked(from: *const f32, mask: __mmask16) -> Self {
            Avx512(_mm512_maskz_loadu_ps(mask, from))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm512_storeu_ps(to, self.0);
        }

        #[inline(always)]
        unsafe fn store_masked(self, to: *mut f32, mask: __mmask16) {
            _mm512_mask_storeu_ps(to, mask, self.0);
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx512(_mm512_add_ps(self.0, other.0))
        }

        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            Avx512(_mm512_fmadd_ps(a.0, b.0, self.0))
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Vector;

    /// Four lanes with fused multiply-add.
    #[derive(Clone, Copy)]
    pub struct Neon(float32x4_t);

    impl Vector for Neon {
        const LANES: usize = 4;
        type Mask = usize;

        #[inline(always)]
        unsafe fn mask(lanes: usize) -> usize {
            lanes
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Neon(vdupq_n_f32(value))
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Neon(vld1q_f32(from))
        }

        #[inline(always)]
        unsafe fn load_masked(from: *const f32, mask: usize) -> Self {
            if mask == Self::LANES {
                return Self::load(from);
            }
            let mut lanes = [0.0; Self::LANES];
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), mask);
            Self::load(lanes.as_ptr())
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            vst1q_f32(to, self.0);
        }

        #[inline(always)]
        unsafe fn store_masked(self, to: *mut f32, mask: usize) {
            if mask == Self::LANES {
                return self.store(to);
            }
            let mut lanes = [0.0; Self::LANES];
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, mask);
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Neon(vaddq_f32(self.0, other.0))
        }

        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            Neon(vfmaq_f32(self.0, a.0, b.0))
        }
    }
}
