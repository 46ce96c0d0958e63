//! Tensors between their ONNX message and [`TensorData`]. Sizes are checked before anything is allocated.

use std::sync::Arc;

use half::{bf16, f16};
use prost::Message;
use prost::bytes::Bytes;

use super::messages::TensorProto;
use super::part::{PackedElements, Part};
use super::raw_element::RawElement;
use crate::ops::Refusal;
use crate::tensor::{DataType, Element, I4, OpaqueTensor, TensorData, U4};
use crate::with_elements;

pub const STRING: i32 = 8;
const HIGHEST_CODE: i32 = 28;
/// Bits of one element of the types that stay opaque, where ONNX fixes the packing.
const OPAQUE_BITS: [(i32, u64); 11] =
    [(14, 64), (15, 128), (17, 8), (18, 8), (19, 8), (20, 8), (23, 4), (24, 8), (25, 2), (26, 2), (27, 6)];

/// The sizes in `dims` and their product.
///
/// # Errors
/// If a size is negative, or there are more than `limit` elements.
pub fn checked_shape(dims: &[i64], limit: u64) -> Result<(Vec<usize>, u64), Refusal> {
    let mut shape = Vec::with_capacity(dims.len());
    for dim in dims {
        shape.push(usize::try_from(*dim).map_err(|_| format!("dims {dims:?}: {dim} is negative"))?);
    }
    let nonzero = shape.iter().filter(|dim| **dim != 0);
    let count = nonzero.map(|dim| *dim as u64).try_fold(1, u64::checked_mul).filter(|count| *count <= limit);
    let count = count
        .ok_or_else(|| format!("dims {dims:?} are more than the limit of {limit} elements (--limit tensor-elements=N sets another)"))?;
    let count = if shape.contains(&0) { 0 } else { count };
    Ok((shape, count))
}

/// Bytes that `count` elements of type `code` take in `raw_data`; `None` where ONNX does not fix it.
pub fn raw_bytes(code: i32, count: u64) -> Option<u64> {
    let opaque = || OPAQUE_BITS.iter().find(|(c, _)| *c == code).map(|(_, bits)| *bits);
    let bits = DataType::from_code(code).bits().map(|bits| bits as u64).or_else(opaque)?;
    Some(count.checked_mul(bits)?.div_ceil(8))
}

/// Reads a tensor whose data is inline.
///
/// # Errors
/// If the message contradicts itself, is larger than `limit` elements, or holds strings.
pub fn read(proto: &TensorProto, limit: u64) -> Result<TensorData, Refusal> {
    let code = proto.data_type.unwrap_or(0);
    match code {
        STRING => return Err("string tensors are not supported".to_string()),
        1..=HIGHEST_CODE => {}
        _ => return Err(format!("data type {code} is not one that ONNX defines")),
    }
    if proto.segment.is_some() {
        return Err("segmented tensors are not supported".to_string());
    }
    if proto.data_location == Some(1) {
        return Err("its data is in another file, which is not read here".to_string());
    }
    let (shape, count) = checked_shape(&proto.dims, limit)?;
    check_one_source(proto)?;
    match DataType::from_code(code) {
        DataType::F32 => whole(&shape, count, proto, &proto.float_data, "float_data", |v| Some(*v)),
        DataType::F64 => whole(&shape, count, proto, &proto.double_data, "double_data", |v| Some(*v)),
        DataType::F16 => narrow(&shape, count, proto, |v| u16::try_from(v).ok().map(f16::from_bits)),
        DataType::BF16 => narrow(&shape, count, proto, |v| u16::try_from(v).ok().map(bf16::from_bits)),
        DataType::I4 => packed::<I4>(&shape, count, proto),
        DataType::U4 => packed::<U4>(&shape, count, proto),
        DataType::I8 => narrow(&shape, count, proto, |v| i8::try_from(v).ok()),
        DataType::U8 => narrow(&shape, count, proto, |v| u8::try_from(v).ok()),
        DataType::I16 => narrow(&shape, count, proto, |v| i16::try_from(v).ok()),
        DataType::U16 => narrow(&shape, count, proto, |v| u16::try_from(v).ok()),
        DataType::I32 => narrow(&shape, count, proto, Some),
        DataType::Bool => narrow(&shape, count, proto, |v| Some(v != 0)),
        DataType::I64 => whole(&shape, count, proto, &proto.int64_data, "int64_data", |v| Some(*v)),
        DataType::U32 => whole(&shape, count, proto, &proto.uint64_data, "uint64_data", |v| u32::try_from(*v).ok()),
        DataType::U64 => whole(&shape, count, proto, &proto.uint64_data, "uint64_data", |v| Some(*v)),
        DataType::Other(code) => opaque(proto, code, shape, count),
    }
}

