//! Attributes of a node, free of protobuf.

use std::collections::BTreeMap;

use super::operator::Refusal;
use crate::tensor::TensorData;

#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Tensor(TensorData),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    /// Anything else (subgraphs, sparse tensors, types), as the bytes of its ONNX message.
    Opaque(Vec<u8>),
}

/// Attributes by name. Reading one takes it out, so that [`Attributes::finish`] can refuse what nobody understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(pub BTreeMap<String, Attribute>);

impl Attributes {
    pub fn with(mut self, name: &str, value: Attribute) -> Self {
        self.0.insert(name.to_string(), value);
        self
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    pub fn float(self, name: &str, value: f32) -> Self {
        self.with(name, Attribute::Float(value))
    }

    pub fn string(self, name: &str, value: &str) -> Self {
        self.with(name, Attribute::String(value.to_string()))
    }

    pub fn ints(self, name: &str, value: &[i64]) -> Self {
        self.with(name, Attribute::Ints(value.to_vec()))
    }

    pub fn sizes(self, name: &str, value: &[usize]) -> Self {
        self.with(name, Attribute::Ints(value.iter().map(|n| *n as i64).collect()))
    }

    /// # Errors
    /// If the attribute is there with another type.
    pub fn take_int(&mut self, name: &str, default: i64) -> Result<i64, Refusal> {
        Ok(self.take_optional_int(name)?.unwrap_or(default))
    }

    /// # Errors
    /// If the attribute is there with another type.
    pub fn take_optional_int(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(name, "an integer", &other)),
        }
    }

    /// # Errors
    /// If the attribute is there with another type or is not finite.
    pub fn take_float(&mut self, name: &str, default: f32) -> Result<f32, Refusal> {
        match self.0.remove(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) if value.is_finite() => Ok(value),
            Some(Attribute::Float(value)) => Err(format!("attribute {name}={value} is not finite")),
            Some(other) => Err(wrong_type(name, "a number", &other)),
        }
    }

    /// # Errors
    /// If the attribute is there with another type.
    pub fn take_string(&mut self, name: &str, default: &str) -> Result<String, Refusal> {
        match self.0.remove(name) {
            None => Ok(default.to_string()),
            Some(Attribute::String(value)) => Ok(value),
            Some(other) => Err(wrong_type(name, "a string", &other)),
        }
    }

    /// # Errors
    /// If the attribute is there with another type.
    pub fn take_ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Attribute::Ints(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(name, "a list of integers", &other)),
        }
    }

    /// A list of sizes, each within `1..=i32::MAX` (or `0..` where `zero` is allowed).
    ///
    /// # Errors
    /// If the attribute is there with another type or a size out of range.
    pub fn take_sizes(&mut self, name: &str, zero: bool) -> Result<Option<Vec<usize>>, Refusal> {
        let Some(values) = self.take_ints(name)? else { return Ok(None) };
        let least = i64::from(!zero);
        if let Some(bad) = values.iter().find(|v| !(least..=i64::from(i32::MAX)).contains(v)) {
            return Err(format!("attribute {name}={values:?}: {bad} is out of range"));
        }
        Ok(Some(values.iter().map(|v| *v as usize).collect()))
    }

    /// # Errors
    /// If the attribute is there with another type.
    pub fn take_tensor(&mut self, name: &str) -> Result<Option<TensorData>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Attribute::Tensor(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(name, "a tensor", &other)),
        }
    }

    /// # Errors
    /// If attributes are left that nobody took.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("attribute `{name}` is not supported")),
        }
    }
}

fn wrong_type(name: &str, wanted: &str, got: &Attribute) -> Refusal {
    let kind = match got {
        Attribute::Int(_) => "an integer",
        Attribute::Float(_) => "a number",
        Attribute::String(_) => "a string",
        Attribute::Tensor(_) => "a tensor",
        Attribute::Ints(_) => "a list of integers",
        Attribute::Floats(_) => "a list of numbers",
        Attribute::Strings(_) => "a list of strings",
        Attribute::Opaque(_) => "a message",
    };
    format!("attribute `{name}` must be {wanted}, not {kind}")
}
