//! Boxes of two models beside each other.

use serde::Serialize;

use super::decoder::Decoder;
use super::detected::Detected;
use super::detector::Choice;
use super::engine::Stacked;
use super::precision::{Precision, match_boxes, mean_average_precision};
use super::reading::Views;
use super::report::Labelled;
use crate::calibration::DrawnBox;
use crate::error::{Error, Result};

/// Overlap from which two boxes mean the same thing.
const MATCH: f64 = 0.5;
/// Score from which a box counts, where nothing else is said.
pub const LEAST_SCORE: f32 = 0.25;
/// Corners up to this are parts of the sides of a picture.
const MOST_OF_SIDE: f32 = 2.0;

/// What both models find on the samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Detection {
    /// How boxes were read.
    pub decoder: String,
    /// Why they were read so.
    pub reason: String,
    /// Score from which a box counts.
    pub least_score: f32,
    /// Boxes on all samples.
    pub reference_boxes: usize,
    pub candidate_boxes: usize,
    /// Percent of the boxes of both that have a partner of their class in the other, with an overlap of 0.5 at least; `null` where
    /// neither has boxes.
    pub matched_percent: Option<f64>,
    /// Intersection over union of partners.
    pub mean_iou: Option<f64>,
    /// Mean average precision of the candidate, with the reference's boxes as right; `null` where it has none.
    pub map_50: Option<f64>,
    /// The same averaged over overlaps 0.5, 0.55, … 0.95, as COCO counts it.
    pub map_50_95: Option<f64>,
}

/// All boxes of both models, one entry for each sample, in parts of the sides of the picture.
pub(super) struct Boxes {
    reference: Vec<Vec<Detected>>,
    candidate: Vec<Vec<Detected>>,
    least_score: f32,
}

impl Boxes {
    /// Reads `outputs`, pairs of what both gave.
    ///
    /// # Errors
    /// If they are not what `reading` takes them for.
    pub fn read(choice: &Choice<'_>, outputs: &[(&Stacked, &Stacked)], samples: usize, least_score: f32) -> Result<Self> {
        let fail = |reason: String| Error::Data(format!("boxes cannot be read as --decode {}: {reason}", choice.decoder.name()));
        let (mut reference, mut candidate) = (Vec::new(), Vec::new());
        for sample in 0..samples {
            let expected: Views<'_> = outputs.iter().map(|(expected, _)| expected.sample(sample)).collect();
            let actual: Views<'_> = outputs.iter().map(|(_, actual)| actual.sample(sample)).collect();
            choice.reading.check(&expected, &choice.named).map_err(fail)?;
            reference.push(choice.reading.read(&expected).map_err(fail)?);
            candidate.push(choice.reading.read(&actual).map_err(fail)?);
        }
        let confident = |least: f32| reference.iter().flatten().filter(move |found| found.score >= least);
        let reach = |least: f32| confident(least).flat_map(|found| found.corners).fold(0.0f32, |most, side| most.max(side.abs()));
        let least = if confident(least_score).next().is_some() { least_score } else { 0.0 };
        if matches!(choice.decoder, Decoder::YoloV5 | Decoder::YoloV8 | Decoder::YoloX) || reach(least) > MOST_OF_SIDE {
            reference.iter_mut().chain(&mut candidate).flatten().for_each(|found| scale(found, choice.area));
        }
        Ok(Boxes { reference, candidate, least_score })
    }

    /// Both models beside each other.
    pub fn compare(&self, decoder: Decoder, reason: String) -> Detection {
        let (reference, candidate) = (confident(&self.reference, self.least_score), confident(&self.candidate, self.least_score));
        let overlaps: Vec<f64> =
            reference.iter().zip(&candidate).flat_map(|(reference, candidate)| partners(reference, candidate)).collect();
        let count = |boxes: &[Vec<Detected>]| boxes.iter().map(Vec::len).sum::<usize>();
        let (reference_boxes, candidate_boxes) = (count(&reference), count(&candidate));
        let all = reference_boxes + candidate_boxes;
        let right = |found: &Detected| DrawnBox { corners: found.corners, class: found.class, crowd: false };
        let truth: Vec<Vec<DrawnBox>> = reference.iter().map(|found| found.iter().map(right).collect()).collect();
        let precision = mean_average_precision(&truth, &self.candidate);
        Detection {
            decoder: decoder.name().to_string(),
            reason,
            least_score: self.least_score,
            reference_boxes,
            candidate_boxes,
            matched_percent: (all > 0).then(|| 200.0 * overlaps.len() as f64 / all as f64),
            mean_iou: (!overlaps.is_empty()).then(|| overlaps.iter().sum::<f64>() / overlaps.len() as f64),
            map_50: precision.map(|precision| precision.at_50),
            map_50_95: precision.map(|precision| precision.at_50_95),
        }
    }

