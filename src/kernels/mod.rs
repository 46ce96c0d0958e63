//! Arithmetic on plain slices: slices in, slices out, nothing known of graphs or operators.

mod isa;

pub use isa::Isa;
