//! Mean average precision as COCO counts it.
//!
//! Lin et al. 2014, arXiv:1405.0312; the details are those of pycocotools: matches by score, crowds that swallow what else would be
//! wrong, precision at 101 recalls.

use super::detected::{Detected, area, intersection, iou};
use crate::calibration::DrawnBox;

/// Boxes of one class in one picture that count.
const MOST: usize = 100;
/// Overlaps from which boxes match: 0.5, 0.55, … 0.95.
const THRESHOLDS: usize = 10;

/// Mean over classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Of boxes that match from an overlap of 0.5 on.
    pub at_50: f64,
    /// Mean over overlaps 0.5, 0.55, … 0.95.
    pub at_50_95: f64,
}

/// What was found against what is right, one entry for each picture, the best boxes first; `None` where nothing is right.
pub fn mean_average_precision(truth: &[Vec<DrawnBox>], found: &[Vec<Detected>]) -> Option<Precision> {
    let mut classes: Vec<u32> = truth.iter().flatten().filter(|right| !right.crowd).map(|right| right.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let of_class = |class: &u32| (0..THRESHOLDS).map(|step| average_precision(truth, found, *class, 0.5 + 0.05 * step as f64)).collect();
    let all: Vec<Vec<f64>> = classes.iter().map(of_class).collect();
    let mean = |numbers: Vec<f64>| numbers.iter().sum::<f64>() / numbers.len() as f64;
    (!all.is_empty()).then(|| Precision {
        at_50: mean(all.iter().map(|class| class[0]).collect()),
        at_50_95: mean(all.iter().map(|class| mean(class.clone())).collect()),
    })
}

fn average_precision(truth: &[Vec<DrawnBox>], found: &[Vec<Detected>], class: u32, threshold: f64) -> f64 {
    let mut outcomes: Vec<(f32, bool)> = Vec::new();
    let mut wanted = 0;
    for (truth, found) in truth.iter().zip(found) {
        let truth: Vec<DrawnBox> = truth.iter().copied().filter(|right| right.class == class).collect();
        let found: Vec<Detected> = found.iter().copied().filter(|found| found.class == class).take(MOST).collect();
        wanted += truth.iter().filter(|right| !right.crowd).count();
        outcomes.extend(judge(&truth, &found, threshold));
    }
    outcomes.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0;
    let curve = outcomes.iter().enumerate().map(|(index, (_, is_right))| {
        right += usize::from(*is_right);
        (right as f64 / wanted as f64, right as f64 / (index + 1) as f64)
    });
    interpolated(&curve.collect::<Vec<_>>())
}

/// For each box its score and whether it is right; without those that a crowd swallows.
fn judge(truth: &[DrawnBox], found: &[Detected], threshold: f64) -> Vec<(f32, bool)> {
    let singles: Vec<[f32; 4]> = truth.iter().filter(|right| !right.crowd).map(|right| right.corners).collect();
    let in_crowd = |found: &Detected| {
        let part = |right: &DrawnBox| intersection(&right.corners, &found.corners) / area(&found.corners).max(f64::MIN_POSITIVE);
        truth.iter().any(|right| right.crowd && part(right) >= threshold)
    };
    let corners: Vec<[f32; 4]> = found.iter().map(|found| found.corners).collect();
    let partners = match_boxes(&singles, &corners, threshold);
    let judged = found.iter().zip(partners).filter(|(found, partner)| partner.is_some() || !in_crowd(found));
    judged.map(|(found, partner)| (found.score, partner.is_some())).collect()
}

/// For each box, in turn, which of `truth` it overlaps most of those that are left, `threshold` at least, and how much.
pub fn match_boxes(truth: &[[f32; 4]], found: &[[f32; 4]], threshold: f64) -> Vec<Option<(usize, f64)>> {
    let mut taken = vec![false; truth.len()];
    let partner = |found: &[f32; 4]| {
        let mut best: Option<(usize, f64)> = None;
        for (index, right) in truth.iter().enumerate().filter(|(index, _)| !taken[*index]) {
            let overlap = iou(right, found);
            if overlap >= threshold - 1e-9 && best.is_none_or(|(_, most)| overlap > most) {
                best = Some((index, overlap));
            }
        }
        best.iter().for_each(|(index, _)| taken[*index] = true);
        best
    };
    found.iter().map(partner).collect()
}

/// Mean of the greatest precision at each of 101 recalls or beyond it; the curve has recalls and precisions in their order.
fn interpolated(curve: &[(f64, f64)]) -> f64 {
    let mut best = vec![0.0f64; curve.len() + 1];
    for index in (0..curve.len()).rev() {
        best[index] = best[index + 1].max(curve[index].1);
    }
    let at = |recall: f64| best[curve.partition_point(|(reached, _)| *reached < recall - 1e-12)];
    (0..=100).map(|percent| at(f64::from(percent) / 100.0)).sum::<f64>() / 101.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(left: f32, class: u32) -> DrawnBox {
        DrawnBox { corners: [left, 0.0, left + 10.0, 10.0], class, crowd: false }
    }

    fn found(left: f32, score: f32, class: u32) -> Detected {
        Detected { corners: right(left, class).corners, score, class }
    }

    #[test]
    fn what_is_found_exactly_is_right_at_every_overlap() {
        let truth = [vec![right(0.0, 0), right(50.0, 3)], vec![right(5.0, 0)]];
        let all = [vec![found(0.0, 0.9, 0), found(50.0, 0.8, 3)], vec![found(5.0, 0.3, 0)]];
        assert_eq!(mean_average_precision(&truth, &all), Some(Precision { at_50: 1.0, at_50_95: 1.0 }));
        assert_eq!(mean_average_precision(&truth, &[vec![], vec![]]), Some(Precision { at_50: 0.0, at_50_95: 0.0 }));
        assert_eq!(mean_average_precision(&[vec![], vec![]], &all), None);
    }

    #[test]
    fn wrong_boxes_cost_where_they_score_higher_and_shifted_ones_at_high_overlaps() {
        let truth = [vec![right(0.0, 0), right(50.0, 0)]];
        let wrong_first = [vec![found(90.0, 0.9, 0), found(0.0, 0.8, 0), found(50.0, 0.7, 0)]];
        assert!((mean_average_precision(&truth, &wrong_first).unwrap().at_50 - 2.0 / 3.0).abs() < 1e-9);
        let wrong_last = [vec![found(0.0, 0.8, 0), found(50.0, 0.7, 0), found(90.0, 0.1, 0)]];
        assert_eq!(mean_average_precision(&truth, &wrong_last).unwrap().at_50, 1.0);
        // 9 of 11: right up to 0.8.
        let shifted = mean_average_precision(&[vec![right(0.0, 0)]], &[vec![found(1.0, 0.9, 0)]]).unwrap();
        assert_eq!(shifted.at_50, 1.0);
        assert!((shifted.at_50_95 - 0.7).abs() < 1e-9);
    }

    #[test]
    fn half_of_what_is_right_gives_51_of_101_recalls() {
        let half = mean_average_precision(&[vec![right(0.0, 0), right(50.0, 0)]], &[vec![found(0.0, 0.9, 0)]]).unwrap();
        assert!((half.at_50 - 51.0 / 101.0).abs() < 1e-9);
    }

    #[test]
    fn a_second_box_of_one_thing_is_wrong_and_a_crowd_swallows_others() {
        let twice = [vec![found(0.0, 0.9, 0), found(0.0, 0.8, 0), found(50.0, 0.7, 0)]];
        let truth = vec![right(0.0, 0), right(50.0, 0)];
        assert!(mean_average_precision(std::slice::from_ref(&truth), &twice).unwrap().at_50 < 0.9);
        let crowd = DrawnBox { crowd: true, corners: [0.0, 0.0, 40.0, 40.0], class: 0 };
        assert_eq!(mean_average_precision(&[[truth, vec![crowd]].concat()], &twice).unwrap().at_50, 1.0);
    }
}
