//! Numbers at rest: typed tensors as they stand in a file.

mod data_type;
mod shared;

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use half::{bf16, f16};

pub use data_type::{DataType, I4, U4};
pub use shared::{Shared, Source, check_sources};

/// A tensor of an element type that zeroq does not compute with, kept as the bytes of its ONNX message.
#[derive(Clone, Debug, PartialEq)]
pub struct OpaqueTensor {
    pub code: i32,
    pub shape: Vec<usize>,
    pub message: std::sync::Arc<[u8]>,
}

/// A tensor at rest, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    F32(Shared<f32>),
    F64(Shared<f64>),
    F16(Shared<f16>),
    BF16(Shared<bf16>),
    I4(Shared<I4>),
    U4(Shared<U4>),
    I8(Shared<i8>),
    U8(Shared<u8>),
    I16(Shared<i16>),
    U16(Shared<u16>),
    I32(Shared<i32>),
    U32(Shared<u32>),
    I64(Shared<i64>),
    U64(Shared<u64>),
    Bool(Shared<bool>),
    Opaque(OpaqueTensor),
}

/// Runs `$body` with `$array` bound to the typed array of `$tensor`; opaque tensors go to `$opaque`.
#[macro_export]
macro_rules! with_elements {
    ($tensor:expr, $array:ident => $body:expr, $opaque:ident => $otherwise:expr) => {
        match $tensor {
            $crate::tensor::TensorData::F32($array) => $body,
            $crate::tensor::TensorData::F64($array) => $body,
            $crate::tensor::TensorData::F16($array) => $body,
            $crate::tensor::TensorData::BF16($array) => $body,
            $crate::tensor::TensorData::I4($array) => $body,
            $crate::tensor::TensorData::U4($array) => $body,
            $crate::tensor::TensorData::I8($array) => $body,
            $crate::tensor::TensorData::U8($array) => $body,
            $crate::tensor::TensorData::I16($array) => $body,
            $crate::tensor::TensorData::U16($array) => $body,
            $crate::tensor::TensorData::I32($array) => $body,
            $crate::tensor::TensorData::U32($array) => $body,
            $crate::tensor::TensorData::I64($array) => $body,
            $crate::tensor::TensorData::U64($array) => $body,
            $crate::tensor::TensorData::Bool($array) => $body,
            $crate::tensor::TensorData::Opaque($opaque) => $otherwise,
        }
    };
}

/// An element type and how it goes to and from `f64` (integers saturate and round half to even).
pub trait Element: Copy + Debug + Default + Send + Sync + 'static {
    const DATA_TYPE: DataType;
    fn to_f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
    fn wrap(array: Shared<Self>) -> TensorData;
}

macro_rules! elements {
    ($($rust:ty, $variant:ident, $to:expr, $from:expr;)*) => {$(
        impl Element for $rust {
            const DATA_TYPE: DataType = DataType::$variant;
            fn to_f64(self) -> f64 { ($to)(self) }
            fn from_f64(value: f64) -> Self { ($from)(value) }
            fn wrap(array: Shared<Self>) -> TensorData { TensorData::$variant(array) }
        }
    )*};
}

elements! {
    f32, F32, |x| x as f64, |v| v as f32;
    f64, F64, |x| x, |v| v;
    f16, F16, f16::to_f64, f16::from_f64;
    bf16, BF16, bf16::to_f64, bf16::from_f64;
    I4, I4, |x: I4| f64::from(x.value()), |v: f64| I4::from_low_bits((v.round_ties_even() as i8).clamp(-8, 7) as u8);
    U4, U4, |x: U4| f64::from(x.low_bits()), |v: f64| U4::from_low_bits((v.round_ties_even() as u8).min(15));
    i8, I8, |x| x as f64, |v: f64| v.round_ties_even() as i8;
    u8, U8, |x| x as f64, |v: f64| v.round_ties_even() as u8;
    i16, I16, |x| x as f64, |v: f64| v.round_ties_even() as i16;
    u16, U16, |x| x as f64, |v: f64| v.round_ties_even() as u16;
    i32, I32, |x| x as f64, |v: f64| v.round_ties_even() as i32;
    u32, U32, |x| x as f64, |v: f64| v.round_ties_even() as u32;
    i64, I64, |x| x as f64, |v: f64| v.round_ties_even() as i64;
    u64, U64, |x| x as f64, |v: f64| v.round_ties_even() as u64;
    bool, Bool, |x| x as u8 as f64, |v: f64| v != 0.0;
}