    /// Both models against what is right, in parts of the sides of the picture.
    ///
    /// # Errors
    /// If nothing is right.
    pub fn against(&self, truth: &[Vec<DrawnBox>]) -> Result<Vec<Labelled>> {
        let of = |found: &[Vec<Detected>]| mean_average_precision(truth, found);
        let (Some(reference), Some(candidate)) = (of(&self.reference), of(&self.candidate)) else {
            return Err(Error::Data("the labels have no boxes for these samples".into()));
        };
        let labelled = |measure: &str, figure: fn(Precision) -> f64| Labelled {
            measure: measure.into(),
            output: None,
            samples: truth.len(),
            reference: figure(reference),
            candidate: figure(candidate),
        };
        Ok(vec![labelled(MAP, |precision| precision.at_50_95), labelled("mAP 0.5", |precision| precision.at_50)])
    }
}

/// What COCO calls mAP.
pub(super) const MAP: &str = "mAP 0.5:0.95";

fn scale(found: &mut Detected, (height, width): (usize, usize)) {
    let sides = [width, height, width, height];
    found.corners.iter_mut().zip(sides).for_each(|(corner, side)| *corner /= side as f32);
}

fn confident(boxes: &[Vec<Detected>], least: f32) -> Vec<Vec<Detected>> {
    boxes.iter().map(|found| found.iter().copied().filter(|found| found.score >= least).collect()).collect()
}

/// Overlaps of the boxes of one picture that mean the same thing.
fn partners(reference: &[Detected], candidate: &[Detected]) -> Vec<f64> {
    let mut classes: Vec<u32> = reference.iter().map(|found| found.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let of =
        |boxes: &[Detected], class: u32| boxes.iter().filter(|found| found.class == class).map(|found| found.corners).collect::<Vec<_>>();
    let pairs = classes.iter().flat_map(|class| match_boxes(&of(reference, *class), &of(candidate, *class), MATCH));
    pairs.flatten().map(|(_, overlap)| overlap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(left: f32, score: f32, class: u32) -> Detected {
        Detected { corners: [left, 0.0, left + 10.0, 10.0], score, class }
    }

    fn boxes(reference: Vec<Detected>, candidate: Vec<Detected>) -> Detection {
        Boxes { reference: vec![reference], candidate: vec![candidate], least_score: 0.25 }.compare(Decoder::YoloV8, String::new())
    }

    #[test]
    fn equal_boxes_all_have_partners() {
        let all = vec![detected(0.0, 0.9, 0), detected(30.0, 0.5, 1), detected(60.0, 0.1, 1)];
        let found = boxes(all.clone(), all);
        assert_eq!((found.reference_boxes, found.matched_percent, found.mean_iou), (2, Some(100.0), Some(1.0)));
        assert_eq!((found.map_50, found.map_50_95), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn lost_moved_and_mistaken_boxes_are_counted() {
        let reference = vec![detected(0.0, 0.9, 0), detected(30.0, 0.8, 0), detected(60.0, 0.7, 1), detected(90.0, 0.6, 1)];
        let candidate = vec![detected(2.0, 0.9, 0), detected(60.0, 0.7, 0), detected(90.0, 0.2, 1)];
        let found = boxes(reference, candidate);
        assert_eq!((found.reference_boxes, found.candidate_boxes), (4, 2));
        assert!((found.matched_percent.unwrap() - 100.0 / 3.0).abs() < 1e-9);
        assert!((found.mean_iou.unwrap() - 8.0 / 12.0).abs() < 1e-6);
        assert!((found.map_50.unwrap() - 51.0 / 101.0).abs() < 1e-9, "a box below the score counts for precision: {found:?}");
    }

    #[test]
    fn nothing_found_tells_nothing() {
        let found = boxes(vec![detected(0.0, 0.1, 0)], Vec::new());
        assert_eq!((found.matched_percent, found.mean_iou, found.map_50), (None, None, None));
    }
}
