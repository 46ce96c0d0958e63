//! Elements as bytes.

use half::{bf16, f16};

use crate::tensor::{Element, I4, U4};

/// Elements as they lie in `raw_data`, little-endian.
pub trait RawElement: Element {
    /// The first `count` elements of `bytes`.
    fn unpack(bytes: &[u8], count: usize) -> Vec<Self>;
    fn pack(elements: impl Iterator<Item = Self>) -> Vec<u8>;
}

macro_rules! whole_bytes {
    ($($rust:ty)*) => {$(
        impl RawElement for $rust {
            fn unpack(bytes: &[u8], count: usize) -> Vec<Self> {
                // As many as there are, so that no room is left over.
                bytes.as_chunks().0.iter().take(count).map(|chunk| <$rust>::from_le_bytes(*chunk)).collect()
            }
            fn pack(elements: impl Iterator<Item = Self>) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(elements.size_hint().0 * size_of::<$rust>());
                elements.for_each(|element| bytes.extend(element.to_le_bytes()));
                bytes
            }
        }
    )*};
}

whole_bytes!(f32 f64 f16 bf16 i8 u8 i16 u16 i32 u32 i64 u64);

impl RawElement for bool {
    fn unpack(bytes: &[u8], count: usize) -> Vec<Self> {
        bytes.iter().take(count).map(|byte| *byte != 0).collect()
    }

    fn pack(elements: impl Iterator<Item = Self>) -> Vec<u8> {
        elements.map(u8::from).collect()
    }
}

/// Two elements in a byte, the first in its low half.
macro_rules! half_bytes {
    ($($rust:ty)*) => {$(
        impl RawElement for $rust {
            fn unpack(bytes: &[u8], count: usize) -> Vec<Self> {
                bytes.iter().flat_map(|byte| [*byte, byte >> 4]).take(count).map(<$rust>::from_low_bits).collect()
            }
            fn pack(mut elements: impl Iterator<Item = Self>) -> Vec<u8> {
                let mut half = || elements.next().map(<$rust>::low_bits);
                std::iter::from_fn(|| Some(half()? | half().unwrap_or(0) << 4)).collect()
            }
        }
    )*};
}

half_bytes!(I4 U4);
