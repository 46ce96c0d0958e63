//! Numbers at rest: typed tensors as they stand in a file.

use half::{bf16, f16};
use ndarray::{ArcArray, ArrayD, IxDyn};

/// Element type of a value, with ONNX's code in [`DataType::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    F32,
    F64,
    F16,
    BF16,
    I4,
    U4,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    /// Any other ONNX element type, by its code: carried, never computed.
    Other(i32),
}

const CODES: [(DataType, i32); 15] = [
    (DataType::F32, 1),
    (DataType::U8, 2),
    (DataType::I8, 3),
    (DataType::U16, 4),
    (DataType::I16, 5),
    (DataType::I32, 6),
    (DataType::I64, 7),
    (DataType::Bool, 9),
    (DataType::F16, 10),
    (DataType::F64, 11),
    (DataType::U32, 12),
    (DataType::U64, 13),
    (DataType::BF16, 16),
    (DataType::U4, 21),
    (DataType::I4, 22),
];

/// Types that are carried, by their names in ONNX.
const NAMES: [(i32, &str); 9] = [
    (8, "string"),
    (14, "complex64"),
    (15, "complex128"),
    (17, "float8e4m3fn"),
    (18, "float8e4m3fnuz"),
    (19, "float8e5m2"),
    (20, "float8e5m2fnuz"),
    (23, "float4e2m1"),
    (24, "float8e8m0"),
];

impl DataType {
    /// ONNX `TensorProto.DataType` code.
    pub fn code(self) -> i32 {
        match self {
            DataType::Other(code) => code,
            known => CODES.iter().find(|(t, _)| *t == known).map_or(0, |(_, code)| *code),
        }
    }

    /// The type with ONNX's `code`.
    pub fn from_code(code: i32) -> Self {
        CODES.iter().find(|(_, c)| *c == code).map_or(DataType::Other(code), |(t, _)| *t)
    }

    pub fn is_float(self) -> bool {
        matches!(self, DataType::F32 | DataType::F64 | DataType::F16 | DataType::BF16)
    }

    /// Bits that one element takes in a file, where the type is one that we compute with.
    pub fn bits(self) -> Option<usize> {
        Some(match self {
            DataType::I4 | DataType::U4 => 4,
            DataType::I8 | DataType::U8 | DataType::Bool => 8,
            DataType::F16 | DataType::BF16 | DataType::I16 | DataType::U16 => 16,
            DataType::F32 | DataType::I32 | DataType::U32 => 32,
            DataType::F64 | DataType::I64 | DataType::U64 => 64,
            DataType::Other(_) => return None,
        })
    }

    /// Smallest and largest integer of the type, for integer types of up to 32 bits.
    pub fn integer_range(self) -> Option<(f64, f64)> {
        Some(match self {
            DataType::I4 => (-8.0, 7.0),
            DataType::U4 => (0.0, 15.0),
            DataType::I8 => (-128.0, 127.0),
            DataType::U8 => (0.0, 255.0),
            DataType::I16 => (-32768.0, 32767.0),
            DataType::U16 => (0.0, 65535.0),
            DataType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            DataType::U32 => (0.0, f64::from(u32::MAX)),
            _ => return None,
        })
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DataType::Other(code) => match NAMES.iter().find(|(other, _)| other == code) {
                Some((_, name)) => write!(f, "{name}"),
                None => write!(f, "type{code}"),
            },
            known => write!(f, "{}", format!("{known:?}").to_lowercase()),
        }
    }
}

/// A signed integer of 4 bits. It has a byte to itself in memory and half of one in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct I4(i8);

/// An unsigned integer of 4 bits, stored as [`I4`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct U4(u8);

impl I4 {
    /// The number whose two's complement is the low half of `byte`.
    pub fn from_low_bits(byte: u8) -> Self {
        I4((byte << 4) as i8 >> 4)
    }

    /// The two's complement, in the low half of a byte.
    pub fn low_bits(self) -> u8 {
        self.0 as u8 & 15
    }
}

impl U4 {
    /// The number in the low half of `byte`.
    pub fn from_low_bits(byte: u8) -> Self {
        U4(byte & 15)
    }

    /// The number, in the low half of a byte.
    pub fn low_bits(self) -> u8 {
        self.0
    }
}

/// A tensor whose elements share storage between clones.
pub type Shared<T> = ArcArray<T, IxDyn>;

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
pub trait Element: Copy + Default + Send + Sync + 'static {
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
    I4, I4, |x: I4| f64::from(x.0), |v: f64| I4((v.round_ties_even() as i8).clamp(-8, 7));
    U4, U4, |x: U4| f64::from(x.0), |v: f64| U4((v.round_ties_even() as u8).min(15));
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
        match ArrayD::from_shape_vec(IxDyn(shape), elements) {
            Ok(array) => T::wrap(array.into_shared()),
            Err(error) => panic!("{error}"),
        }
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
        with_elements!(self, a => Some(a.iter().map(|x| x.to_f64()).collect()), _o => None)
    }

    /// The elements as `f32`, row-major; `None` for opaque types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self {
            TensorData::F32(a) => Some(a.iter().copied().collect()),
            other => Some(other.to_f64()?.into_iter().map(|x| x as f32).collect()),
        }
    }

    /// The elements as integers, row-major; `None` unless the type is an integer type.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self {
            TensorData::I64(a) => Some(a.iter().copied().collect()),
            TensorData::U64(a) => Some(a.iter().map(|x| i64::try_from(*x).unwrap_or(i64::MAX)).collect()),
            other if other.data_type().integer_range().is_some() => Some(other.to_f64()?.into_iter().map(|x| x as i64).collect()),
            _ => None,
        }
    }

    /// The same numbers as another type: integers saturate, floats to integers truncate toward zero (ONNX Cast).
    /// `None` where either type is one we do not compute with.
    pub fn cast(&self, to: DataType) -> Option<TensorData> {
        if to == self.data_type() {
            return Some(self.clone());
        }
        if let (TensorData::I64(a), DataType::I32) = (self, to) {
            return Some(TensorData::new(self.shape(), a.iter().map(|x| (*x).clamp(i32::MIN.into(), i32::MAX.into()) as i32).collect()));
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
            TensorData::new(shape, a.iter().copied().collect())
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
    fn codes_are_their_own_inverse() {
        for (data_type, code) in CODES {
            assert_eq!(DataType::from_code(code), data_type);
            assert_eq!(data_type.code(), code);
        }
        assert_eq!(DataType::from_code(8), DataType::Other(8));
    }

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
