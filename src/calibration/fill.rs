//! From an array of a file to the samples of an input, a part at a time: a file need not fit in memory.

use std::ops::Range;

use super::array::{Array, ArrayFile, Element, Numbers};
use super::elements::{Elements, IN_MEMORY};
use super::framing::Framing;
use super::pictures::{Bounds, PictureShape, bounds_of};
use super::set::Samples;
use crate::memory;

/// Most numbers that one input may have over all samples.
const MAX_ELEMENTS: usize = 1 << 31;

/// An input that a set must fill.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedInput {
    pub name: String,
    /// Shape of one sample with its leading batch dimension.
    pub shape: Vec<usize>,
    /// What pixels 0 and 255 become in each channel; `None` where that is not known: pictures are refused then.
    pub bounds: Option<Bounds>,
    /// What is done to pictures first.
    pub framing: Framing,
}

impl ExpectedInput {
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Array `index` of `file` as the samples of `input`.
///
/// # Errors
/// If it has another shape, holds numbers that are not finite, or cannot be read.
pub fn fill(file: &mut dyn ArrayFile, index: usize, input: &ExpectedInput) -> Result<Samples, String> {
    let array = file.arrays().get(index).map(|(_, array)| array.clone()).ok_or("there is no such array")?;
    let count = count_samples(&array, input)?;
    let working = (input.sample_len() as u64).saturating_mul(12).saturating_add(IN_MEMORY as u64);
    memory::require(working, "reading its samples").map_err(|error| error.to_string())?;
    let elements = Elements::zeros(input.sample_len(), count).map_err(|error| error.to_string())?;
    let mut filling = Filling { pixels: array.element == Element::U8, input, elements };
    if array.fortran_order && array.shape.len() > 1 {
        columns_first(file, index, &array, &mut filling, IN_MEMORY)?;
    } else {
        rows_first(Numbers::of(&array, file.open(index)?), &mut filling)?;
    }
    Ok(Samples { name: input.name.clone(), shape: input.shape.clone(), elements: filling.elements })
}

/// How many samples the array has, if it can fill the input.
fn count_samples(array: &Array, input: &ExpectedInput) -> Result<usize, String> {
    let Some(count) = samples_in(&array.shape, &input.shape) else {
        return Err(format!("samples of shape {:?} are wanted, but the array has {:?}", input.shape, array.shape));
    };
    if matches!(array.element, Element::I32 | Element::I64) {
        return Err("the array holds integers; save floats as the network takes them, or bytes for pixels".into());
    }
    if array.size()?.0 > MAX_ELEMENTS {
        return Err("the array is too large".into());
    }
    if array.element == Element::U8 && input.bounds.is_none() && PictureShape::of(&input.shape).is_some() {
        return Err("the array holds bytes, but the value range of the input is not known; give --input-range".into());
    }
    Ok(if input.sample_len() == 0 { 0 } else { count })
}

/// How many samples of shape `[B, …]` an array holds: as `[N·B, …]`, or as `[N, B, …]`.
fn samples_in(array: &[usize], sample: &[usize]) -> Option<usize> {
    let (count, rest) = array.split_first()?;
    if array.len() == sample.len() + 1 {
        return (rest == sample).then_some(*count);
    }
    let (batch, sample_rest) = sample.split_first()?;
    (rest == sample_rest && *batch > 0 && count % batch == 0).then(|| count / batch)
}

/// Samples that come one after another.
struct Filling<'a> {
    input: &'a ExpectedInput,
    /// Whether the numbers are pixels 0..=255.
    pixels: bool,
    elements: Elements,
}

impl Filling<'_> {
    fn put(&mut self, index: usize, sample: &mut [f32]) -> Result<(), String> {
        if let Some(at) = sample.iter().position(|x| !x.is_finite()) {
            return Err(format!("element {} is {}", index * sample.len() + at, sample[at]));
        }
        if let (true, Some(bounds)) = (self.pixels, &self.input.bounds) {
            map_pixels(sample, &self.input.shape, bounds);
        }
        self.elements.write(index, sample).map_err(|error| error.to_string())
    }
}

fn rows_first(mut numbers: Numbers, filling: &mut Filling) -> Result<(), String> {
    let mut sample = vec![0.0; filling.input.sample_len()];
    for index in 0..filling.elements.len() {
        numbers.read(&mut sample)?;
        filling.put(index, &mut sample)?;
    }
    numbers.end()
}

/// Reads an array whose first dimension runs fastest once for each group of samples that fits in `in_memory` bytes.
fn columns_first(file: &mut dyn ArrayFile, index: usize, array: &Array, filling: &mut Filling, in_memory: usize) -> Result<(), String> {
    let (count, sample_len) = (filling.elements.len(), filling.input.sample_len());
    let group = (in_memory / size_of::<f32>() / sample_len.max(1)).max(1);
    for first in (0..count).step_by(group) {
        let samples = first..count.min(first + group);
        let rows = array.shape[0] / count;
        let block = read_rows(Numbers::of(array, file.open(index)?), &array.shape, samples.start * rows..samples.end * rows);
        samples.zip(block?.chunks_mut(sample_len)).try_for_each(|(index, sample)| filling.put(index, sample))?;
    }
    Ok(())
}