/// Whether the data of `proto` may stay in its file: it has one source at most, and a type that zeroq computes with.
pub fn can_be_left(proto: &TensorProto) -> bool {
    DataType::from_code(proto.data_type.unwrap_or(0)).bits().is_some() && proto.segment.is_none() && !has_typed_data(proto)
}

/// Whether numbers stand in another field than `raw_data`.
pub fn has_typed_data(proto: &TensorProto) -> bool {
    typed_fields(proto).iter().any(|(_, set)| *set)
}

fn typed_fields(proto: &TensorProto) -> [(&'static str, bool); 6] {
    [
        ("float_data", !proto.float_data.is_empty()),
        ("int32_data", !proto.int32_data.is_empty()),
        ("string_data", !proto.string_data.is_empty()),
        ("int64_data", !proto.int64_data.is_empty()),
        ("double_data", !proto.double_data.is_empty()),
        ("uint64_data", !proto.uint64_data.is_empty()),
    ]
}

/// The tensor that `proto` describes, whose elements stay where `part` has them.
///
/// # Errors
/// If the part is not as long as the elements, or they are not of a type that zeroq computes with.
pub fn leave(proto: &TensorProto, part: Part, limit: u64) -> Result<TensorData, Refusal> {
    fn typed<T: RawElement>(shape: &[usize], elements: PackedElements) -> TensorData {
        TensorData::elsewhere::<T>(shape, Arc::new(elements))
    }
    let (shape, count) = checked_shape(&proto.dims, limit)?;
    let data_type = DataType::from_code(proto.data_type.unwrap_or(0));
    check_raw_length(&proto.dims, data_type, part.len(), count)?;
    let elements = PackedElements { part, count: count as usize };
    Ok(match data_type {
        DataType::F32 => typed::<f32>(&shape, elements),
        DataType::F64 => typed::<f64>(&shape, elements),
        DataType::F16 => typed::<f16>(&shape, elements),
        DataType::BF16 => typed::<bf16>(&shape, elements),
        DataType::I4 => typed::<I4>(&shape, elements),
        DataType::U4 => typed::<U4>(&shape, elements),
        DataType::I8 => typed::<i8>(&shape, elements),
        DataType::U8 => typed::<u8>(&shape, elements),
        DataType::I16 => typed::<i16>(&shape, elements),
        DataType::U16 => typed::<u16>(&shape, elements),
        DataType::I32 => typed::<i32>(&shape, elements),
        DataType::U32 => typed::<u32>(&shape, elements),
        DataType::I64 => typed::<i64>(&shape, elements),
        DataType::U64 => typed::<u64>(&shape, elements),
        DataType::Bool => typed::<bool>(&shape, elements),
        DataType::Other(code) => return Err(format!("data type {code} is not left in a file")),
    })
}

/// Checks a tensor that is carried through: as [`read`], but strings may stand in it.
///
/// # Errors
/// If the message contradicts itself or is larger than `limit` elements.
pub fn check(proto: &TensorProto, limit: u64) -> Result<(), Refusal> {
    if proto.data_type != Some(STRING) {
        return read(proto, limit).map(drop);
    }
    let (_, count) = checked_shape(&proto.dims, limit)?;
    match proto.string_data.len() as u64 {
        found if found == count => check_one_source(proto),
        found => Err(format!("{} of strings need {count} of them in string_data, which has {found}", dims_text(&proto.dims))),
    }
}

fn check_one_source(proto: &TensorProto) -> Result<(), Refusal> {
    let sources = std::iter::once(("raw_data", proto.raw_data.is_some())).chain(typed_fields(proto));
    let found: Vec<&str> = sources.filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if found.len() > 1 {
        return Err(format!("its numbers stand in {} at once", found.join(" and ")));
    }
    Ok(())
}

fn narrow<T: RawElement>(
    shape: &[usize],
    count: u64,
    proto: &TensorProto,
    convert: impl Fn(i32) -> Option<T>,
) -> Result<TensorData, Refusal> {
    whole(shape, count, proto, &proto.int32_data, "int32_data", |v| convert(*v))
}

/// Reads `raw_data` where there is any, else the typed `field`.
fn whole<S: std::fmt::Display, T: RawElement>(
    shape: &[usize],
    count: u64,
    proto: &TensorProto,
    field: &[S],
    name: &str,
    convert: impl Fn(&S) -> Option<T>,
) -> Result<TensorData, Refusal> {
    let elements: Vec<T> = match &proto.raw_data {
        Some(raw) => {
            check_raw_length(&proto.dims, T::DATA_TYPE, raw.len(), count)?;
            T::unpack(raw, count as usize)
        }
        None => {
            let data_type = T::DATA_TYPE;
            if field.len() as u64 != count {
                return Err(format!("{} of {data_type} need {count} numbers in {name}, which has {}", dims_text(&proto.dims), field.len()));
            }
            let one = |v: &S| convert(v).ok_or_else(|| format!("{v} in {name} is out of range for {data_type}"));
            field.iter().map(one).collect::<Result<_, _>>()?
        }
    };
    Ok(TensorData::new(shape, elements))
}

/// Four-bit elements: two in each number of `int32_data`, as in each byte of `raw_data`.
fn packed<T: RawElement>(shape: &[usize], count: u64, proto: &TensorProto) -> Result<TensorData, Refusal> {
    if proto.raw_data.is_some() {
        return whole(shape, count, proto, &[0; 0], "int32_data", |_: &i32| None::<T>);
    }
    let wanted = count.div_ceil(2);
    if proto.int32_data.len() as u64 != wanted {
        let (dims, found) = (dims_text(&proto.dims), proto.int32_data.len());
        return Err(format!("{dims} of {} need {wanted} numbers in int32_data, which has {found}", T::DATA_TYPE));
    }
    let byte = |v: &i32| match v {
        -128..=255 => Ok(*v as u8),
        _ => Err(format!("{v} in int32_data is out of range for two {}", T::DATA_TYPE)),
    };
    let bytes = proto.int32_data.iter().map(byte).collect::<Result<Vec<u8>, _>>()?;
    Ok(TensorData::new(shape, T::unpack(&bytes, count as usize)))
}

/// Refuses raw data of another length than `count` elements take; types of no fixed length pass.
fn check_raw_length(dims: &[i64], data_type: DataType, found: usize, count: u64) -> Result<(), Refusal> {
    match raw_bytes(data_type.code(), count) {
        Some(wanted) if wanted != found as u64 => {
            Err(format!("{} of {data_type} need {wanted} bytes of raw_data, which has {found}", dims_text(dims)))
        }
        _ => Ok(()),
    }
}

fn dims_text(dims: &[i64]) -> String {
    format!("dims {dims:?}")
}

fn opaque(proto: &TensorProto, code: i32, shape: Vec<usize>, count: u64) -> Result<TensorData, Refusal> {
    if let Some(raw) = &proto.raw_data {
        check_raw_length(&proto.dims, DataType::Other(code), raw.len(), count)?;
    }
    Ok(TensorData::Opaque(OpaqueTensor { code, shape, message: proto.encode_to_vec().into() }))
}

/// The message of `tensor` with its numbers in `raw_data`. `name` is `None` inside an attribute.
///
/// # Errors
/// If the bytes of an opaque tensor are not those of a message.
pub fn write(name: Option<&str>, tensor: &TensorData) -> Result<TensorProto, Refusal> {
    let name = name.map(str::to_string);
    if let TensorData::Opaque(opaque) = tensor {
        let proto = TensorProto::decode(&opaque.message[..]).map_err(|error| error.to_string())?;
        return Ok(TensorProto { name, ..proto });
    }
    Ok(TensorProto { raw_data: Some(raw_data(tensor)), ..write_head(name.as_deref(), tensor) })
}

/// As [`write`], without the numbers.
pub fn write_head(name: Option<&str>, tensor: &TensorData) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|n| *n as i64).collect(),
        data_type: Some(tensor.data_type().code()),
        name: name.map(str::to_string),
        ..Default::default()
    }
}