impl TensorData {
    /// A tensor of `shape` with row-major `elements`.
    ///
    /// # Panics
    /// Where the element count does not fit the shape: callers check sizes from files first.
    pub fn new<T: Element>(shape: &[usize], elements: Vec<T>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "elements do not fill {shape:?}");
        T::wrap(Shared::new(shape, elements))
    }

    /// A tensor of `shape` whose elements lie in `source` until they are read.
    pub fn elsewhere<T: Element>(shape: &[usize], source: Arc<dyn Source<T>>) -> Self {
        T::wrap(Shared::elsewhere(shape, source))
    }

    pub fn scalar<T: Element>(value: T) -> Self {
        Self::new(&[], vec![value])
    }

    /// A one-dimensional tensor.
    pub fn vector<T: Element>(elements: Vec<T>) -> Self {
        Self::new(&[elements.len()], elements)
    }

    pub fn data_type(&self) -> DataType {
        fn of<T: Element>(_: &Shared<T>) -> DataType {
            T::DATA_TYPE
        }
        with_elements!(self, a => of(a), o => DataType::Other(o.code))
    }

    pub fn shape(&self) -> &[usize] {
        with_elements!(self, a => a.shape(), o => &o.shape)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as `f64`, row-major; `None` for opaque types.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        with_elements!(self, a => Some(a.elements().iter().map(|x| x.to_f64()).collect()), _o => None)
    }

    /// The elements as `f32`, row-major; `None` for opaque types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        self.as_f32().map(Cow::into_owned)
    }

    /// As [`TensorData::to_f32`], without a copy where there are such elements in memory.
    pub fn as_f32(&self) -> Option<Cow<'_, [f32]>> {
        match self {
            TensorData::F32(a) => Some(a.elements()),
            other => with_elements!(other, a => Some(a.elements().iter().map(|x| x.to_f64() as f32).collect()), _o => None),
        }
    }

    /// The elements as integers, row-major; `None` unless the type is an integer type.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self {
            TensorData::I64(a) => Some(a.elements().into_owned()),
            TensorData::U64(a) => Some(a.elements().iter().map(|x| i64::try_from(*x).unwrap_or(i64::MAX)).collect()),
            other if other.data_type().integer_range().is_some() => Some(other.to_f64()?.into_iter().map(|x| x as i64).collect()),
            _ => None,
        }
    }

    /// `map` of each element, as `f32`, and its row-major index; `None` for opaque types. Where the elements are not in memory,
    /// those of the result are not either.
    pub fn map_f32<T: Element>(&self, map: impl Fn(usize, f32) -> T + Send + Sync + 'static) -> Option<TensorData> {
        match self.cast(DataType::F32)? {
            TensorData::F32(a) => Some(T::wrap(a.map(map))),
            _ => None,
        }
    }

    /// The same numbers as another type: integers saturate, floats to integers truncate toward zero (ONNX Cast).
    /// `None` where either type is one we do not compute with.
    pub fn cast(&self, to: DataType) -> Option<TensorData> {
        if to == self.data_type() {
            return Some(self.clone());
        }
        if to == DataType::F32 {
            return with_elements!(self, a => Some(TensorData::F32(a.map(|_, x| x.to_f64() as f32))), _o => None);
        }
        if let (TensorData::I64(a), DataType::I32) = (self, to) {
            return Some(TensorData::new(
                self.shape(),
                a.elements().iter().map(|x| (*x).clamp(i32::MIN.into(), i32::MAX.into()) as i32).collect(),
            ));
        }
        let truncates = self.data_type().is_float() && !to.is_float() && to != DataType::Bool;
        let values = self.to_f64()?.into_iter().map(|x| if truncates { x.trunc() } else { x }).collect();
        Self::from_f64(self.shape(), values, to)
    }

    /// A tensor of type `to` from `f64` numbers; integers round half to even and saturate.
    pub fn from_f64(shape: &[usize], values: Vec<f64>, to: DataType) -> Option<TensorData> {
        fn build<T: Element>(shape: &[usize], values: &[f64]) -> TensorData {
            TensorData::new(shape, values.iter().map(|v| T::from_f64(*v)).collect())
        }
        let v = values.as_slice();
        Some(match to {
            DataType::F32 => build::<f32>(shape, v),
            DataType::F64 => build::<f64>(shape, v),
            DataType::F16 => build::<f16>(shape, v),
            DataType::BF16 => build::<bf16>(shape, v),
            DataType::I4 => build::<I4>(shape, v),
            DataType::U4 => build::<U4>(shape, v),
            DataType::I8 => build::<i8>(shape, v),
            DataType::U8 => build::<u8>(shape, v),
            DataType::I16 => build::<i16>(shape, v),
            DataType::U16 => build::<u16>(shape, v),
            DataType::I32 => build::<i32>(shape, v),
            DataType::U32 => build::<u32>(shape, v),
            DataType::I64 => build::<i64>(shape, v),
            DataType::U64 => build::<u64>(shape, v),
            DataType::Bool => build::<bool>(shape, v),
            DataType::Other(_) => return None,
        })
    }

    /// The same elements in row-major order under another shape; `None` where the counts differ or the type is opaque.
    pub fn reshape(&self, shape: &[usize]) -> Option<TensorData> {
        fn build<T: Element>(a: &Shared<T>, shape: &[usize]) -> TensorData {
            T::wrap(a.reshape(shape))
        }
        if self.len() != shape.iter().product::<usize>() {
            return None;
        }
        with_elements!(self, a => Some(build(a, shape)), _o => None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casting_follows_onnx() {
        let t = TensorData::vector(vec![-1.7f32, 0.5, 2.5, 300.0]);
        assert_eq!(t.cast(DataType::U8), Some(TensorData::vector(vec![0u8, 0, 2, 255])));
        assert_eq!(t.cast(DataType::I64), Some(TensorData::vector(vec![-1i64, 0, 2, 300])));
        let four = |data_type| t.cast(data_type).and_then(|tensor| tensor.to_i64());
        assert_eq!((four(DataType::I4), four(DataType::U4)), (Some(vec![-1, 0, 2, 7]), Some(vec![0, 0, 2, 15])));
        let big = TensorData::vector(vec![i64::MAX]);
        assert_eq!(big.cast(DataType::I32), Some(TensorData::vector(vec![i32::MAX])));
    }
}
