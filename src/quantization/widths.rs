//! How wide the integers of a plan are.

use std::fmt;

use crate::tensor::DataType;

/// Size of an integer, whatever its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    Four,
    Eight,
    Sixteen,
}

impl Width {
    pub fn data_type(self, signed: bool) -> DataType {
        match (self, signed) {
            (Width::Four, false) => DataType::U4,
            (Width::Four, true) => DataType::I4,
            (Width::Eight, false) => DataType::U8,
            (Width::Eight, true) => DataType::I8,
            (Width::Sixteen, false) => DataType::U16,
            (Width::Sixteen, true) => DataType::I16,
        }
    }

    pub fn bits(self) -> u64 {
        match self {
            Width::Four => 4,
            Width::Eight => 8,
            Width::Sixteen => 16,
        }
    }

    /// The width of an integer type that activations or weights may have.
    pub fn of(data_type: DataType) -> Option<Width> {
        let all = [Width::Four, Width::Eight, Width::Sixteen];
        all.into_iter().find(|width| [false, true].iter().any(|signed| width.data_type(*signed) == data_type))
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Width::Four => "4",
            Width::Eight => "8",
            Width::Sixteen => "16",
        })
    }
}

/// What weights and activations become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    pub weights: Width,
    pub activations: Width,
    /// The first and last layers are as narrow as the others; else they keep 8 bits.
    pub all_layers: bool,
}

impl Widths {
    pub const INT8: Widths = Widths { weights: Width::Eight, activations: Width::Eight, all_layers: false };

    /// Whether quantizers of the default domain know these types in every operator set that zeroq writes.
    pub fn fit_old_opsets(&self) -> bool {
        (self.weights, self.activations) == (Width::Eight, Width::Eight)
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.weights, self.activations) {
            (Width::Eight, Width::Eight) => f.write_str("int8"),
            (weights, activations) => write!(f, "w{weights}a{activations}"),
        }
    }
}
