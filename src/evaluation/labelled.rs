//! Two models against labels.

use ndarray::{ArrayD, Axis};

use super::confusion::Confusion;
use super::judgement::Pair;
use super::layout::{Layout, Unit};
use super::metrics::top1;
use super::output::OutputComparison;
use super::report::{Accuracy, Labelled};
use crate::calibration::Mask;
use crate::error::{Error, Result};

/// What is measured of masks.
pub(super) const MEAN_IOU: &str = "mean IoU";
/// The number of a mask that stands for no class.
const NO_CLASS: u32 = 255;

/// Top-1 accuracy of the first output with a score for each class of `labels`.
///
/// # Errors
/// If there is none.
pub(super) fn accuracy(pairs: &[Pair<'_>], labels: &[u32]) -> Result<Accuracy> {
    let classes = pairs.iter().filter(|pair| pair.figures.layout.unit() == Some(Unit::Samples));
    let accuracy = |pair: &Pair<'_>| {
        let (reference_percent, candidate_percent) = (top1(pair.expected, labels)?, top1(pair.actual, labels)?);
        Some(Accuracy { output: pair.figures.name.clone(), samples: labels.len(), reference_percent, candidate_percent })
    };
    let found = classes.filter_map(accuracy).next();
    found.ok_or_else(|| Error::Data("no output has a score for each class that the labels name".into()))
}

/// Mean IoU of the first output of classes of pixels with masks.
///
/// # Errors
/// If there is none, or a mask names a class that it has not.
pub(super) fn overlap(pairs: &[Pair<'_>], masks: &[Mask]) -> Result<Labelled> {
    let pixels = pairs.iter().find(|pair| pair.figures.layout.unit() == Some(Unit::Pixels));
    let Some(Pair { figures, expected, actual }) = pixels else {
        return Err(Error::Data("masks are for classes of pixels, and no output has them; --task segment says that one has".into()));
    };
    let (mut reference, mut candidate) = (Confusion::default(), Confusion::default());
    for (index, mask) in masks.iter().enumerate() {
        let sample = |outputs: &ArrayD<f32>| figures.layout.classes(&outputs.index_axis(Axis(0), index));
        let truth = classes_of_mask(mask, figures)?;
        reference.add(&truth, &sample(expected));
        candidate.add(&truth, &sample(actual));
    }
    let (Some(reference), Some(candidate)) = (reference.overlap(), candidate.overlap()) else {
        return Err(Error::Data("the masks name no class".into()));
    };
    let (reference, candidate) = (reference.mean_iou, candidate.mean_iou);
    Ok(Labelled { measure: MEAN_IOU.into(), output: Some(figures.name.clone()), samples: masks.len(), reference, candidate })
}

/// The class of each pixel of an output. 255 is none; where an output says yes or no, all but 0 is yes.
///
/// # Errors
/// If the mask cannot be read, or names a class that the output has not.
fn classes_of_mask(mask: &Mask, figures: &OutputComparison) -> Result<Vec<Option<u32>>> {
    let OutputComparison { layout, shape, name, .. } = figures;
    let Some((height, width)) = layout.area(shape) else {
        return Err(Error::Data(format!("masks are for an area of pixels, and output `{name}` is {shape:?}")));
    };
    let numbers = mask.numbers(height, width)?;
    let class = |number: u32| match *layout {
        Layout::Mask { .. } => Ok(Some(u32::from(number > 0))),
        _ if number == NO_CLASS => Ok(None),
        Layout::Scores { axis, .. } if number as usize >= shape[axis] => {
            let reason = format!("names the class {number}, of which output `{name}` has {} (255 is none)", shape[axis]);
            Err(Error::file(mask.path(), reason))
        }
        _ => Ok(Some(number)),
    };
    numbers.into_iter().map(class).collect()
}
