//! How boxes are read out of the outputs of a detector.

mod corners;
mod lists;
mod rows;
mod yolo;

use super::decoder::Decoder;
use super::detected::Detected;
use super::reading::{Named, Views};

/// Which outputs hold what.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    Lists(lists::Lists),
    Rows(rows::Rows),
    Yolo(yolo::Yolo),
    Corners(corners::Corners),
}

impl Reading {
    /// How `decoder` reads these outputs, of a picture of `height` by `width`.
    ///
    /// # Errors
    /// Says which output it lacks.
    pub fn of(decoder: Decoder, outputs: &[Named<'_>], area: (usize, usize)) -> Result<Self, String> {
        match decoder {
            Decoder::Boxes => match rows::Rows::of(outputs) {
                Some(rows) => Ok(Reading::Rows(rows)),
                None => lists::Lists::of(outputs).map(Reading::Lists),
            },
            Decoder::Ssd => corners::Corners::of(outputs).map(Reading::Corners),
            Decoder::YoloV5 => yolo::Yolo::of(outputs, yolo::Form::Objectness, area).map(Reading::Yolo),
            Decoder::YoloV8 => yolo::Yolo::of(outputs, yolo::Form::Classes, area).map(Reading::Yolo),
            Decoder::YoloX => yolo::Yolo::of(outputs, yolo::Form::Grid, area).map(Reading::Yolo),
        }
    }

    /// Which decoder outputs ask for: one whose boxes a node `chosen` within the model, or a YOLO with a box for each place of its
    /// grids; and why.
    pub fn guess(outputs: &[Named<'_>], chosen: Option<&str>, area: (usize, usize)) -> Option<(Decoder, String)> {
        // Lists of the best classes have two axes, too.
        let chosen = chosen.filter(|node| *node != "TopK" || outputs.iter().any(|named| named.shape.len() > 2));
        if let (Some(node), Ok(_)) = (chosen, Reading::of(Decoder::Boxes, outputs, area)) {
            return Some((Decoder::Boxes, format!("{node} chooses them")));
        }
        let places = yolo::places(area);
        let because = |count: usize| format!("there are {count}, as grids of strides 8, 16 and 32 have places");
        yolo::guess(outputs, &places).map(|(decoder, boxes)| (decoder, because(boxes)))
    }

    /// The boxes of one sample, the best first; in pixels of the input, or in parts of its sides.
    ///
    /// # Errors
    /// If an output has another shape than the first sample had.
    pub fn read(&self, outputs: &Views<'_>) -> Result<Vec<Detected>, String> {
        match self {
            Reading::Lists(lists) => lists.read(outputs),
            Reading::Rows(rows) => rows.read(outputs),
            Reading::Yolo(yolo) => yolo.read(outputs),
            Reading::Corners(corners) => corners.read(outputs),
        }
    }

    /// Refuses numbers that are not what this reading takes them for.
    ///
    /// # Errors
    /// Names the output.
    pub fn check(&self, outputs: &Views<'_>, names: &[Named<'_>]) -> Result<(), String> {
        match self {
            Reading::Lists(_) | Reading::Rows(_) => Ok(()),
            Reading::Yolo(yolo) => yolo.check(outputs, names),
            Reading::Corners(corners) => corners.check(outputs, names),
        }
    }
}
