//! Arrays of a file: what it says of them before their numbers come, and the numbers one after another.

use std::io::{BufRead, Read};

use half::f16;

/// What a file says of one array. Nothing of it is to be believed before the file is known to be as long as it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub element: Element,
    pub big_endian: bool,
    /// Whether the first dimension runs fastest, not the last.
    pub fortran_order: bool,
}

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F16,
    F32,
    F64,
    /// A pixel 0..=255.
    U8,
    /// True, whatever bit is set, or false: 1 or 0.
    Bool,
    /// A class, never a sample.
    I32,
    I64,
}

/// A file of arrays, none of which need be in memory.
pub trait ArrayFile {
    /// The arrays with their names; the only array of a file may have none.
    fn arrays(&self) -> &[(String, Array)];

    /// The bytes of array `index`, from its first number on.
    ///
    /// # Errors
    /// If the file cannot be read there.
    fn open(&mut self, index: usize) -> Result<Box<dyn BufRead + '_>, String>;
}

impl Array {
    /// Number of elements and of bytes.
    ///
    /// # Errors
    /// If they are more than any file holds.
    pub fn size(&self) -> Result<(usize, u64), String> {
        let len = self.shape.iter().try_fold(1usize, |len, size| len.checked_mul(*size));
        let bytes = len.and_then(|len| (len as u64).checked_mul(self.element.size() as u64));
        len.zip(bytes).ok_or_else(|| "the shape is too large".into())
    }

    /// # Errors
    /// If `bytes` are not what the array needs.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), String> {
        let (len, wanted) = self.size()?;
        if bytes == wanted {
            return Ok(());
        }
        Err(format!("has {bytes} bytes of data where its shape asks for {len} elements of {}", self.element.size()))
    }
}

impl Element {
    pub fn size(self) -> usize {
        match self {
            Element::U8 | Element::Bool => 1,
            Element::F16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    fn decode(self, bytes: &[u8], big_endian: bool, to: &mut [f32]) {
        match self {
            Element::U8 => decode(bytes, big_endian, to, |[byte]| f32::from(byte)),
            Element::Bool => decode(bytes, big_endian, to, |[byte]| f32::from(u8::from(byte != 0))),
            Element::F16 => decode(bytes, big_endian, to, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::F32 => decode(bytes, big_endian, to, f32::from_le_bytes),
            Element::F64 => decode(bytes, big_endian, to, |bytes| f64::from_le_bytes(bytes) as f32),
            Element::I32 => decode(bytes, big_endian, to, |bytes| i32::from_le_bytes(bytes) as f32),
            Element::I64 => decode(bytes, big_endian, to, |bytes| i64::from_le_bytes(bytes) as f32),
        }
    }
}

fn decode<const SIZE: usize>(bytes: &[u8], big_endian: bool, to: &mut [f32], convert: impl Fn([u8; SIZE]) -> f32) {
    for (to, bytes) in to.iter_mut().zip(bytes.as_chunks().0) {
        let mut bytes = *bytes;
        if big_endian {
            bytes.reverse();
        }
        *to = convert(bytes);
    }
}

/// The numbers of one array in the order of the file.
pub struct Numbers<'a> {
    bytes: Box<dyn BufRead + 'a>,
    element: Element,
    big_endian: bool,
    buffer: Vec<u8>,
}

impl<'a> Numbers<'a> {
    pub fn of(array: &Array, bytes: Box<dyn BufRead + 'a>) -> Self {
        Numbers { bytes, element: array.element, big_endian: array.big_endian, buffer: Vec::new() }
    }

    /// The next numbers, as many as `to` holds.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn read(&mut self, to: &mut [f32]) -> Result<(), String> {
        self.buffer.resize(to.len() * self.element.size(), 0);
        self.bytes.read_exact(&mut self.buffer).map_err(|error| cut_off(&error))?;
        self.element.decode(&self.buffer, self.big_endian, to);
        Ok(())
    }

    /// Passes over `count` numbers.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn skip(&mut self, count: usize) -> Result<(), String> {
        skip(&mut self.bytes, (count * self.element.size()) as u64)
    }

    /// # Errors
    /// If there is more.
    pub fn end(mut self) -> Result<(), String> {
        let rest = self.bytes.fill_buf().map_err(|error| error.to_string())?;
        if rest.is_empty() { Ok(()) } else { Err("has more data than its shape asks for".into()) }
    }
}

/// # Errors
/// If there are fewer than `count` bytes.
pub fn skip(bytes: &mut impl BufRead, count: u64) -> Result<(), String> {
    let skipped = std::io::copy(&mut bytes.take(count), &mut std::io::sink()).map_err(|error| error.to_string())?;
    if skipped == count { Ok(()) } else { Err(cut_off(&std::io::ErrorKind::UnexpectedEof.into())) }
}

fn cut_off(error: &std::io::Error) -> String {
    format!("its data cannot be read to the end: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind_come_as_floats() {
        let cases: [(Element, bool, Vec<u8>); 5] = [
            (Element::U8, false, vec![1, 2, 255]),
            (Element::F16, false, [1.0, 2.0, 255.0].iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()),
            (Element::F32, true, [1.0f32, 2.0, 255.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
            (Element::F64, false, [1.0f64, 2.0, 255.0].iter().flat_map(|x| x.to_le_bytes()).collect()),
            (Element::F64, true, [1.0f64, 2.0, 255.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
        ];
        for (element, big_endian, bytes) in cases {
            let array = Array { shape: vec![3], element, big_endian, fortran_order: false };
            array.check_bytes(bytes.len() as u64).unwrap();
            assert!(array.check_bytes(bytes.len() as u64 + 1).is_err());
            let mut numbers = Numbers::of(&array, Box::new(bytes.as_slice()));
            let mut found = [0.0; 2];
            numbers.skip(1).unwrap();
            numbers.read(&mut found).unwrap();
            assert_eq!(found, [2.0, 255.0], "{array:?}");
            assert!(numbers.read(&mut found).is_err());
            assert!(Numbers::of(&array, Box::new(bytes.as_slice())).end().is_err());
        }
    }
}