/// The rows `rows`, one after another, of an array whose first dimension runs fastest.
fn read_rows(mut numbers: Numbers, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>, String> {
    let (all, inner) = (shape[0], &shape[1..]);
    let row_len = inner.iter().product::<usize>();
    let (mut block, mut column) = (vec![0.0; rows.len() * row_len], vec![0.0; rows.len()]);
    for position in 0..row_len {
        numbers.skip(rows.start)?;
        numbers.read(&mut column)?;
        numbers.skip(all - rows.end)?;
        let to = transposed(position, inner);
        column.iter().enumerate().for_each(|(row, x)| block[row * row_len + to] = *x);
    }
    numbers.end()?;
    Ok(block)
}

/// Where an element stands row by row that is `position` where the first dimension of `shape` runs fastest.
fn transposed(mut position: usize, shape: &[usize]) -> usize {
    shape.iter().fold(0, |at, size| {
        let coordinate = position % size;
        position /= size;
        at * size + coordinate
    })
}

fn map_pixels(elements: &mut [f32], shape: &[usize], bounds: &Bounds) {
    let channels_last = PictureShape::of(shape).is_some_and(|picture| picture.channels_last);
    let axis = if channels_last { shape.len() - 1 } else { 1 };
    let channels = shape.get(axis).copied().unwrap_or(1).max(1);
    if ![1, channels].contains(&bounds.len()) {
        return;
    }
    let area = shape.iter().skip(axis + 1).product::<usize>().max(1);
    for (index, plane) in elements.chunks_mut(area).enumerate() {
        let (low, high) = bounds_of(bounds, index % channels);
        plane.iter_mut().for_each(|x| *x = low + (high - low) * *x / 255.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    /// A file of one array.
    struct Memory([(String, Array); 1], Vec<u8>);

    impl ArrayFile for Memory {
        fn arrays(&self) -> &[(String, Array)] {
            &self.0
        }

        fn open(&mut self, _: usize) -> Result<Box<dyn BufRead + '_>, String> {
            Ok(Box::new(self.1.as_slice()))
        }
    }

    fn file(shape: &[usize], element: Element, fortran_order: bool, bytes: Vec<u8>) -> Memory {
        Memory([(String::new(), Array { shape: shape.to_vec(), element, big_endian: false, fortran_order })], bytes)
    }

    #[test]
    fn bytes_are_pixels_in_either_layout() {
        let bounds = Some(vec![(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]);
        for (shape, want) in [([1, 3, 1, 2], [1.0, 0.0, 1.0, -1.0, 255.0, 0.0]), ([1, 2, 1, 3], [1.0, -1.0, 255.0, 0.0, 1.0, 0.0])] {
            let input = ExpectedInput { name: "x".into(), shape: shape.to_vec(), bounds: bounds.clone(), framing: Framing::default() };
            let mut file = file(&shape, Element::U8, false, vec![255, 0, 255, 0, 255, 0]);
            assert_eq!(*fill(&mut file, 0, &input).unwrap().sample(0).unwrap(), want, "{shape:?}");
            assert!(fill(&mut file, 0, &ExpectedInput { bounds: None, ..input }).is_err());
        }
    }

    #[test]
    fn columns_become_rows_in_groups_of_every_size() {
        // Element (i, j, k, l) of the array is the number ijkl.
        let digits = |at: usize, sizes: [usize; 4]| {
            let coordinates = sizes.iter().scan(at, |rest, size| Some((*rest % size, *rest /= size).0));
            coordinates.fold(0.0, |number, digit| 10.0 * number + digit as f32)
        };
        let sizes = [4, 2, 3, 2];
        let bytes: Vec<u8> = (0..48).flat_map(|at| digits(at, sizes).to_le_bytes()).collect();
        let mut rows: Vec<f32> = (0..48).map(|at| digits(at, sizes)).collect();
        rows.sort_by(f32::total_cmp);
        for sample in [&[1, 2, 3, 2][..], &[2, 2, 3, 2], &[2, 3, 2], &[4, 2, 3, 2]] {
            let input = ExpectedInput { name: "x".into(), shape: sample.to_vec(), bounds: None, framing: Framing::default() };
            for in_memory in [0, 100, 1 << 20] {
                let mut file = file(&sizes, Element::F32, true, bytes.clone());
                let array = file.0[0].1.clone();
                let elements = Elements::zeros(input.sample_len(), count_samples(&array, &input).unwrap()).unwrap();
                let mut filling = Filling { input: &input, pixels: false, elements };
                columns_first(&mut file, 0, &array, &mut filling, in_memory).unwrap();
                let found: Vec<f32> =
                    (0..filling.elements.len()).flat_map(|at| filling.elements.sample(at).unwrap().into_owned()).collect();
                assert_eq!(found, rows, "{sample:?}, {in_memory} bytes");
            }
        }
    }

    #[test]
    fn samples_fit_with_and_without_their_batch() {
        for (array, sample, want) in [
            (&[5, 3, 2, 2][..], &[1, 3, 2, 2][..], Some(5)),
            (&[5, 1, 3, 2, 2], &[1, 3, 2, 2], Some(5)),
            (&[6, 3], &[2, 3], Some(3)),
            (&[5, 3], &[2, 3], None),
            (&[3, 2, 2], &[1, 3, 2, 2], None),
            (&[5], &[], Some(5)),
            (&[], &[1], None),
        ] {
            assert_eq!(samples_in(array, sample), want, "{array:?} {sample:?}");
        }
    }
}
