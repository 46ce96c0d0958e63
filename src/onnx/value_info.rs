//! Types and shapes of inputs and outputs.

use super::messages::{DimensionProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto};
use crate::graph::{Dim, Value};
use crate::limits::beyond;
use crate::ops::Refusal;
use crate::tensor::DataType;

/// Element type and shape, as far as they are declared.
pub type Declared = (Option<DataType>, Option<Vec<Dim>>);

/// # Errors
/// If the value is not a dense tensor.
pub fn read(info: &ValueInfoProto) -> Result<Declared, Refusal> {
    let Some(r#type) = &info.r#type else { return Ok((None, None)) };
    let kinds = [
        (r#type.sequence_type.is_some(), "a sequence"),
        (r#type.map_type.is_some(), "a map"),
        (r#type.optional_type.is_some(), "an optional"),
        (r#type.sparse_tensor_type.is_some(), "a sparse tensor"),
        (r#type.opaque_type.is_some(), "an opaque value"),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(set, _)| *set) {
        return Err(format!("{kind} instead of a tensor"));
    }
    let Some(tensor) = &r#type.tensor_type else { return Ok((None, None)) };
    let data_type = tensor.elem_type.filter(|code| *code > 0).map(DataType::from_code);
    Ok((data_type, tensor.shape.as_ref().map(|shape| shape.dim.iter().map(read_dim).collect())))
}

fn read_dim(dim: &DimensionProto) -> Dim {
    match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(value), _) => usize::try_from(value).ok().filter(|n| *n > 0).map_or(Dim::Unknown, Dim::Known),
        (None, Some(name)) if !name.is_empty() => Dim::Symbol(name.to_string()),
        _ => Dim::Unknown,
    }
}

/// Name and named sizes.
pub fn names(info: &ValueInfoProto) -> impl Iterator<Item = &str> {
    let tensor = info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).into_iter().flat_map(|shape| &shape.dim);
    info.name.as_deref().into_iter().chain(dims.filter_map(|dim| dim.dim_param.as_deref()))
}

/// Sizes of a graph input, where they are declared. Some exporters write −1, or a batch of 0, for a size that is open.
///
/// # Errors
/// If a size is negative, or the known ones make more than `limit` elements.
pub fn read_input_sizes(info: &ValueInfoProto, limit: u64) -> Result<Option<Vec<Dim>>, Refusal> {
    let tensor = info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
    let Some(dims) = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dim) else { return Ok(None) };
    if let Some((index, size)) = dims.iter().enumerate().find_map(|(index, dim)| Some((index, dim.dim_value.filter(|size| *size < -1)?))) {
        return Err(format!("size {size} of dimension {index} is negative; an open size has a name"));
    }
    let read = |(index, dim): (usize, &DimensionProto)| if index > 0 && dim.dim_value == Some(0) { Dim::Known(0) } else { read_dim(dim) };
    let shape: Vec<Dim> = dims.iter().enumerate().map(read).collect();
    let elements = shape.iter().filter_map(Dim::known).fold(1u64, |count, size| count.saturating_mul(size.max(1) as u64));
    if elements > limit {
        let sizes: Vec<String> = shape.iter().map(Dim::to_string).collect();
        return Err(format!("[{}] are {}", sizes.join(", "), beyond("tensor-elements", limit)));
    }
    Ok(Some(shape))
}

/// `info` as it came, under the value's present element type.
pub fn patched(info: &ValueInfoProto, data_type: Option<DataType>) -> ValueInfoProto {
    let mut info = info.clone();
    let tensor = info.r#type.as_mut().and_then(|r#type| r#type.tensor_type.as_mut());
    if let (Some(tensor), Some(data_type)) = (tensor, data_type) {
        tensor.elem_type = Some(data_type.code());
    }
    info
}

/// The sizes, where there are any.
pub fn sizes(info: &ValueInfoProto) -> &[DimensionProto] {
    let tensor = info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
    tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(&[], |shape| &shape.dim)
}

/// `info` with the sizes of `value` in place of those that it leaves open.
pub fn sized(mut info: ValueInfoProto, value: &Value) -> ValueInfoProto {
    let tensor = info.r#type.as_mut().and_then(|r#type| r#type.tensor_type.as_mut());
    let (Some(tensor), Some(known)) = (tensor, &value.shape) else { return info };
    let open = || TensorShapeProto { dim: vec![DimensionProto::default(); known.len()] };
    for (dim, known) in tensor.shape.get_or_insert_with(open).dim.iter_mut().zip(known) {
        if let (Dim::Unknown | Dim::Symbol(_), Dim::Known(1..)) = (read_dim(dim), known) {
            *dim = write_dim(known);
        }
    }
    info
}

/// A description of a value that the file did not describe.
pub fn write(value: &Value) -> ValueInfoProto {
    let shape = value.shape.as_ref().map(|shape| TensorShapeProto { dim: shape.iter().map(write_dim).collect() });
    let elem_type = value.data_type.map(DataType::code);
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    ValueInfoProto { name: Some(value.name.clone()), r#type: Some(TypeProto { tensor_type, ..Default::default() }), ..Default::default() }
}

fn write_dim(dim: &Dim) -> DimensionProto {
    match dim {
        Dim::Known(n) => DimensionProto { dim_value: i64::try_from(*n).ok(), ..Default::default() },
        Dim::Symbol(name) => DimensionProto { dim_param: Some(name.clone()), ..Default::default() },
        Dim::Unknown => DimensionProto::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_symbols_and_what_is_unknown() {
        let value = |n| DimensionProto { dim_value: Some(n), ..Default::default() };
        let symbol = |s: &str| DimensionProto { dim_param: Some(s.to_string()), ..Default::default() };
        let cases = [
            (value(3), Dim::Known(3)),
            (value(0), Dim::Unknown),
            (value(-1), Dim::Unknown),
            (symbol("batch"), Dim::Symbol("batch".into())),
            (symbol(""), Dim::Unknown),
            (DimensionProto::default(), Dim::Unknown),
        ];
        for (proto, wanted) in cases {
            assert_eq!(read_dim(&proto), wanted);
        }
    }
}