/// Bytes of [`raw_data`]; `None` for opaque tensors.
pub fn raw_len(tensor: &TensorData) -> Option<u64> {
    match tensor {
        TensorData::Opaque(_) => None,
        known => raw_bytes(known.data_type().code(), known.len() as u64),
    }
}

/// The numbers of `tensor` as they lie in a file; none of opaque tensors.
pub fn raw_data(tensor: &TensorData) -> Bytes {
    with_elements!(tensor, array => RawElement::pack(array.elements().iter().copied()).into(), _opaque => Bytes::new())
}

/// Position (row-major) and text of the first number that is not finite. A scalar may be infinite, but not NaN: bounds of
/// Clip and the value of Pad are written so.
pub fn first_not_finite(tensor: &TensorData) -> Option<(usize, String)> {
    fn find<T: Element>(elements: impl Iterator<Item = T>, infinite_allowed: bool) -> Option<(usize, String)> {
        let bad = |x: f64| x.is_nan() || (x.is_infinite() && !infinite_allowed);
        elements.map(Element::to_f64).enumerate().find(|(_, x)| bad(*x)).map(|(index, x)| (index, x.to_string()))
    }
    if !tensor.data_type().is_float() {
        return None;
    }
    let scalar = tensor.shape().is_empty();
    with_elements!(tensor, array => find(array.elements().iter().copied(), scalar), _opaque => None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 31;

    fn tensor(code: i32, dims: &[i64]) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: Some(code), ..Default::default() }
    }

    #[test]
    fn reads_typed_fields_of_every_type() {
        let int32 = |code, data: &[i32]| TensorProto { int32_data: data.to_vec(), ..tensor(code, &[data.len() as i64]) };
        let cases = [
            (TensorProto { float_data: vec![1.5, -2.0], ..tensor(1, &[2]) }, TensorData::vector(vec![1.5f32, -2.0])),
            (int32(2, &[0, 255]), TensorData::vector(vec![0u8, 255])),
            (int32(3, &[-128, 127]), TensorData::vector(vec![-128i8, 127])),
            (int32(4, &[65535]), TensorData::vector(vec![65535u16])),
            (int32(5, &[-32768]), TensorData::vector(vec![-32768i16])),
            (int32(6, &[i32::MIN]), TensorData::vector(vec![i32::MIN])),
            (int32(9, &[0, 1]), TensorData::vector(vec![false, true])),
            (int32(10, &[0x3c00]), TensorData::vector(vec![f16::ONE])),
            (int32(16, &[0x3f80]), TensorData::vector(vec![bf16::ONE])),
            (TensorProto { int64_data: vec![-1], ..tensor(7, &[1]) }, TensorData::vector(vec![-1i64])),
            (TensorProto { double_data: vec![0.1], ..tensor(11, &[1]) }, TensorData::vector(vec![0.1f64])),
            (TensorProto { uint64_data: vec![7], ..tensor(12, &[1]) }, TensorData::vector(vec![7u32])),
            (TensorProto { uint64_data: vec![u64::MAX], ..tensor(13, &[]) }, TensorData::scalar(u64::MAX)),
            (tensor(1, &[0, 3]), TensorData::new::<f32>(&[0, 3], vec![])),
        ];
        for (proto, wanted) in cases {
            let found = read(&proto, LIMIT).unwrap();
            assert_eq!(found, wanted);
            assert_eq!(read(&write(Some("t"), &found).unwrap(), LIMIT).unwrap(), wanted, "through raw_data");
        }
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let raw = |proto: TensorProto, bytes: &[u8]| TensorProto { raw_data: Some(bytes.to_vec().into()), ..proto };
        let cases = [
            (tensor(1, &[-1]), "-1 is negative"),
            (tensor(1, &[1 << 40, 1 << 40]), "more than the limit"),
            (tensor(1, &[1 << 32]), "more than the limit"),
            (tensor(1, &[0, 1 << 40, 1 << 40]), "more than the limit"),
            (tensor(1, &[2]), "need 2 numbers in float_data, which has 0"),
            (raw(tensor(1, &[2]), &[0; 7]), "need 8 bytes of raw_data, which has 7"),
            (raw(TensorProto { float_data: vec![1.0], ..tensor(1, &[1]) }, &[0; 4]), "raw_data and float_data at once"),
            (TensorProto { float_data: vec![1.0], ..tensor(7, &[1]) }, "need 1 numbers in int64_data"),
            (TensorProto { int32_data: vec![300], ..tensor(2, &[1]) }, "300 in int32_data is out of range for u8"),
            (TensorProto { string_data: vec![vec![]], ..tensor(8, &[1]) }, "string tensors are not supported"),
            (tensor(0, &[1]), "data type 0 is not one that ONNX defines"),
            (tensor(99, &[1]), "data type 99 is not one"),
            (raw(tensor(22, &[3]), &[0; 3]), "dims [3] of i4 need 2 bytes of raw_data"),
            (raw(tensor(23, &[3]), &[0; 3]), "need 2 bytes of raw_data"),
            (TensorProto { int32_data: vec![1, 2, 3], ..tensor(21, &[3]) }, "need 2 numbers in int32_data, which has 3"),
            (TensorProto { int32_data: vec![256], ..tensor(21, &[1]) }, "256 in int32_data is out of range for two u4"),
        ];
        for (proto, wanted) in cases {
            let message = read(&proto, LIMIT).unwrap_err();
            assert!(message.contains(wanted), "{message} should say {wanted}");
        }
    }

    #[test]
    fn keeps_types_it_does_not_compute_with() {
        let proto = TensorProto { name: Some("w".into()), raw_data: Some(vec![0x21, 0x03].into()), ..tensor(23, &[3]) };
        let found = read(&proto, LIMIT).unwrap();
        assert_eq!((found.data_type(), found.shape()), (DataType::Other(23), &[3usize][..]));
        assert_eq!(write(Some("w"), &found).unwrap(), proto);
    }

    #[test]
    fn four_bit_numbers_lie_two_in_a_byte_the_first_below() {
        for (code, wanted) in [(21, [1, 15, 8]), (22, [1, -1, -8])] {
            let proto = TensorProto { name: Some("w".into()), raw_data: Some(vec![0xf1, 0x08].into()), ..tensor(code, &[3]) };
            let found = read(&proto, LIMIT).unwrap();
            assert_eq!(found.to_i64().unwrap(), wanted);
            assert_eq!(write(Some("w"), &found).unwrap(), proto);
            for typed in [vec![0xf1, 0x08], vec![-15, 8]] {
                assert_eq!(read(&TensorProto { int32_data: typed, ..tensor(code, &[3]) }, LIMIT).unwrap(), found);
            }
        }
    }

    #[test]
    fn finds_the_first_number_that_is_not_finite() {
        assert_eq!(first_not_finite(&TensorData::vector(vec![1.0f32, f32::NAN])), Some((1, "NaN".to_string())));
        assert_eq!(first_not_finite(&TensorData::vector(vec![f16::INFINITY])), Some((0, "inf".to_string())));
        assert_eq!(first_not_finite(&TensorData::scalar(f32::NEG_INFINITY)), None);
        assert_eq!(first_not_finite(&TensorData::vector(vec![1i64])), None);
    }
}
