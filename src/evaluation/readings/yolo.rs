//! The heads of the YOLO family: a box for each place of some grids.

use ndarray::{ArrayView1, ArrayView2};

use super::super::decoder::Decoder;
use super::super::detected::{Detected, suppress};
use super::super::reading::{Named, Views, best, check_probabilities, is_sound, matrix};

const STRIDES: [usize; 3] = [8, 16, 32];
/// Boxes that YOLOv5 has at each place.
const ANCHORS: usize = 3;

/// What stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// x, y, width, height, objectness, classes.
    Objectness,
    /// x, y, width, height, classes.
    Classes,
    /// As [`Form::Objectness`], relative to a place of a grid.
    Grid,
}

impl Form {
    fn first_class(self) -> usize {
        if self == Form::Classes { 4 } else { 5 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Yolo {
    output: usize,
    form: Form,
    /// Left, top and stride of each place, where rows are relative to it.
    places: Vec<[f32; 3]>,
}

impl Yolo {
    /// # Errors
    /// If there is no such output, or several.
    pub fn of(outputs: &[Named<'_>], form: Form, area: (usize, usize)) -> Result<Self, String> {
        let fits = |named: &Named<'_>| sides(&named.shape).is_some_and(|(channels, _)| channels > form.first_class());
        let all: Vec<usize> = (0..outputs.len()).filter(|index| fits(&outputs[*index])).collect();
        let [output] = all[..] else {
            let told: Vec<String> = outputs.iter().map(|named| format!("`{}` {:?}", named.name, named.shape)).collect();
            let many = if all.is_empty() { "no output has" } else { "several outputs have" };
            return Err(format!("{many} the shape of a head, [1, boxes, numbers of each] or the other way round: {}", told.join(", ")));
        };
        let places = if form == Form::Grid { places(area) } else { Vec::new() };
        let boxes = sides(&outputs[output].shape).map_or(0, |(_, boxes)| boxes);
        if form == Form::Grid && places.len() != boxes {
            return Err(format!(
                "`{}` has {boxes} boxes, and grids of strides 8, 16 and 32 have {} places",
                outputs[output].name,
                places.len()
            ));
        }
        Ok(Yolo { output, form, places })
    }

    pub fn read(&self, outputs: &Views<'_>) -> Result<Vec<Detected>, String> {
        let rows = rows(&outputs[self.output], self.form.first_class())?;
        if self.form == Form::Grid && rows.nrows() != self.places.len() {
            return Err(format!("{} boxes for {} places", rows.nrows(), self.places.len()));
        }
        let found = rows.rows().into_iter().enumerate().filter_map(|(index, row)| self.one(index, &row));
        Ok(suppress(found.filter(is_sound).collect()))
    }

    fn one(&self, index: usize, row: &ArrayView1<'_, f32>) -> Option<Detected> {
        let (class, probability) = best(row.iter().skip(self.form.first_class()).copied())?;
        let score = if self.form == Form::Classes { probability } else { probability * row[4] };
        let (mut x, mut y, mut width, mut height) = (row[0], row[1], row[2], row[3]);
        if let Some([left, top, stride]) = self.places.get(index) {
            (x, y) = ((x + left) * stride, (y + top) * stride);
            (width, height) = (width.exp() * stride, height.exp() * stride);
        }
        let corners = [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0];
        Some(Detected { corners, score, class })
    }

    /// # Errors
    /// If classes or objectness are no probabilities.
    pub fn check(&self, outputs: &Views<'_>, names: &[Named<'_>]) -> Result<(), String> {
        let rows = rows(&outputs[self.output], self.form.first_class())?;
        check_probabilities(names[self.output].name, rows.rows().into_iter().flat_map(|row| row.into_iter().skip(4).copied()))
    }
}

/// A row for each box, of which there are more than numbers in each.
fn rows<'a>(view: &'a ndarray::ArrayViewD<'_, f32>, first_class: usize) -> Result<ArrayView2<'a, f32>, String> {
    let matrix = matrix(view, 1)?;
    let rows = if matrix.nrows() < matrix.ncols() { matrix.reversed_axes() } else { matrix };
    if rows.ncols() <= first_class { Err(format!("{} numbers of a box, no class", rows.ncols())) } else { Ok(rows) }
}

/// How many numbers there are of each box, and how many boxes.
fn sides(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [1, a, b] => Some((*a.min(b), *a.max(b))),
        _ => None,
    }
}

/// The places of the grids of a picture of this height and width, row by row, the finest grid first.
pub fn places((height, width): (usize, usize)) -> Vec<[f32; 3]> {
    let grid = |stride: usize| {
        let columns = width / stride;
        (0..height / stride * columns).map(move |at| [(at % columns) as f32, (at / columns) as f32, stride as f32])
    };
    STRIDES.into_iter().flat_map(grid).collect()
}

/// The decoder of a model whose only output has as many boxes as there are places, and how many they are.
pub fn guess(outputs: &[Named<'_>], places: &[[f32; 3]]) -> Option<(Decoder, usize)> {
    let [named] = outputs else { return None };
    let places = Some(places.len()).filter(|places| *places > 0)?;
    match named.shape[..] {
        [1, channels, boxes] if boxes == places && channels > 4 && channels < boxes => Some((Decoder::YoloV8, boxes)),
        [1, boxes, channels] if boxes == ANCHORS * places && channels > 5 && channels < boxes => Some((Decoder::YoloV5, boxes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    fn named(shape: &[usize]) -> [Named<'static>; 1] {
        [Named { name: "output0", shape: shape.to_vec(), is_integer: false }]
    }

    fn read(form: Form, shape: &[usize], numbers: Vec<f32>) -> Vec<Detected> {
        let array = ArrayD::from_shape_vec(shape, numbers).unwrap();
        Yolo::of(&named(shape), form, (32, 64)).unwrap().read(&vec![array.view()]).unwrap()
    }

    #[test]
    fn rows_and_columns_of_middles_and_sizes_become_corners() {
        let row = [20.0, 30.0, 10.0, 4.0, 0.5, 0.2, 0.8];
        let expected = |score| vec![Detected { corners: [15.0, 28.0, 25.0, 32.0], score, class: 1 }];
        let mut v5 = vec![0.0; 8 * 7];
        v5[7..14].copy_from_slice(&row);
        assert_eq!(read(Form::Objectness, &[1, 8, 7], v5), expected(0.4));
        let mut v8 = vec![0.0; 6 * 8];
        let without_objectness = [&row[..4], &row[5..]].concat();
        without_objectness.iter().enumerate().for_each(|(channel, x)| v8[channel * 8 + 3] = *x);
        assert_eq!(read(Form::Classes, &[1, 6, 8], v8), expected(0.8));
    }

    #[test]
    fn rows_of_a_grid_are_moved_to_their_place() {
        let places = places((32, 64));
        assert_eq!(places.len(), 32 + 8 + 2);
        assert_eq!((places[9], places[32 + 5], places[41]), ([1.0, 1.0, 8.0], [1.0, 1.0, 16.0], [1.0, 0.0, 32.0]));
        let mut numbers = vec![0.0; 42 * 6];
        numbers[9 * 6..10 * 6].copy_from_slice(&[0.5, 0.5, 0.0, 0.0, 1.0, 0.9]);
        let found = read(Form::Grid, &[1, 42, 6], numbers);
        assert_eq!(found, [Detected { corners: [8.0, 8.0, 16.0, 16.0], score: 0.9, class: 0 }]);
    }

    #[test]
    fn heads_are_known_by_their_number_of_boxes_and_others_refused() {
        let places = places((640, 640));
        assert_eq!(guess(&named(&[1, 84, 8400]), &places), Some((Decoder::YoloV8, 8400)));
        assert_eq!(guess(&named(&[1, 25200, 85]), &places), Some((Decoder::YoloV5, 25200)));
        assert_eq!((guess(&named(&[1, 84, 8401]), &places), guess(&named(&[1, 8400, 4]), &places)), (None, None));
        assert!(Yolo::of(&named(&[1, 10]), Form::Classes, (32, 32)).unwrap_err().contains("`output0` [1, 10]"));
        assert!(Yolo::of(&named(&[1, 9, 8]), Form::Grid, (32, 32)).unwrap_err().contains("9 boxes"));
        let logits = ArrayD::from_elem(vec![1, 9, 6], 3.0);
        let yolo = Yolo::of(&named(&[1, 9, 6]), Form::Classes, (32, 32)).unwrap();
        assert!(yolo.check(&vec![logits.view()], &named(&[1, 9, 6])).unwrap_err().contains("`output0` reaches from 3 to 3"));
    }
}
