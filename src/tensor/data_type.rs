//! What an element can be.

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
    pub fn value(self) -> i8 {
        self.0
    }

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
}
