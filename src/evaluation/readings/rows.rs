//! One output whose rows are boxes.

use super::super::detected::{Detected, sort};
use super::super::reading::{Named, Views, is_sound, matrix};

/// Rows of x1, y1, x2, y2, score, class; or of picture, x1, y1, x2, y2, class, score.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    output: usize,
    columns: usize,
}

impl Rows {
    /// `None` where the outputs are not one list of rows of 6 or 7 numbers.
    pub fn of(outputs: &[Named<'_>]) -> Option<Self> {
        let [Named { shape, .. }] = outputs else { return None };
        let lists = shape.iter().rev().skip(2).all(|size| *size == 1) && shape.len() > 1;
        let columns = shape.last().copied().filter(|columns| lists && matches!(columns, 6 | 7))?;
        Some(Rows { output: 0, columns })
    }

    pub fn read(&self, outputs: &Views<'_>) -> Result<Vec<Detected>, String> {
        let rows = matrix(&outputs[self.output], self.columns)?;
        if rows.ncols() != self.columns {
            return Err(format!("rows of {} numbers, {} before", rows.ncols(), self.columns));
        }
        let (first, score, class) = if self.columns == 6 { (0, 4, 5) } else { (1, 6, 5) };
        let one = |row: ndarray::ArrayView1<'_, f32>| Detected {
            corners: [row[first], row[first + 1], row[first + 2], row[first + 3]],
            score: row[score],
            class: row[class].max(0.0).round() as u32,
        };
        let mut found: Vec<Detected> = rows.rows().into_iter().map(one).filter(is_sound).collect();
        sort(&mut found);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    #[test]
    fn rows_of_six_and_of_seven_numbers_are_boxes() {
        let read = |shape: &[usize], numbers: &[f32]| {
            let named = [Named { name: "y", shape: shape.to_vec(), is_integer: false }];
            let array = ArrayD::from_shape_vec(shape, numbers.to_vec()).unwrap();
            Rows::of(&named).map(|rows| rows.read(&vec![array.view()]).unwrap())
        };
        let expected = vec![Detected { corners: [1.0, 2.0, 3.0, 4.0], score: 0.5, class: 7 }];
        assert_eq!(read(&[1, 2, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 7.0]), Some(expected.clone()));
        assert_eq!(read(&[1, 7], &[0.0, 1.0, 2.0, 3.0, 4.0, 7.0, 0.5]), Some(expected));
        assert_eq!(read(&[1, 5], &[0.0; 5]), None);
        assert_eq!(read(&[2, 1, 6], &[0.0; 12]), None);
    }
}
