//! Arrays of numpy, read without trust: numbers only, never pickles, nothing allocated from a declared size.

use std::io::{Cursor, Read};

use half::f16;
use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::limits::beyond;
use crate::memory;

/// Longest header of a `.npy` file; real ones have 128 bytes.
const MAX_HEADER: usize = 64 << 10;
const MAX_RANK: usize = 8;

/// Numbers of one array, row-major.
#[derive(Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub elements: Vec<f32>,
    /// Whether the elements are bytes, and so pixels 0..=255.
    pub bytes: bool,
}

/// Reads a `.npy` file.
///
/// # Errors
/// Says what is wrong with it.
pub fn read_npy(file: &[u8]) -> Result<Array, String> {
    let (Header { shape, len, descriptor, fortran_order, .. }, data) = read_header(file)?;
    let (elements, bytes) = decode(descriptor, data, len)?;
    let elements = if fortran_order { to_row_major(&shape, elements)? } else { elements };
    Ok(Array { shape, elements, bytes })
}

/// What a `.npy` file says of its numbers before they come.
struct Header<'a> {
    shape: Vec<usize>,
    len: usize,
    descriptor: &'a str,
    fortran_order: bool,
}

/// The header, and what follows it.
fn read_header(file: &[u8]) -> Result<(Header<'_>, &[u8]), String> {
    let rest = file.strip_prefix(b"\x93NUMPY").ok_or("not a .npy file")?;
    let (header, data) = split_header(rest).ok_or("the header is cut off or too long")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let shape = parse_shape(header)?;
    let len = shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size)).ok_or("the shape is too large")?;
    let fortran_order = match field(header, "fortran_order")? {
        order if order.starts_with("False") => false,
        order if order.starts_with("True") => true,
        _ => return Err("the header has no memory order".into()),
    };
    Ok((Header { shape, len, descriptor: quoted_field(header, "descr")?, fortran_order }, data))
}

/// Reads every array of a `.npz` archive, by name, if all of them have no more than `most` bytes.
///
/// # Errors
/// Names the member that cannot be read.
pub fn read_npz(file: &[u8], most: u64) -> Result<Vec<(String, Array)>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| format!("not a .npz archive: {error}"))?;
    let mut left = most;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|error| error.to_string())?;
        let name = member.name().to_string();
        let Some(name) = name.strip_suffix(".npy").map(str::to_string) else { continue };
        let fail = |reason: String| format!("member `{name}`: {reason}");
        let unpacked = unpack(&mut member, left).map_err(fail)?;
        left = left.saturating_sub(unpacked.len() as u64);
        arrays.push((name.clone(), read_npy(&unpacked).map_err(fail)?));
    }
    Ok(arrays)
}

/// The bytes of a member whose header and size agree: those of a bomb are not unpacked.
fn unpack(member: &mut impl Read, left: u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let mut read = |most: u64, unpacked: &mut Vec<u8>| member.by_ref().take(most).read_to_end(unpacked).map_err(|error| error.to_string());
    read(MAX_HEADER as u64, &mut unpacked)?;
    let (header, data) = read_header(&unpacked)?;
    let size = element_size(header.descriptor)?;
    let wanted = (header.len as u64).checked_mul(size as u64).ok_or("the shape is too large")?;
    let wanted = wanted.saturating_add((unpacked.len() - data.len()) as u64);
    if wanted > left {
        return Err(format!("with it the data has {} bytes", beyond("data-bytes", left)));
    }
    memory::require(wanted.saturating_add(4 * header.len as u64), "unpacking it").map_err(|error| error.to_string())?;
    let rest = wanted.saturating_sub(unpacked.len() as u64);
    // One byte more tells of data that the header does not.
    read(rest.saturating_add(1), &mut unpacked)?;
    Ok(unpacked)
}

fn split_header(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, start) = match rest.first()? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), 4),
        2 | 3 => (u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?) as usize, 6),
        _ => return None,
    };
    if len > MAX_HEADER {
        return None;
    }
    rest.get(start..)?.split_at_checked(len)
}

/// What follows `'name':` in the header, a Python dictionary of three fields.
fn field<'a>(header: &'a str, name: &str) -> Result<&'a str, String> {
    let missing = || format!("the header has no `{name}`");
    let at = [format!("'{name}':"), format!("\"{name}\":")].iter().find_map(|key| header.find(key).map(|at| at + key.len()));
    Ok(header[at.ok_or_else(missing)?..].trim_start())
}

