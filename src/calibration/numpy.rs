//! Arrays of numpy, read without trust: numbers only, never pickles, nothing allocated from a declared size.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::array::{Array, ArrayFile, Element, skip};
use crate::limits::beyond;

/// Longest header of a `.npy` file; real ones have 128 bytes.
const MAX_HEADER: usize = 64 << 10;
/// Bytes that stand before a header, at most.
const PREFIX: usize = 12;
const MAX_RANK: usize = 8;

/// A `.npy` file: one array without a name.
pub struct Npy<R> {
    file: R,
    array: [(String, Array); 1],
    /// Bytes before the numbers.
    start: u64,
}

impl<R: BufRead + Seek> Npy<R> {
    /// # Errors
    /// Says what is wrong with the file.
    pub fn new(mut file: R) -> Result<Self, String> {
        let (array, start) = read_header(&mut file)?;
        let len = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        array.check_bytes(len.saturating_sub(start))?;
        Ok(Npy { file, array: [(String::new(), array)], start })
    }
}

impl<R: BufRead + Seek> ArrayFile for Npy<R> {
    fn arrays(&self) -> &[(String, Array)] {
        &self.array
    }

    fn open(&mut self, _: usize) -> Result<Box<dyn BufRead + '_>, String> {
        self.file.seek(SeekFrom::Start(self.start)).map_err(|error| error.to_string())?;
        Ok(Box::new(&mut self.file))
    }
}

/// A `.npz` archive of arrays.
pub struct Npz<R> {
    archive: ZipArchive<R>,
    arrays: Vec<(String, Array)>,
    /// For each array, its place in the archive and the bytes before its numbers.
    places: Vec<(usize, u64)>,
}

impl<R: Read + Seek> Npz<R> {
    /// An archive whose arrays have no more than `most` bytes together. Whether they have as many as it says is seen when they
    /// are read: those of a bomb are not unpacked.
    ///
    /// # Errors
    /// Names the member that cannot be read.
    pub fn new(file: R, most: u64) -> Result<Self, String> {
        let archive = ZipArchive::new(file).map_err(|error| format!("not a .npz archive: {error}"))?;
        let mut npz = Npz { archive, arrays: Vec::new(), places: Vec::new() };
        let mut left = most;
        for index in 0..npz.archive.len() {
            let mut member = npz.archive.by_index(index).map_err(|error| error.to_string())?;
            let Some(name) = member.name().strip_suffix(".npy").map(str::to_string) else { continue };
            let fail = |reason: String| format!("member `{name}`: {reason}");
            let (array, start) = read_header(&mut member).map_err(fail)?;
            let bytes = array.size().map_err(fail)?.1;
            left = left.checked_sub(bytes).ok_or_else(|| fail(format!("with it the data has {} bytes", beyond("data-bytes", most))))?;
            array.check_bytes(member.size().saturating_sub(start)).map_err(fail)?;
            npz.arrays.push((name, array));
            npz.places.push((index, start));
        }
        Ok(npz)
    }
}

impl<R: Read + Seek> ArrayFile for Npz<R> {
    fn arrays(&self) -> &[(String, Array)] {
        &self.arrays
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn BufRead + '_>, String> {
        let (place, start) = self.places[index];
        let mut member = BufReader::new(self.archive.by_index(place).map_err(|error| error.to_string())?);
        skip(&mut member, start)?;
        Ok(Box::new(member))
    }
}

/// What a `.npy` file says of its array, and how many bytes it takes for that.
fn read_header(file: &mut impl Read) -> Result<(Array, u64), String> {
    let mut head = Vec::new();
    file.take((PREFIX + MAX_HEADER) as u64).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let rest = head.strip_prefix(b"\x93NUMPY").ok_or("not a .npy file")?;
    let (header, data) = split_header(rest).ok_or("the header is cut off or too long")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let shape = parse_shape(header)?;
    let fortran_order = match field(header, "fortran_order")? {
        order if order.starts_with("False") => false,
        order if order.starts_with("True") => true,
        _ => return Err("the header has no memory order".into()),
    };
    let descriptor = quoted_field(header, "descr")?;
    let array = Array { shape, element: element(descriptor)?, big_endian: descriptor.starts_with('>'), fortran_order };
    array.size()?;
    Ok((array, (head.len() - data.len()) as u64))
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

fn element(descriptor: &str) -> Result<Element, String> {
    match descriptor.get(1..) {
        Some("f4") => Ok(Element::F32),
        Some("f8") => Ok(Element::F64),
        Some("f2") => Ok(Element::F16),
        Some("u1") => Ok(Element::U8),
        Some("b1") => Ok(Element::Bool),
        Some("i4") => Ok(Element::I32),
        Some("i8") => Ok(Element::I64),
        Some(kind) if kind.starts_with('O') => Err("holds pickled objects, which are never read".into()),
        _ => Err(format!("elements of type `{descriptor}` are not supported; save float32, float64, uint8 or bool")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    fn open(file: &[u8]) -> Result<Npy<Cursor<&[u8]>>, String> {
        Npy::new(Cursor::new(file))
    }

    #[test]
    fn headers_tell_of_order_and_type() {
        for (header, element, big_endian, fortran_order) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", Element::F32, false, false),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n", Element::F32, false, true),
            ("{'shape': (2, 2), 'descr': '>f8', 'fortran_order': False}", Element::F64, true, false),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }\n", Element::U8, false, false),
            ("{'descr': '|b1', 'fortran_order': False, 'shape': (2, 2), }\n", Element::Bool, false, false),
        ] {
            let data: Vec<u8> = (0..4 * element.size() as u8).collect();
            let bytes = npy(header, &data);
            let mut file = open(&bytes).unwrap();
            assert_eq!(file.arrays()[0].1, Array { shape: vec![2, 2], element, big_endian, fortran_order });
            for _ in 0..2 {
                let mut found = Vec::new();
                file.open(0).unwrap().read_to_end(&mut found).unwrap();
                assert_eq!(found, data, "{header}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_plain_array_of_numbers() {
        let cases = [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "pickled"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured"),
            ("{'descr': '<i2', 'fortran_order': False, 'shape': (1,), }", "not supported"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", "shape asks"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }", "too large"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "malformed"),
            ("{'descr': '<f4', 'shape': (1,), }", "fortran_order"),
        ];
        for (header, reason) in cases {
            let error = open(&npy(header, &[0; 4])).err().unwrap();
            assert!(error.contains(reason), "{header}: {error}");
        }
        assert!(open(b"PK").is_err() && open(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn refuses_archives_that_are_none() {
        assert!(Npz::new(Cursor::new(b"not a zip"), 1 << 20).err().unwrap().contains("not a .npz"));
    }
}