fn quoted_field<'a>(header: &'a str, name: &str) -> Result<&'a str, String> {
    let value = field(header, name)?;
    let quoted = value.strip_prefix(['\'', '"']).and_then(|value| value.split(['\'', '"']).next());
    quoted.ok_or_else(|| "structured arrays are not supported".into())
}

fn parse_shape(header: &str) -> Result<Vec<usize>, String> {
    let wrong = || "the shape is malformed".to_string();
    let inside = field(header, "shape")?.strip_prefix('(').and_then(|value| value.split_once(')')).ok_or_else(wrong)?.0;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| wrong())).collect::<Result<Vec<usize>, String>>()?;
    if shape.len() > MAX_RANK { Err(wrong()) } else { Ok(shape) }
}

/// Bytes of one element.
fn element_size(descriptor: &str) -> Result<usize, String> {
    match descriptor.get(1..) {
        Some("f4") => Ok(4),
        Some("f8") => Ok(8),
        Some("f2") => Ok(2),
        Some("u1") => Ok(1),
        Some(kind) if kind.starts_with('O') => Err("holds pickled objects, which are never read".into()),
        _ => Err(format!("elements of type `{descriptor}` are not supported; save float32, float64 or uint8")),
    }
}

fn decode(descriptor: &str, data: &[u8], len: usize) -> Result<(Vec<f32>, bool), String> {
    element_size(descriptor)?;
    let (order, kind) = descriptor.split_at_checked(1).unwrap_or(("", ""));
    let big = order == ">";
    let elements = match kind {
        "f4" => numbers(data, len, big, f32::from_le_bytes)?,
        "f8" => numbers(data, len, big, |bytes| f64::from_le_bytes(bytes) as f32)?,
        "f2" => numbers(data, len, big, |bytes| f16::from_le_bytes(bytes).to_f32())?,
        _ => numbers(data, len, big, |[byte]| f32::from(byte))?,
    };
    Ok((elements, kind == "u1"))
}

fn numbers<const SIZE: usize>(data: &[u8], len: usize, big: bool, convert: impl Fn([u8; SIZE]) -> f32) -> Result<Vec<f32>, String> {
    let (chunks, rest) = data.as_chunks::<SIZE>();
    if chunks.len() != len || !rest.is_empty() {
        return Err(format!("has {} bytes of data where its shape asks for {len} elements of {SIZE}", data.len()));
    }
    let ordered = |mut bytes: [u8; SIZE]| {
        if big {
            bytes.reverse();
        }
        convert(bytes)
    };
    Ok(chunks.iter().map(|bytes| ordered(*bytes)).collect())
}

fn to_row_major(shape: &[usize], elements: Vec<f32>) -> Result<Vec<f32>, String> {
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), elements).map_err(|error| error.to_string())?;
    Ok(array.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn reads_every_order_and_type() {
        struct Case {
            header: &'static str,
            data: Vec<u8>,
            elements: Vec<f32>,
        }
        let little: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let big: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_be_bytes()).collect();
        let cases = [
            Case {
                header: "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n",
                data: little.clone(),
                elements: vec![1., 2., 3., 4.],
            },
            Case { header: "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n", data: little, elements: vec![1., 3., 2., 4.] },
            Case { header: "{'shape': (2, 2), 'descr': '>f8', 'fortran_order': False}", data: big, elements: vec![1., 2., 3., 4.] },
            Case {
                header: "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }\n",
                data: vec![0, 1, 2, 255],
                elements: vec![0., 1., 2., 255.],
            },
        ];
        for case in cases {
            let array = read_npy(&npy(case.header, &case.data)).unwrap();
            assert_eq!((array.shape, array.elements), (vec![2, 2], case.elements), "{}", case.header);
        }
    }

    #[test]
    fn refuses_what_is_no_plain_array_of_numbers() {
        let cases = [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "pickled"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured"),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", "not supported"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", "shape asks"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }", "too large"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "malformed"),
            ("{'descr': '<f4', 'shape': (1,), }", "fortran_order"),
        ];
        for (header, reason) in cases {
            let error = read_npy(&npy(header, &[0; 4])).unwrap_err();
            assert!(error.contains(reason), "{header}: {error}");
        }
        assert!(read_npy(b"PK").is_err() && read_npy(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn refuses_archives_that_are_none() {
        assert!(read_npz(b"not a zip", 1 << 20).unwrap_err().contains("not a .npz"));
    }
}
